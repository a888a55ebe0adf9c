/* proxy/tunnel/tunnel_link.h: a local TCP connection, and servers that do what they are told. The
 * local program is a socket of the test's, and sees what the kernel lets it see. */
#include "tunnel_link.h"

#include "raw_server.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define GOOD RAW_101 RAW_EXTENSION "\r\n"

struct rig {
    struct loop *l;
    struct service_config service;
    struct tunnel_config config;
    struct tunnel_link link;
    struct raw_server server;
    int local; /* the program's end */
    unsigned opens, failures, dones;
    struct dialer_result result;
    struct relay_report report;
};

static struct rig *rig_of(struct tunnel_link *link)
{
    return container_of(link, struct rig, link);
}

static void on_open(struct tunnel_link *link, const struct dialer_result *result)
{
    struct rig *r = rig_of(link);

    assert_non_null(result->stream);
    r->opens++;
}

static void on_failed(struct tunnel_link *link, const struct dialer_result *result)
{
    struct rig *r = rig_of(link);

    r->failures++;
    r->result = *result;
    loop_stop(r->l);
}

static void on_done(struct tunnel_link *link, const struct relay_report *report)
{
    struct rig *r = rig_of(link);

    r->dones++;
    r->report = *report;
    loop_stop(r->l);
}

static const struct tunnel_link_handler handler = {on_open, on_failed, on_done};

static struct rig *rig_new(void)
{
    struct rig *r = calloc(1, sizeof(*r));

    assert_non_null(r);
    r->l = loop_new();
    assert_non_null(r->l);
    r->service.stream = kit_options;
    r->service.ws = (struct ws_duplex_config){.linger_ms = 1000, .close_timeout_ms = 1000};
    r->config.service = &r->service;
    r->config.dial.dialer.timeout_ms = 10000;
    r->config.dial.dialer.ws = &r->service.ws;
    r->config.dial.dialer.stream = &r->service.stream;
    return r;
}

static void rig_start(struct rig *r)
{
    char url[64];
    const char *why;
    int fds[2];

    if (r->server.answers[0].text != NULL || r->server.answers[0].act != RAW_SEND)
        raw_server_start(&r->server);
    else
        close(kit_listen("127.0.0.1", &r->server.port, 1));
    snprintf(url, sizeof(url), "ws://127.0.0.1:%u/", r->server.port);
    assert_int_equal(url_parse(url, &r->config.dial.dialer.url, &why), 0);
    kit_tcp_pair(fds);
    r->local = fds[1];
    struct duplex *local = stream_open(r->l, fds[0], STREAM_TCP, &r->service.stream);
    assert_non_null(local);
    assert_true(tunnel_link_start(&r->link, r->l, &r->config, &handler, local));
}

static void rig_end(struct rig *r)
{
    raw_server_join(&r->server);
    if (r->local >= 0)
        close(r->local);
    loop_run(r->l); /* to nothing left open */
    assert_int_equal(r->failures + r->dones, 1);
    assert_int_equal(r->opens, r->dones);
    loop_free(r->l);
    raw_server_free(&r->server);
    free(r);
}

static void send_local(const struct rig *r, const char *text)
{
    assert_int_equal(send(r->local, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* What the program sees next is a reset. */
static void check_reset(const struct rig *r)
{
    char byte;

    errno = 0;
    assert_int_equal(recv(r->local, &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
}

/* The frames that the server got, unmasked, as text: "02:hello 0b:FIN 5 08:". */
static const char *frames_of(const struct rig *r)
{
    static char text[4096];
    struct text t;
    const uint8_t *p = r->server.rest, *end = p + r->server.rest_len;

    text_init(&t, text, sizeof(text));
    while (end - p >= 6) {
        size_t len = p[1] & 0x7f, head = len == 126 ? 8 : 6;
        assert_true((p[0] & 0x80) && (p[1] & 0x80) && len < 127);
        if (len == 126)
            len = (size_t)p[2] << 8 | p[3];
        const uint8_t *key = p + head - 4, *data = p + head;
        text_addf(&t, "%s%02x:", t.len > 0 ? " " : "", p[0] & 0x0f);
        for (size_t i = 0; i < len && (p[0] & 0x0f) != 8; i++)
            text_addf(&t, "%c", data[i] ^ key[i % 4]);
        if ((p[0] & 0x0f) == 8 && len >= 2)
            text_addf(&t, "%u", (unsigned)((data[0] ^ key[0]) << 8 | (data[1] ^ key[1])));
        p = data + len;
    }
    return text;
}

/* ---- 88: what comes before the WebSocket is open ---- */

static void test_88_early_data_and_end(void **state)
{
    (void)state;
    static const char answer[] = GOOD "\x82\x02hi\x8b\x05"
                                      "FIN 2\x88\x02\x03\xe8";
    struct rig *r = rig_new();
    char got[8];

    r->server.answers[0] = (struct raw_answer){RAW_SEND, answer, sizeof(answer) - 1};
    r->server.is_held = true;
    rig_start(r);
    send_local(r, "hello");
    shutdown(r->local, SHUT_WR);
    for (int i = 0; i < 2; i++)
        kit_turn(r->l); /* it is early: the server's Close would come before it */
    r->server.is_held = false;
    KIT_WAIT(r->l, r->dones > 0);
    assert_int_equal(r->report.cause.what, CAUSE_OK);
    assert_int_equal(r->report.bytes[RELAY_CLIENT], 5);
    assert_int_equal(recv(r->local, got, sizeof(got), 0), 2);
    assert_int_equal(recv(r->local, got, sizeof(got), 0), 0);
    KIT_WAIT(r->l, loop_open_streams(r->l) == 0);
    raw_server_join(&r->server);
    assert_string_equal(frames_of(r), "02:hello 0b:FIN 5 08:1000");
    rig_end(r);
}

/* A megabyte waits in the kernel, not here. */
static void test_88_early_data_is_bounded(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    struct peer peer = {.to_send = 8 * MIB};

    r->server.answers[0] = (struct raw_answer){.act = RAW_SILENT};
    r->config.dial.dialer.timeout_ms = 500;
    rig_start(r);
    peer.fd = r->local;
    peer_start(&peer);
    while (r->failures == 0) {
        kit_turn(r->l);
        assert_true(r->link.early.bytes.len < (EARLY_MAX + 300000));
    }
    peer_join(&peer);
    assert_int_equal(peer.send_error, ECONNRESET);
    rig_end(r);
}

static void test_88_the_local_program_goes_first(void **state)
{
    (void)state;
    struct rig *r = rig_new();

    r->server.answers[0] = (struct raw_answer){.act = RAW_SILENT};
    rig_start(r);
    send_local(r, "hello");
    kit_turn(r->l);
    kit_reset(r->local);
    r->local = -1;
    KIT_WAIT(r->l, r->failures > 0);
    assert_int_equal(r->result.failure, DIALER_GIVEN_UP);
    assert_int_equal(r->result.cause.where, CAUSE_AT_CLIENT);
    assert_int_equal(r->result.cause.what, CAUSE_RESET);
    rig_end(r); /* the server has lost its client, too */
}

/* ---- 85: what cannot be had is a reset ---- */

static void test_85_refused_with_a_reset(void **state)
{
    (void)state;
    static const struct raw_answer answers[] = {
        {RAW_SEND, "HTTP/1.1 200 OK\r\n\r\n", 0},
        {RAW_SEND, "HTTP/1.1 302 Found\r\nLocation: ws://h/\r\n\r\n", 0},
        {RAW_SEND, "HTTP/1.1 401 No\r\n\r\n", 0},
        {RAW_SEND, "HTTP/1.1 502 No\r\n\r\n", 0},
        {RAW_SEND, RAW_101 "Sec-WebSocket-Extensions: x\r\n\r\n", 0},
        {RAW_SEND, RAW_101 "Sec-WebSocket-Protocol: x\r\n\r\n", 0},
        {RAW_SEND, RAW_101 "\r\n", 0},
        {RAW_SEND, "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", 0},
        {RAW_RESET, NULL, 0},
        {RAW_CLOSE, "", 0},
    };
    for (size_t i = 0; i < array_count(answers); i++) {
        struct rig *r = rig_new();
        r->server.answers[0] = answers[i];
        rig_start(r);
        send_local(r, "hello");
        shutdown(r->local, SHUT_WR);
        KIT_WAIT(r->l, r->failures > 0);
        KIT_WAIT(r->l, loop_open_streams(r->l) == 0);
        check_reset(r);
        rig_end(r);
    }
}

static void check_broken(const char *frames, size_t len, enum cause_what what, const char *sent)
{
    static char answer[1024];
    struct rig *r = rig_new();

    memcpy(answer, GOOD, strlen(GOOD));
    memcpy(answer + strlen(GOOD), frames, len);
    r->server.answers[0] = (struct raw_answer){RAW_SEND, answer, strlen(GOOD) + len};
    rig_start(r);
    KIT_WAIT(r->l, r->dones > 0);
    KIT_WAIT(r->l, loop_open_streams(r->l) == 0);
    assert_int_equal(r->report.cause.what, what);
    assert_int_equal(r->report.cause.where, CAUSE_AT_BACKEND);
    check_reset(r);
    raw_server_join(&r->server);
    assert_string_equal(frames_of(r), sent);
    rig_end(r);
}

static void test_85_masked_frame(void **state)
{
    (void)state;
    check_broken("\x82\x81\x01\x02\x03\x04x", 7, CAUSE_WS_VIOLATION, "08:1002");
}

static void test_85_garbage_behind_101(void **state)
{
    (void)state;
    check_broken("+OK POP3 ready\r\n", 16, CAUSE_WS_VIOLATION, "08:1002");
}

static void test_87_length_of_2_to_the_63(void **state)
{
    (void)state;
    check_broken("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10, CAUSE_WS_VIOLATION, "08:1002");
}

/* Every Close before both ends is a reset: 1000, 1001, none, 4000, 4999. */
static void test_a_close_is_a_reset(void **state)
{
    (void)state;
    check_broken("\x88\x02\x03\xe8", 4, CAUSE_CLOSED, "08:1000");
    check_broken("\x88\x02\x03\xe9", 4, CAUSE_CLOSED, "08:1001");
    check_broken("\x88\x00", 2, CAUSE_CLOSED, "08:");
    check_broken("\x88\x02\x0f\xa0", 4, CAUSE_CLOSED, "08:4000");
    check_broken("\x88\x02\x13\x87", 4, CAUSE_CLOSED, "08:4999");
    check_broken("\x8b\x05"
                 "FIN 1",
                 7, CAUSE_TRUNCATED, "08:4002");
}

static void test_89_server_gone(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    uint64_t start_ms = kit_now_ms();

    rig_start(r);
    KIT_WAIT(r->l, r->failures > 0);
    KIT_WAIT(r->l, loop_open_streams(r->l) == 0);
    assert_int_equal(r->result.cause.native, -ECONNREFUSED);
    check_reset(r);
    assert_true(kit_now_ms() - start_ms < 1000);
    rig_end(r);
}

static long resident_kib(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

/* The server reads none of the pongs. */
static void test_87_ping_flood(void **state)
{
    (void)state;
    struct rig *r = rig_new();
    long before;
    uint64_t end_ms = kit_now_ms() + 700;

    r->service.stream.linger_ms = 200;
    r->server.answers[0] = (struct raw_answer){RAW_PINGS, GOOD, 0};
    rig_start(r);
    KIT_WAIT(r->l, r->opens > 0);
    before = resident_kib();
    while (kit_now_ms() < end_ms)
        kit_turn(r->l);
    assert_true(resident_kib() - before < 4096);
    assert_int_equal(r->dones, 0);
    tunnel_link_abort(&r->link, (struct cause){.what = CAUSE_SHUTDOWN});
    KIT_WAIT(r->l, r->dones > 0);
    KIT_WAIT(r->l, loop_open_streams(r->l) == 0);
    raw_server_join(&r->server);
    assert_true(r->server.flooded > 4 * MIB);
    rig_end(r);
}

/* ---- 44: a local program that closes with unread data ---- */

static void test_44_close_with_unread_data(void **state)
{
    (void)state;
    static const char answer[] = GOOD "\x82\x05hello";
    struct rig *r = rig_new();
    char byte;

    r->server.answers[0] = (struct raw_answer){RAW_SEND, answer, sizeof(answer) - 1};
    rig_start(r);
    KIT_WAIT(r->l, r->opens > 0);
    while (recv(r->local, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0)
        kit_turn(r->l);
    close(r->local);
    r->local = -1;
    KIT_WAIT(r->l, r->dones > 0);
    assert_int_equal(r->report.cause.what, CAUSE_RESET);
    assert_int_equal(r->report.cause.where, CAUSE_AT_CLIENT);
    raw_server_join(&r->server);
    assert_string_equal(frames_of(r), "08:4000");
    rig_end(r);
}

/* ---- 84: masking keys ---- */

struct moment {
    struct deadline deadline;
    struct loop *l;
};

static void on_moment(struct deadline *d)
{
    loop_stop(container_of(d, struct moment, deadline)->l);
}

static void run_1_ms(struct loop *l)
{
    struct moment m = {.l = l};

    deadline_init(&m.deadline, on_moment);
    deadline_set(loop_scheduler(l), &m.deadline, 1);
    loop_run(l);
}

static int compare_keys(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(uint32_t));
}

static void test_84_masks(void **state)
{
    (void)state;
    enum { FRAMES = 1000 };
    static uint32_t keys[FRAMES], sorted[FRAMES];
    struct rig *r = rig_new();
    unsigned frames = 0, bits = 0, steps = 0, twins = 0;

    r->server.answers[0] = (struct raw_answer){RAW_SEND, GOOD, 0};
    rig_start(r);
    KIT_WAIT(r->l, r->opens > 0);
    for (unsigned i = 0; i < FRAMES; i++) {
        uint64_t before = r->link.relay.up.bytes;
        send_local(r, "x");
        while (r->link.relay.up.bytes == before)
            run_1_ms(r->l);
    }
    tunnel_link_abort(&r->link, (struct cause){.what = CAUSE_SHUTDOWN});
    KIT_WAIT(r->l, r->dones > 0);
    raw_server_join(&r->server);
    for (size_t at = 0; at + 7 <= r->server.rest_len && frames < FRAMES; at += 7) {
        assert_int_equal(r->server.rest[at], 0x82);
        assert_int_equal(r->server.rest[at + 1], 0x81);
        memcpy(&keys[frames], r->server.rest + at + 2, 4);
        assert_int_equal(r->server.rest[at + 6] ^ r->server.rest[at + 2], 'x');
        frames++;
    }
    assert_int_equal(frames, FRAMES);
    memcpy(sorted, keys, sizeof(keys));
    qsort(sorted, FRAMES, sizeof(sorted[0]), compare_keys);
    for (unsigned i = 1; i < FRAMES; i++) {
        bits += (unsigned)__builtin_popcount(keys[i] ^ keys[i - 1]);
        steps += keys[i] - keys[i - 1] == keys[1] - keys[0];
        twins += sorted[i] == sorted[i - 1];
    }
    assert_in_range(bits, 15 * FRAMES, 17 * FRAMES); /* half of 32, each time */
    assert_true(steps < 10);
    assert_true(twins <= 1); /* by chance once in 8,600 runs */
    rig_end(r);
}

/* ---- from outside ---- */

static void test_abort(void **state)
{
    (void)state;
    struct rig *r = rig_new();

    r->server.answers[0] = (struct raw_answer){.act = RAW_SILENT};
    rig_start(r);
    kit_turn(r->l);
    assert_false(tunnel_link_is_open(&r->link));
    tunnel_link_abort(&r->link, (struct cause){.what = CAUSE_SHUTDOWN});
    assert_int_equal(r->failures, 1);
    assert_int_equal(r->result.cause.what, CAUSE_SHUTDOWN);
    KIT_WAIT(r->l, loop_open_streams(r->l) == 0);
    check_reset(r);
    rig_end(r);

    r = rig_new();
    r->server.answers[0] = (struct raw_answer){RAW_SEND, GOOD, 0};
    rig_start(r);
    KIT_WAIT(r->l, r->opens > 0);
    assert_true(tunnel_link_is_open(&r->link));
    tunnel_link_abort(&r->link, (struct cause){.what = CAUSE_SHUTDOWN});
    KIT_WAIT(r->l, r->dones > 0);
    KIT_WAIT(r->l, loop_open_streams(r->l) == 0);
    check_reset(r);
    raw_server_join(&r->server);
    assert_string_equal(frames_of(r), "08:1001");
    rig_end(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_88_early_data_and_end),
        cmocka_unit_test(test_88_early_data_is_bounded),
        cmocka_unit_test(test_88_the_local_program_goes_first),
        cmocka_unit_test(test_85_refused_with_a_reset),
        cmocka_unit_test(test_85_masked_frame),
        cmocka_unit_test(test_85_garbage_behind_101),
        cmocka_unit_test(test_87_length_of_2_to_the_63),
        cmocka_unit_test(test_87_ping_flood),
        cmocka_unit_test(test_a_close_is_a_reset),
        cmocka_unit_test(test_89_server_gone),
        cmocka_unit_test(test_44_close_with_unread_data),
        cmocka_unit_test(test_84_masks),
        cmocka_unit_test(test_abort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
