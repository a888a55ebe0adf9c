/* TLS against itself over a network in memory, and against what is not TLS. */
#include "memory_pipe.h"
#include "tls_certs.h"
#include "tls_duplex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crypto.h"
#include <mbedtls/ssl.h>

enum { CLIENT, SERVER };

/* The owner of a TLS duplex, or of the bare transport: what it was told. */
struct side {
    struct duplex *duplex;
    char told[256];
    uint64_t sent, received; /* of a sequence that both know */
    bool is_over, has_wrong_bytes, pauses_at_data;
    struct cause cause;
    uint8_t raw[4096]; /* the first bytes, as they came */
};

static struct scheduler scheduler;
static struct memory_pipe wire;
static struct side side[2];
static struct tls_certs certs;
static struct tls_config *configs[2];
static struct tls_duplex_options options[2];
static char answer[] = "HTTP/1.1 400 Bad Request\r\n\r\nspeak TLS\n";

static uint8_t byte_at(uint64_t position)
{
    return (uint8_t)(position * 131 >> 3);
}

static void tell(struct side *s, const char *what)
{
    size_t used = strlen(s->told);
    snprintf(s->told + used, sizeof s->told - used, "%s;", what);
}

static void on_data(void *owner, struct span data)
{
    struct side *s = owner;
    for (size_t i = 0; i < data.len; i++, s->received++) {
        if (s->received < sizeof s->raw)
            s->raw[s->received] = data.data[i];
        if (data.data[i] != byte_at(s->received))
            s->has_wrong_bytes = true;
    }
    if (s->pauses_at_data)
        duplex_pause(s->duplex);
}

static void on_end(void *owner)
{
    tell(owner, "END");
}

static void on_abort(void *owner, struct cause cause)
{
    struct side *s = owner;
    s->cause = cause;
    s->is_over = true;
    tell(s, "ABORT");
}

static void on_drain(void *owner)
{
    tell(owner, "DRAIN");
}

static void on_finished(void *owner)
{
    tell(owner, "FINISHED");
}

static void on_open(void *owner)
{
    tell(owner, "OPEN");
}

static const struct duplex_events events = {on_data, on_end, on_abort, on_drain, on_finished};

static void send_bytes(struct side *s, size_t n)
{
    uint8_t *data = malloc(n);
    assert_non_null(data);
    for (size_t i = 0; i < n; i++)
        data[i] = byte_at(s->sent + i);
    size_t first = n < 7 ? n : 7; /* as a frame: a header, then the payload */
    duplex_write(s->duplex, (struct span[]){{data, first}, {data + first, n - first}}, 2);
    s->sent += n;
    free(data);
}

/* Until nothing moves; at most `max` bytes at a time. */
static void flow_by(size_t max)
{
    bool is_moving = true;
    while (is_moving) {
        scheduler_run_tasks(&scheduler);
        is_moving = memory_pipe_step(&wire, CLIENT, max);
        is_moving |= memory_pipe_step(&wire, SERVER, max);
        is_moving |= scheduler_has_tasks(&scheduler);
    }
}

static void flow(void)
{
    flow_by(SIZE_MAX);
}

static void own(int which, struct duplex *d)
{
    side[which] = (struct side){.duplex = d};
    duplex_own(d, &events, &side[which]);
    duplex_resume(d);
}

static void open_wire(void)
{
    scheduler_init(&scheduler, 1000);
    memory_pipe_init(&wire, 1 << 20);
}

static void open_tls(int which)
{
    options[which].config = configs[which];
    options[which].linger_ms = 5000;
    options[which].on_open = on_open;
    struct duplex *d = tls_duplex_new(&scheduler, &wire.end[which].duplex, &options[which]);
    assert_non_null(d);
    own(which, d);
}

static void open_both(void)
{
    open_wire();
    options[CLIENT] = (struct tls_duplex_options){.host = "tidegate.test"};
    options[SERVER] = (struct tls_duplex_options){0};
    open_tls(CLIENT);
    open_tls(SERVER);
}

static void open_and_shake(void)
{
    open_both();
    flow();
    assert_string_equal(side[CLIENT].told, "OPEN;");
    assert_string_equal(side[SERVER].told, "OPEN;");
    side[CLIENT].told[0] = side[SERVER].told[0] = '\0';
}

static void close_side(struct side *s)
{
    duplex_close(s->duplex);
    s->is_over = true;
}

static void abort_side(struct side *s)
{
    duplex_abort(s->duplex, (struct cause){.what = CAUSE_CLOSED});
    s->is_over = true;
}

/* Whatever is still open, so that leaks are the program's own. */
static void finish_test(void)
{
    for (int i = 0; i < 2; i++)
        if (!side[i].is_over)
            abort_side(&side[i]);
    flow();
    memory_pipe_clear(&wire);
    assert_false(scheduler_has_tasks(&scheduler));
}

static bool has_whole(const struct side *from, const struct side *to)
{
    return to->received == from->sent && !to->has_wrong_bytes;
}

/* ---- data and ends ---- */

static void check_conversation(size_t step)
{
    open_both();
    flow_by(step);
    assert_true(tls_duplex_is_open(side[CLIENT].duplex));
    assert_true(tls_duplex_is_open(side[SERVER].duplex));
    send_bytes(&side[CLIENT], 5);
    send_bytes(&side[SERVER], 40000);
    flow_by(step);
    send_bytes(&side[CLIENT], 70000);
    duplex_finish(side[CLIENT].duplex);
    duplex_finish(side[CLIENT].duplex);
    flow_by(step);
    assert_true(has_whole(&side[CLIENT], &side[SERVER]));
    assert_string_equal(side[SERVER].told, "OPEN;END;");
    assert_string_equal(side[CLIENT].told, "OPEN;FINISHED;");
    send_bytes(&side[SERVER], 3);
    flow_by(step);
    duplex_finish(side[SERVER].duplex);
    flow_by(step);
    assert_true(has_whole(&side[SERVER], &side[CLIENT]));
    assert_string_equal(side[SERVER].told, "OPEN;END;FINISHED;");
    assert_string_equal(side[CLIENT].told, "OPEN;FINISHED;END;");
    close_side(&side[CLIENT]);
    close_side(&side[SERVER]);
    flow_by(step);
    assert_true(wire.end[CLIENT].is_closed && wire.end[SERVER].is_closed);
    finish_test();
}

static void test_conversation(void **state)
{
    (void)state;
    check_conversation(SIZE_MAX);
}

static void test_71_conversation_byte_by_byte(void **state)
{
    (void)state;
    check_conversation(1);
}

static void test_server_ends_first(void **state)
{
    (void)state;
    open_and_shake();
    duplex_finish(side[SERVER].duplex);
    flow();
    assert_string_equal(side[CLIENT].told, "END;");
    send_bytes(&side[CLIENT], 100000);
    duplex_finish(side[CLIENT].duplex);
    flow();
    assert_true(has_whole(&side[CLIENT], &side[SERVER]));
    assert_string_equal(side[CLIENT].told, "END;FINISHED;");
    assert_string_equal(side[SERVER].told, "FINISHED;END;");
    finish_test();
}

static void test_write_before_the_handshake(void **state)
{
    (void)state;
    open_both();
    send_bytes(&side[CLIENT], 30000);
    duplex_finish(side[CLIENT].duplex);
    assert_true(duplex_pending(side[CLIENT].duplex) == 30000);
    flow();
    assert_true(has_whole(&side[CLIENT], &side[SERVER]));
    assert_string_equal(side[SERVER].told, "OPEN;END;");
    finish_test();
}

static void test_finish_without_the_end_of_the_transport(void **state)
{
    (void)state;
    open_wire();
    options[CLIENT] = (struct tls_duplex_options){.host = "127.0.0.1", .keeps_lower_open = true};
    options[SERVER] = (struct tls_duplex_options){0};
    open_tls(CLIENT);
    open_tls(SERVER);
    duplex_finish(side[CLIENT].duplex);
    flow();
    scheduler_advance(&scheduler, scheduler.now_ms + 2000);
    flow();
    assert_string_equal(side[CLIENT].told, "OPEN;FINISHED;");
    assert_string_equal(side[SERVER].told, "OPEN;END;");
    assert_false(wire.end[CLIENT].is_finishing);
    send_bytes(&side[SERVER], 10);
    flow();
    assert_true(has_whole(&side[SERVER], &side[CLIENT]));
    finish_test();
}

static void test_back_pressure(void **state)
{
    (void)state;
    open_and_shake();
    duplex_pause(side[SERVER].duplex);
    uint8_t block[16384] = {0};
    bool is_full = false;
    int blocks = 0;
    for (; !is_full && blocks < 1000; blocks++)
        is_full = duplex_write(side[CLIENT].duplex, &(struct span){block, sizeof block}, 1);
    assert_in_range(blocks, 60, 70); /* what the wire takes, and no more */
    flow();
    assert_true(duplex_pending(side[CLIENT].duplex) > 1000000);
    assert_int_equal(side[SERVER].received, 0);
    assert_string_equal(side[CLIENT].told, "");
    duplex_resume(side[SERVER].duplex);
    flow();
    assert_int_equal(side[SERVER].received, blocks * (int)sizeof block);
    assert_string_equal(side[CLIENT].told, "DRAIN;");
    finish_test();
}

static void test_74_nothing_stays_inside(void **state)
{
    (void)state;
    open_and_shake();
    side[SERVER].pauses_at_data = true;
    send_bytes(&side[CLIENT], 300000);
    duplex_finish(side[CLIENT].duplex);
    flow();
    assert_in_range(side[SERVER].received, 1, 131072);
    for (int i = 0; i < 100 && side[SERVER].received < 300000; i++) {
        duplex_resume(side[SERVER].duplex);
        flow();
    }
    duplex_resume(side[SERVER].duplex);
    flow();
    assert_true(has_whole(&side[CLIENT], &side[SERVER]));
    assert_string_equal(side[SERVER].told, "END;");
    finish_test();
}

/* ---- breaks ---- */

static void test_47_end_without_close_notify(void **state)
{
    (void)state;
    for (int from = CLIENT; from <= SERVER; from++) {
        struct side *peer = &side[1 - from];
        open_and_shake();
        send_bytes(&side[from], 1000);
        duplex_finish(&wire.end[from].duplex);
        flow();
        assert_true(has_whole(&side[from], peer));
        assert_string_equal(peer->told, "ABORT;");
        assert_int_equal(peer->cause.what, CAUSE_LOST);
        assert_true(wire.end[1 - from].is_aborted);
        finish_test();
    }
}

static void test_abort_is_no_end(void **state)
{
    (void)state;
    open_and_shake();
    send_bytes(&side[CLIENT], 1000);
    abort_side(&side[CLIENT]);
    flow();
    assert_true(has_whole(&side[CLIENT], &side[SERVER]));
    assert_string_equal(side[SERVER].told, "ABORT;");
    assert_int_equal(side[SERVER].cause.what, CAUSE_RESET);
    finish_test();
}

static void test_abort_behind_what_a_paused_owner_has_not_taken(void **state)
{
    (void)state;
    for (int is_patient = 0; is_patient < 2; is_patient++) {
        open_and_shake();
        duplex_pause(side[SERVER].duplex);
        send_bytes(&side[CLIENT], 60000);
        duplex_resume(&wire.end[SERVER].duplex); /* the rest of a read under way */
        flow();
        assert_int_equal(side[SERVER].received, 0);
        memory_pipe_break(&wire, CAUSE_RESET);
        flow();
        assert_string_equal(side[SERVER].told, "");
        if (is_patient) {
            scheduler_advance(&scheduler, scheduler.now_ms + 5000);
        } else {
            duplex_resume(side[SERVER].duplex);
        }
        flow();
        assert_string_equal(side[SERVER].told, "ABORT;");
        assert_int_equal(side[SERVER].cause.what, CAUSE_RESET);
        assert_int_equal(side[SERVER].received, is_patient ? 0 : 60000);
        assert_false(side[SERVER].has_wrong_bytes);
        finish_test();
    }
}

static void write_raw(int from, const void *data, size_t len)
{
    uint8_t copy[1024];
    assert_true(len <= sizeof copy);
    memcpy(copy, data, len);
    duplex_write(&wire.end[from].duplex, &(struct span){copy, len}, 1);
}

static void test_71_garbage_in_mid_stream(void **state)
{
    (void)state;
    static const uint8_t record[] = {23, 3, 3, 0, 40, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    uint8_t garbage[45] = {0};
    memcpy(garbage, record, sizeof record);
    for (int is_record = 0; is_record < 2; is_record++) {
        open_and_shake();
        send_bytes(&side[CLIENT], 100);
        garbage[0] = is_record ? 23 : 0xff;
        write_raw(CLIENT, garbage, sizeof garbage);
        flow();
        assert_true(has_whole(&side[CLIENT], &side[SERVER]));
        assert_string_equal(side[SERVER].told, "ABORT;");
        assert_int_equal(side[SERVER].cause.what, CAUSE_TLS);
        assert_true(side[SERVER].cause.native < 0);
        assert_true(wire.end[SERVER].is_aborted);
        finish_test();
    }
}

static void test_71_garbage_for_a_handshake(void **state)
{
    (void)state;
    for (uint8_t seed = 0; seed < 200; seed++) {
        uint8_t garbage[600];
        for (size_t i = 0; i < sizeof garbage; i++)
            garbage[i] = (uint8_t)((i * 7919 + seed * 104729u) >> 5);
        garbage[0] = seed % 2 ? 22 : (uint8_t)(0x80 | seed);
        if (seed % 4 == 3)
            memcpy(garbage, (uint8_t[]){22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3}, 11);
        open_wire();
        options[SERVER] = (struct tls_duplex_options){0};
        own(CLIENT, &wire.end[CLIENT].duplex);
        open_tls(SERVER);
        write_raw(CLIENT, garbage, sizeof garbage);
        flow();
        duplex_finish(&wire.end[CLIENT].duplex);
        flow();
        assert_string_equal(side[SERVER].told, "ABORT;");
        assert_true(side[SERVER].cause.what == CAUSE_TLS || side[SERVER].cause.what == CAUSE_LOST);
        finish_test();
    }
}

static void test_71_plain_http_gets_an_answer(void **state)
{
    (void)state;
    open_wire();
    options[SERVER] = (struct tls_duplex_options){0};
    own(CLIENT, &wire.end[CLIENT].duplex);
    open_tls(SERVER);
    write_raw(CLIENT, "GET / HTTP/1.1\r\n", 16);
    flow();
    assert_memory_equal(side[CLIENT].raw, answer, strlen(answer));
    assert_string_equal(side[CLIENT].told, "END;");
    assert_string_equal(side[SERVER].told, "ABORT;");
    char buffer[128];
    struct text t;
    text_init(&t, buffer, sizeof buffer);
    tls_config_describe(side[SERVER].cause.native, &t);
    assert_string_equal(buffer, "HTTP without TLS on a TLS port");
    finish_test();
}

static void test_peer_leaves_in_the_handshake(void **state)
{
    (void)state;
    for (int is_reset = 0; is_reset < 2; is_reset++)
        for (size_t steps = 0; steps < 1500; steps += 50) {
            open_both();
            for (size_t i = 0; i < steps; i++) {
                scheduler_run_tasks(&scheduler);
                memory_pipe_step(&wire, CLIENT, 1);
                memory_pipe_step(&wire, SERVER, 1);
            }
            bool was_open = tls_duplex_is_open(side[CLIENT].duplex);
            if (is_reset)
                abort_side(&side[CLIENT]);
            else
                close_side(&side[CLIENT]);
            flow();
            const char *last = was_open && !is_reset ? "END;" : "ABORT;";
            assert_non_null(strstr(side[SERVER].told, last));
            if (!was_open)
                assert_int_equal(side[SERVER].cause.what, is_reset ? CAUSE_RESET : CAUSE_LOST);
            finish_test();
        }
}

/* ---- a peer that does what ours does not: mbedTLS itself ---- */

static struct queue inbox;

static void keep(void *owner, struct span data)
{
    (void)owner;
    assert_int_equal(queue_push(&inbox, data), 0);
}

static int take(void *context, unsigned char *out, size_t len)
{
    struct span next;
    (void)context;
    if (queue_peek(&inbox, &next, 1) == 0)
        return MBEDTLS_ERR_SSL_WANT_READ;
    if (len > next.len)
        len = next.len;
    memcpy(out, next.data, len);
    queue_drop(&inbox, len);
    return (int)len;
}

static int give(void *context, const unsigned char *data, size_t len)
{
    (void)context;
    for (size_t done = 0; done < len;) {
        size_t n = len - done < 1024 ? len - done : 1024;
        write_raw(CLIENT, data + done, n);
        done += n;
    }
    return (int)len;
}

static int random_bytes(void *context, unsigned char *out, size_t len)
{
    (void)context;
    return crypto_random(out, len);
}

static void with_raw_client(void (*act)(mbedtls_ssl_context *ssl))
{
    static const struct duplex_events keeps = {keep, on_end, on_abort, on_drain, on_finished};
    mbedtls_ssl_config config;
    mbedtls_ssl_context ssl;
    int r;
    open_wire();
    options[SERVER] = (struct tls_duplex_options){0};
    own(CLIENT, &wire.end[CLIENT].duplex);
    duplex_own(side[CLIENT].duplex, &keeps, &side[CLIENT]);
    open_tls(SERVER);
    mbedtls_ssl_config_init(&config);
    mbedtls_ssl_init(&ssl);
    assert_int_equal(mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_CLIENT,
                                                 MBEDTLS_SSL_TRANSPORT_STREAM,
                                                 MBEDTLS_SSL_PRESET_DEFAULT),
                     0);
    mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_NONE);
    mbedtls_ssl_conf_rng(&config, random_bytes, NULL);
    mbedtls_ssl_conf_renegotiation(&config, MBEDTLS_SSL_RENEGOTIATION_ENABLED);
    assert_int_equal(mbedtls_ssl_setup(&ssl, &config), 0);
    mbedtls_ssl_set_bio(&ssl, NULL, give, take, NULL);
    while ((r = mbedtls_ssl_handshake(&ssl)) == MBEDTLS_ERR_SSL_WANT_READ)
        flow();
    assert_int_equal(r, 0);
    flow();
    assert_string_equal(side[SERVER].told, "OPEN;");
    side[SERVER].told[0] = '\0';
    act(&ssl);
    mbedtls_ssl_free(&ssl);
    mbedtls_ssl_config_free(&config);
    queue_clear(&inbox);
    finish_test();
}

static void act_write_behind_the_end(mbedtls_ssl_context *ssl)
{
    uint8_t data[] = {byte_at(0), byte_at(1)};
    assert_int_equal(mbedtls_ssl_write(ssl, data, 2), 2);
    assert_int_equal(mbedtls_ssl_close_notify(ssl), 0);
    assert_int_equal(mbedtls_ssl_write(ssl, (const uint8_t *)"late", 4), 4);
    flow();
    assert_int_equal(side[SERVER].received, 2);
    assert_string_equal(side[SERVER].told, "END;");
    assert_int_equal(mbedtls_ssl_write(ssl, (const uint8_t *)"later", 5), 5);
    flow();
    duplex_finish(side[SERVER].duplex);
    flow();
    assert_int_equal(side[SERVER].received, 2);
    assert_string_equal(side[SERVER].told, "END;FINISHED;");
}

static void test_bytes_behind_close_notify_are_ignored(void **state)
{
    (void)state;
    with_raw_client(act_write_behind_the_end);
}

static void act_empty_records(mbedtls_ssl_context *ssl)
{
    uint8_t byte = byte_at(0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(mbedtls_ssl_write(ssl, (const uint8_t *)"", 0), 0);
    assert_int_equal(mbedtls_ssl_write(ssl, &byte, 1), 1);
    flow();
    assert_int_equal(side[SERVER].received, 1);
    assert_string_equal(side[SERVER].told, "");
    for (int i = 0; i < 500; i++)
        assert_int_equal(mbedtls_ssl_write(ssl, (const uint8_t *)"", 0), 0);
    flow();
    assert_string_equal(side[SERVER].told, "ABORT;"); /* a flood of them is an attack */
    assert_int_equal(side[SERVER].cause.what, CAUSE_TLS);
}

static void test_71_empty_records_mean_nothing(void **state)
{
    (void)state;
    with_raw_client(act_empty_records);
}

static void act_renegotiate(mbedtls_ssl_context *ssl)
{
    int r = 0;
    for (int i = 0; i < 20; i++) {
        r = mbedtls_ssl_renegotiate(ssl);
        flow();
    }
    assert_int_not_equal(r, 0);
    assert_int_equal(side[SERVER].received, 0);
}

static void test_70_renegotiation_is_refused(void **state)
{
    (void)state;
    with_raw_client(act_renegotiate);
}

/* ---- who is believed ---- */

static void check_server(const char *cert, const char *host, const struct tls_client_options *o,
                         const char *problem)
{
    char buffer[256];
    struct text t;
    struct tls_config *usual[2] = {configs[CLIENT], configs[SERVER]};
    struct tls_server_options server = {.pairs = {{cert, certs.key}}, .pair_count = 1};
    text_init(&t, buffer, sizeof buffer);
    assert_int_equal(tls_config_new_client(o, &configs[CLIENT], &t), 0);
    assert_int_equal(tls_config_new_server(&server, &configs[SERVER], &t), 0);
    open_wire();
    options[CLIENT] = (struct tls_duplex_options){.host = host};
    options[SERVER] = (struct tls_duplex_options){0};
    open_tls(CLIENT);
    open_tls(SERVER);
    send_bytes(&side[CLIENT], 10);
    flow();
    if (problem == NULL) {
        assert_string_equal(side[CLIENT].told, "OPEN;DRAIN;");
        assert_true(has_whole(&side[CLIENT], &side[SERVER]));
    } else {
        assert_string_equal(side[CLIENT].told, "ABORT;");
        assert_int_equal(side[CLIENT].cause.what, CAUSE_TLS);
        tls_config_describe(side[CLIENT].cause.native, &t);
        assert_string_equal(buffer, problem);
        assert_int_equal(side[SERVER].received, 0); /* nothing was told to the wrong one */
    }
    finish_test();
    for (int i = 0; i < 2; i++) {
        tls_config_free(configs[i]);
        configs[i] = usual[i];
    }
}

static void test_72_chain_and_name(void **state)
{
    (void)state;
    struct tls_client_options o = {.ca_file = certs.ca};
    static const char wrong_name[] = "the certificate is for another name";
    static const char untrusted[] = "the certificate is not signed by a trusted authority";
    check_server(certs.good, "tidegate.test", &o, NULL);
    check_server(certs.good, "TIDEGATE.test", &o, NULL);
    check_server(certs.good, "tidegate.test.", &o, NULL);
    check_server(certs.good, "a.wild.test", &o, NULL);
    check_server(certs.good, "127.0.0.1", &o, NULL);
    check_server(certs.good, "::1", &o, NULL);
    check_server(certs.good, "wild.test", &o, wrong_name);
    check_server(certs.good, "a.b.wild.test", &o, wrong_name);
    check_server(certs.good, "other.test", &o, wrong_name);
    check_server(certs.good, "127.0.0.2", &o, wrong_name);
    check_server(certs.good, "::2", &o, wrong_name);
    check_server(certs.no_names, "tidegate.test", &o, wrong_name);
    check_server(certs.no_names, "127.0.0.1", &o, wrong_name);
    check_server(certs.expired, "tidegate.test", &o, "the certificate has expired");
    check_server(certs.self, "tidegate.test", &o, untrusted);
    o.ca_file = certs.other_ca;
    check_server(certs.good, "tidegate.test", &o, untrusted);
    check_server(certs.good, "127.0.0.1", &o, untrusted);
    o = (struct tls_client_options){.ca_file = certs.ca, .server_name = "tidegate.test"};
    check_server(certs.good, "other.test", &o, NULL);
}

static void test_pin(void **state)
{
    (void)state;
    static const char wrong[] = "the server's public key is not the pinned one";
    static const char other_pin[] = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    struct tls_client_options o = {.ca_file = certs.ca, .pin_sha256 = certs.pin};
    check_server(certs.good, "tidegate.test", &o, NULL);
    check_server(certs.good, "other.test", &o, "the certificate is for another name");
    o.pin_sha256 = other_pin;
    check_server(certs.good, "tidegate.test", &o, wrong);
    o.is_insecure = true;
    check_server(certs.good, "tidegate.test", &o, wrong);
    o.pin_sha256 = certs.pin;
    check_server(certs.self, "other.test", &o, NULL);
    o.pin_sha256 = NULL;
    check_server(certs.expired, "other.test", &o, NULL);
    assert_true(tls_config_is_pin(certs.pin));
    assert_false(tls_config_is_pin("c2hvcnQ="));
    assert_false(tls_config_is_pin("not base64"));
}

static void check_no_config(const char *cert, const char *key, const char *expected)
{
    char buffer[512];
    struct text t;
    struct tls_config *config = NULL;
    struct tls_server_options o = {.pairs = {{cert, key}}, .pair_count = 1};
    text_init(&t, buffer, sizeof buffer);
    assert_true(tls_config_new_server(&o, &config, &t) < 0);
    assert_null(config);
    if (strstr(buffer, expected) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", buffer, expected);
}

static void test_bad_files(void **state)
{
    (void)state;
    check_no_config("/nowhere.pem", certs.key, "certificate /nowhere.pem: cannot be read");
    check_no_config(certs.good, "/nowhere.pem", "key /nowhere.pem: cannot be read");
    check_no_config(certs.good, certs.other_key, "is not that of the first certificate");
    check_no_config(certs.key, certs.key, "certificate");
    char buffer[512];
    struct text t;
    struct tls_config *config = NULL;
    struct tls_client_options o = {.ca_file = certs.key};
    text_init(&t, buffer, sizeof buffer);
    assert_true(tls_config_new_client(&o, &config, &t) < 0);
    assert_non_null(strstr(buffer, "CA file"));
}

static void test_many_handshakes(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        open_and_shake();
        send_bytes(&side[CLIENT], 100);
        flow();
        finish_test();
    }
}

/* ---- many at once ---- */

enum { CROWD = 6 };

static struct memory_pipe lines[CROWD];
static struct side crowd[CROWD][2];

static bool step_lines(int from)
{
    bool is_moving = false;
    for (int i = 0; i < CROWD; i++)
        is_moving |= memory_pipe_step(&lines[i], from, SIZE_MAX);
    return is_moving;
}

static void open_crowd(void)
{
    scheduler_init(&scheduler, 1000);
    options[CLIENT] = (struct tls_duplex_options){.host = "tidegate.test"};
    options[SERVER] = (struct tls_duplex_options){0};
    for (int i = 0; i < CROWD; i++) {
        memory_pipe_init(&lines[i], 1 << 20);
        for (int role = 0; role < 2; role++) {
            options[role].config = configs[role];
            options[role].on_open = on_open;
            struct duplex *d =
                tls_duplex_new(&scheduler, &lines[i].end[role].duplex, &options[role]);
            assert_non_null(d);
            crowd[i][role] = (struct side){.duplex = d};
            duplex_own(d, &events, &crowd[i][role]);
            duplex_resume(d);
        }
    }
}

static int answered(void)
{
    int count = 0;
    for (int i = 0; i < CROWD; i++)
        count += lines[i].end[SERVER].written > 0;
    return count;
}

static void flow_crowd(void)
{
    for (bool is_moving = true; is_moving;) {
        scheduler_run_tasks(&scheduler);
        is_moving = step_lines(CLIENT);
        is_moving |= step_lines(SERVER);
        is_moving |= scheduler_has_tasks(&scheduler);
    }
}

static void end_crowd(void)
{
    for (int i = 0; i < CROWD; i++)
        for (int role = 0; role < 2; role++)
            if (!crowd[i][role].is_over)
                abort_side(&crowd[i][role]);
    flow_crowd();
    for (int i = 0; i < CROWD; i++)
        memory_pipe_clear(&lines[i]);
    assert_false(scheduler_has_tasks(&scheduler));
}

/* All begin in the same turn: each turn one client speaks; then one server answers. What comes
 * meanwhile is not read. */
static void test_one_handshake_a_turn(void **state)
{
    (void)state;
    open_crowd();
    for (int turn = 1; turn <= CROWD; turn++) {
        scheduler_run_tasks(&scheduler);
        int spoken = 0;
        for (int i = 0; i < CROWD; i++)
            spoken += lines[i].end[CLIENT].written > 0;
        assert_int_equal(spoken, turn);
    }
    step_lines(CLIENT);
    for (int turn = 1; turn <= CROWD; turn++) {
        for (int i = 0; i < CROWD; i++)
            assert_int_equal(lines[i].end[SERVER].is_paused, i >= turn - 1);
        scheduler_run_tasks(&scheduler);
        assert_int_equal(answered(), turn);
    }
    flow_crowd();
    for (int i = 0; i < CROWD; i++) {
        assert_string_equal(crowd[i][CLIENT].told, "OPEN;");
        assert_string_equal(crowd[i][SERVER].told, "OPEN;");
        send_bytes(&crowd[i][CLIENT], 1000);
    }
    assert_true(step_lines(CLIENT)); /* data is told at once, in no task */
    for (int i = 0; i < CROWD; i++)
        assert_true(has_whole(&crowd[i][CLIENT], &crowd[i][SERVER]));
    end_crowd();
}

/* However one leaves that waits for its turn, the others have theirs. */
static void test_leaving_before_its_turn(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        open_crowd();
        for (int turn = 0; turn < CROWD; turn++)
            scheduler_run_tasks(&scheduler);
        step_lines(CLIENT);
        scheduler_run_tasks(&scheduler);
        assert_int_equal(answered(), 1);
        if (how == 0) {
            abort_side(&crowd[2][SERVER]);
        } else if (how == 1) {
            close_side(&crowd[2][SERVER]);
        } else if (how == 2) {
            abort_side(&crowd[2][CLIENT]);
        } else {
            memory_pipe_break(&lines[2], CAUSE_RESET);
        }
        flow_crowd();
        for (int i = 0; i < CROWD; i++)
            assert_int_equal(strcmp(crowd[i][SERVER].told, "OPEN;") == 0, i != 2);
        end_crowd();
    }
}

/* ---- all of it ---- */

static int set_up(void **state)
{
    (void)state;
    char buffer[512];
    struct text t;
    text_init(&t, buffer, sizeof buffer);
    if (!tls_certs_make(&certs))
        return -1;
    struct tls_client_options client = {.ca_file = certs.ca, .speaks_http = true};
    struct tls_server_options server = {.pairs = {{certs.good, certs.key}},
                                        .pair_count = 1,
                                        .plain_answer = {(uint8_t *)answer, strlen(answer)}};
    return tls_config_new_client(&client, &configs[CLIENT], &t) |
           tls_config_new_server(&server, &configs[SERVER], &t);
}

static int tear_down(void **state)
{
    (void)state;
    tls_config_free(configs[CLIENT]);
    tls_config_free(configs[SERVER]);
    tls_certs_remove(&certs);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conversation),
        cmocka_unit_test(test_71_conversation_byte_by_byte),
        cmocka_unit_test(test_server_ends_first),
        cmocka_unit_test(test_write_before_the_handshake),
        cmocka_unit_test(test_finish_without_the_end_of_the_transport),
        cmocka_unit_test(test_back_pressure),
        cmocka_unit_test(test_74_nothing_stays_inside),
        cmocka_unit_test(test_47_end_without_close_notify),
        cmocka_unit_test(test_abort_is_no_end),
        cmocka_unit_test(test_abort_behind_what_a_paused_owner_has_not_taken),
        cmocka_unit_test(test_71_garbage_in_mid_stream),
        cmocka_unit_test(test_71_garbage_for_a_handshake),
        cmocka_unit_test(test_71_plain_http_gets_an_answer),
        cmocka_unit_test(test_peer_leaves_in_the_handshake),
        cmocka_unit_test(test_bytes_behind_close_notify_are_ignored),
        cmocka_unit_test(test_71_empty_records_mean_nothing),
        cmocka_unit_test(test_70_renegotiation_is_refused),
        cmocka_unit_test(test_72_chain_and_name),
        cmocka_unit_test(test_pin),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_many_handshakes),
        cmocka_unit_test(test_one_handshake_a_turn),
        cmocka_unit_test(test_leaving_before_its_turn),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
