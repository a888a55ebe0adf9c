/* proxy/tunnel/dialer.h and redial.h, against servers that do what they are told */
#include "redial.h"

#include "raw_server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const struct ws_duplex_config ws_config = {.linger_ms = 1000, .close_timeout_ms = 1000};

struct dial {
    struct loop *l;
    struct redial_config config;
    struct raw_server server;
    struct redial *redial;
    unsigned calls;
    bool is_in_call;
    struct dialer_result result;
    struct app app; /* owns the WebSocket */
};

static struct dial *new_dial(void)
{
    struct dial *d = calloc(1, sizeof(*d));

    assert_non_null(d);
    d->l = loop_new();
    assert_non_null(d->l);
    d->config.dialer.timeout_ms = 10000;
    d->config.dialer.ws = &ws_config;
    d->config.dialer.stream = &kit_options;
    return d;
}

static void on_done(void *owner, const struct dialer_result *result)
{
    struct dial *d = owner;

    assert_false(d->is_in_call);
    d->calls++;
    d->result = *result;
    if (result->ws != NULL) {
        assert_int_equal(result->failure, DIALER_OK);
        assert_non_null(result->stream);
        app_adopt(&d->app, d->l, result->ws);
    }
    loop_stop(d->l);
}

static void start(struct dial *d, const char *url)
{
    const char *why;

    assert_int_equal(url_parse(url, &d->config.dialer.url, &why), 0);
    d->is_in_call = true;
    d->redial = redial_start(d->l, &d->config, on_done, d);
    d->is_in_call = false;
    assert_non_null(d->redial);
}

static const char *url_of(const struct dial *d)
{
    static char url[64];

    snprintf(url, sizeof(url), "ws://127.0.0.1:%u/path?query", d->server.port);
    return url;
}

/* Dials a server with the answers that `d` has, to the result. */
static void dial(struct dial *d)
{
    raw_server_start(&d->server);
    start(d, url_of(d));
    KIT_WAIT(d->l, d->calls > 0);
}

static void check_ok(const struct dial *d)
{
    if (d->result.failure != DIALER_OK)
        fail_msg("failure %d: %s", (int)d->result.failure, d->result.problem);
}

static void end(struct dial *d)
{
    raw_server_free(&d->server);
    loop_run(d->l); /* nothing is left open */
    assert_int_equal(d->calls, 1);
    loop_free(d->l);
    free(d);
}

/* The usual: one answer, and a result that is no WebSocket. */
static void check_failure(enum raw_act act, const char *text, enum dialer_failure failure,
                          int status, const char *problem)
{
    struct dial *d = new_dial();

    d->server.answers[0] = (struct raw_answer){act, text, 0};
    dial(d);
    if (d->result.failure != failure || d->result.status != status ||
        strstr(d->result.problem, problem) == NULL)
        fail_msg("failure %d, status %d: %s", (int)d->result.failure, d->result.status,
                 d->result.problem);
    assert_null(d->result.ws);
    assert_int_equal(d->result.cause.where, CAUSE_AT_BACKEND);
    end(d);
}

/* ---- what goes well ---- */

static void test_open(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        enum ws_carrier carrier;
    } cases[] = {
        {RAW_101 RAW_EXTENSION "\r\n", WS_EXTENSION},
        {RAW_101 "Sec-WebSocket-Protocol: v1.tidegate\r\n\r\n", WS_SUBPROTOCOL},
        {RAW_101 "\r\n", WS_PLAIN},
        {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" RAW_101 RAW_EXTENSION "\r\n", WS_EXTENSION},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct dial *d = new_dial();
        d->server.answers[0] = (struct raw_answer){RAW_SEND, cases[i].answer, 0};
        d->config.dialer.allows_plain = true;
        dial(d);
        check_ok(d);
        assert_int_equal(d->result.carrier, cases[i].carrier);
        app_resume(&d->app);
        app_abort(&d->app);
        end(d);
    }
}

static void test_request(void **state)
{
    (void)state;
    struct dial *d = new_dial();
    const char *why;
    char path[] = "/tmp/tidegate-token-XXXXXX", expected[64];
    int fd = mkstemp(path);

    assert_int_equal(write(fd, "t0ken\n", 6), 6);
    close(fd);
    d->server.answers[0] = (struct raw_answer){RAW_SEND, RAW_101 RAW_EXTENSION "\r\n", 0};
    d->config.dialer.token_file = path;
    assert_int_equal(request_fields_add(&d->config.dialer.fields, "X-One: 1", &why), 0);
    dial(d);
    app_abort(&d->app);
    raw_server_join(&d->server);
    const char *request = d->server.request[0];
    snprintf(expected, sizeof(expected), "\r\nHost: 127.0.0.1:%u\r\n", d->server.port);
    assert_memory_equal(request, "GET /path?query HTTP/1.1\r\n", 26);
    assert_non_null(strstr(request, expected));
    assert_non_null(strstr(request, "\r\nX-One: 1\r\n"));
    assert_non_null(strstr(request, "\r\nAuthorization: Bearer t0ken\r\n"));
    assert_non_null(strstr(request, "\r\nSec-WebSocket-Extensions: tidegate-half-close\r\n"));
    assert_non_null(strstr(request, "\r\nSec-WebSocket-Protocol: v1.tidegate\r\n"));
    unlink(path);
    end(d);
}

static void test_frames_behind_101(void **state)
{
    (void)state;
    static const char answer[] = RAW_101 RAW_EXTENSION "\r\n\x82\x03\x00\x1f\x3e\x8b\x05"
                                                       "FIN 3";
    struct dial *d = new_dial();

    d->server.answers[0] = (struct raw_answer){RAW_SEND, answer, sizeof(answer) - 1};
    dial(d);
    check_ok(d);
    app_resume(&d->app);
    KIT_WAIT(d->l, d->app.ends > 0);
    assert_int_equal(d->app.got, 3);
    assert_false(d->app.is_wrong);
    app_abort(&d->app);
    end(d);
}

/* ---- what does not ---- */

static void test_85_not_101(void **state)
{
    (void)state;
    check_failure(RAW_SEND, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", DIALER_REFUSED, 200,
                  "the server answered 200");
    check_failure(RAW_SEND, "HTTP/1.1 301 Moved\r\nLocation: ws://127.0.0.1:1/\r\n\r\n",
                  DIALER_REFUSED, 301, "answered 301");
    check_failure(RAW_SEND, "HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer\r\n\r\n", DIALER_DENIED,
                  401, "--token-file");
    check_failure(RAW_SEND, "HTTP/1.1 403 No\r\n\r\n", DIALER_DENIED, 403, "answered 403");
    check_failure(RAW_SEND, "HTTP/1.1 404 No\r\n\r\n", DIALER_REFUSED, 404, "answered 404");
    check_failure(RAW_SEND, "HTTP/1.1 503 Busy\r\nRetry-After: 5\r\n\r\n", DIALER_REFUSED, 503,
                  "answered 503");
}

static void test_85_bad_101(void **state)
{
    (void)state;
    check_failure(RAW_SEND,
                  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                  "Connection: Upgrade\r\n\r\n",
                  DIALER_PROTOCOL, 101, "Sec-WebSocket-Accept");
    check_failure(RAW_SEND,
                  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                  "Connection: Upgrade\r\n"
                  "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
                  DIALER_PROTOCOL, 101, "Sec-WebSocket-Accept");
    check_failure(RAW_SEND,
                  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Accept: {accept}\r\n\r\n",
                  DIALER_PROTOCOL, 101, "Upgrade");
    check_failure(RAW_SEND, RAW_101 "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
                  DIALER_PROTOCOL, 101, "extension");
    check_failure(RAW_SEND, RAW_101 "Sec-WebSocket-Protocol: chat\r\n\r\n", DIALER_PROTOCOL, 101,
                  "subprotocol");
    check_failure(RAW_SEND, RAW_101 RAW_EXTENSION "Sec-WebSocket-Protocol: v1.tidegate\r\n\r\n",
                  DIALER_PROTOCOL, 101, "both");
}

static void test_no_half_close(void **state)
{
    (void)state;
    check_failure(RAW_SEND, RAW_101 "\r\n", DIALER_PROTOCOL, 101, "--plain");
}

static void test_85_not_http(void **state)
{
    (void)state;
    check_failure(RAW_SEND, "SSH-2.0-OpenSSH_9.2\r\n", DIALER_PROTOCOL, 0, "not HTTP");
    check_failure(RAW_SEND, "\r\n\r\n", DIALER_PROTOCOL, 0, "not HTTP");
    check_failure(RAW_SEND, "HTTP/1.0 101 Switching Protocols\r\n\r\n", DIALER_PROTOCOL, 0,
                  "HTTP/1.1");
}

static void test_lost_in_the_handshake(void **state)
{
    (void)state;
    check_failure(RAW_RESET, NULL, DIALER_UNREACHABLE, 0, "lost");
    check_failure(RAW_CLOSE, "HTTP/1.1 101 Swit", DIALER_UNREACHABLE, 0, "closed");
}

/* Frames that a server must not send are the WebSocket's business, but no clean end either. */
static void check_break(const char *frames, size_t len, enum cause_what what)
{
    static char answer[1024];
    const char *head = RAW_101 RAW_EXTENSION "\r\n";
    struct dial *d = new_dial();

    memcpy(answer, head, strlen(head));
    memcpy(answer + strlen(head), frames, len);
    d->server.answers[0] = (struct raw_answer){RAW_SEND, answer, strlen(head) + len};
    dial(d);
    check_ok(d);
    app_resume(&d->app);
    KIT_WAIT(d->l, d->app.aborts > 0);
    assert_int_equal(d->app.cause.what, what);
    assert_int_equal(d->app.ends, 0);
    end(d);
}

static void test_85_masked_frame(void **state)
{
    (void)state;
    check_break("\x82\x81\x01\x02\x03\x04x", 7, CAUSE_WS_VIOLATION);
}

static void test_85_garbage_behind_101(void **state)
{
    (void)state;
    check_break("SSH-2.0-OpenSSH_9.2\r\n", 21, CAUSE_WS_VIOLATION);
}

static void test_87_length_of_2_to_the_63(void **state)
{
    (void)state;
    check_break("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10, CAUSE_WS_VIOLATION);
}

static long resident_kib(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static void check_flood(const char *text, const char *problem)
{
    long before = resident_kib();

    check_failure(RAW_FLOOD, text, DIALER_PROTOCOL, 0, problem);
    assert_true(resident_kib() - before < 16384);
}

static void test_87_endless_header(void **state)
{
    (void)state;
    static char line[60000];

    memset(line, 'a', sizeof(line) - 1);
    memcpy(line, "HTTP/1.1 101 X\r\nX-Long: ", 24);
    check_flood(line, "too large");
}

static void test_87_endless_fields(void **state)
{
    (void)state;
    struct dial *d = new_dial();
    static char fields[30000];
    size_t len = 0;

    len += (size_t)snprintf(fields, sizeof(fields), "HTTP/1.1 101 X\r\n");
    while (len < sizeof(fields) - 16)
        len += (size_t)snprintf(fields + len, sizeof(fields) - len, "X: y\r\n");
    d->server.answers[0] = (struct raw_answer){RAW_FLOOD, fields, len};
    dial(d);
    assert_int_equal(d->result.failure, DIALER_PROTOCOL);
    assert_non_null(strstr(d->result.problem, "too many"));
    end(d);
}

static void test_87_endless_1xx(void **state)
{
    (void)state;
    check_flood("HTTP/1.1 103 Early Hints\r\n\r\n", "too many 1xx");
}

static void test_no_answer_in_time(void **state)
{
    (void)state;
    struct dial *d = new_dial();
    uint64_t start_ms = kit_now_ms();

    d->server.answers[0] = (struct raw_answer){.act = RAW_SILENT};
    d->config.dialer.timeout_ms = 400; /* on a busy machine it must have connected by then */
    dial(d);
    assert_int_equal(d->result.failure, DIALER_UNREACHABLE);
    assert_int_equal(d->result.cause.what, CAUSE_CONNECT_TIMEOUT);
    assert_true(kit_now_ms() - start_ms >= 390); /* the loop's clock is that of its turn */
    end(d);
}

static void test_refused(void **state)
{
    (void)state;
    struct dial *d = new_dial();

    close(kit_listen("127.0.0.1", &d->server.port, 1));
    start(d, url_of(d));
    KIT_WAIT(d->l, d->calls > 0);
    assert_int_equal(d->result.failure, DIALER_UNREACHABLE);
    assert_int_equal(d->result.cause.native, -ECONNREFUSED);
    assert_string_equal(d->result.problem, "Connection refused");
    end(d);
}

static void test_token_file_is_gone(void **state)
{
    (void)state;
    struct dial *d = new_dial();

    d->server.answers[0] = (struct raw_answer){.act = RAW_SILENT};
    d->config.dialer.token_file = "/nowhere/token";
    dial(d);
    assert_int_equal(d->result.failure, DIALER_SYSTEM);
    assert_non_null(strstr(d->result.problem, "/nowhere/token: No such file"));
    end(d);
}

static void test_cancel(void **state)
{
    (void)state;
    struct dial *d = new_dial();

    d->server.answers[0] = (struct raw_answer){.act = RAW_SILENT};
    raw_server_start(&d->server);
    start(d, url_of(d));
    for (int i = 0; i < 2; i++)
        kit_turn(d->l);
    assert_int_equal(d->calls, 0);
    redial_cancel(d->redial);
    d->calls = 1; /* as end() wants it */
    raw_server_join(&d->server);
    assert_int_equal(d->server.requests, 1);
    end(d);
}

/* ---- through an HTTP proxy ---- */

static void use_proxy(struct dial *d, const char *user)
{
    char text[64];
    const char *why;

    raw_server_start(&d->server);
    snprintf(text, sizeof(text), "http://%s127.0.0.1:%u", user, d->server.port);
    assert_int_equal(http_proxy_parse(text, &d->config.dialer.proxy, &why), 0);
    start(d, "ws://far.example:81/x");
    KIT_WAIT(d->l, d->calls > 0);
}

static void test_proxy_connects(void **state)
{
    (void)state;
    struct dial *d = new_dial();

    d->server.answers[0] = (struct raw_answer){RAW_NEXT, "HTTP/1.1 200 OK\r\nVia: x\r\n\r\n", 0};
    d->server.answers[1] = (struct raw_answer){RAW_SEND, RAW_101 RAW_EXTENSION "\r\n", 0};
    use_proxy(d, "u:p@");
    check_ok(d);
    app_abort(&d->app);
    raw_server_join(&d->server);
    assert_string_equal(d->server.request[0], "CONNECT far.example:81 HTTP/1.1\r\n"
                                              "Host: far.example:81\r\n"
                                              "Proxy-Authorization: Basic dTpw\r\n\r\n");
    assert_memory_equal(d->server.request[1], "GET /x HTTP/1.1\r\nHost: far.example:81\r\n", 39);
    assert_null(strstr(d->server.request[1], "Proxy-"));
    end(d);
}

static void check_proxy(const char *answer, enum dialer_failure failure, const char *problem)
{
    struct dial *d = new_dial();

    d->server.answers[0] = (struct raw_answer){RAW_SEND, answer, 0};
    use_proxy(d, "");
    if (d->result.failure != failure || strstr(d->result.problem, problem) == NULL)
        fail_msg("failure %d: %s", (int)d->result.failure, d->result.problem);
    end(d);
}

static void test_proxy_refuses(void **state)
{
    (void)state;
    check_proxy("HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\n\r\n", DIALER_DENIED, "--proxy");
    check_proxy("HTTP/1.1 403 No\r\n\r\n", DIALER_DENIED, "the HTTP proxy answered 403");
    check_proxy("HTTP/1.1 502 No\r\n\r\n", DIALER_REFUSED, "the HTTP proxy answered 502");
    check_proxy("HTTP/1.1 200 OK\r\n\r\nhello", DIALER_PROTOCOL, "behind its answer");
    check_proxy("nonsense\r\n\r\n", DIALER_PROTOCOL, "not HTTP");
}

/* ---- again ---- */

static void test_retries(void **state)
{
    (void)state;
    struct dial *d = new_dial();

    d->config.retry_count = 5;
    d->config.retry_ms = UINT64_MAX;
    d->server.answers[0] = (struct raw_answer){RAW_SEND, "HTTP/1.1 503 Busy\r\n\r\n", 0};
    d->server.answers[1] = (struct raw_answer){.act = RAW_RESET};
    d->server.answers[2] = (struct raw_answer){RAW_SEND, RAW_101 RAW_EXTENSION "\r\n", 0};
    dial(d);
    check_ok(d);
    app_abort(&d->app);
    raw_server_join(&d->server);
    assert_int_equal(d->server.requests, 3);
    end(d);
}

static void test_retries_run_out(void **state)
{
    (void)state;
    struct dial *d = new_dial();

    d->config.retry_count = 2;
    d->config.retry_ms = UINT64_MAX;
    for (int i = 0; i < 3; i++)
        d->server.answers[i] = (struct raw_answer){RAW_SEND, "HTTP/1.1 502 No\r\n\r\n", 0};
    dial(d);
    assert_int_equal(d->result.status, 502);
    end(d); /* the server has had its three requests */
}

static void test_what_is_not_tried_again(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "HTTP/1.1 401 No\r\n\r\n",
        "HTTP/1.1 404 No\r\n\r\n",
        RAW_101 "\r\n",
        "nonsense\r\n",
    };
    for (size_t i = 0; i < array_count(answers); i++) {
        struct dial *d = new_dial();
        d->config.retry_count = 5;
        d->config.retry_ms = UINT64_MAX;
        d->server.answers[0] = (struct raw_answer){RAW_SEND, answers[i], 0};
        dial(d);
        assert_int_not_equal(d->result.failure, DIALER_OK);
        end(d);
    }
}

/* Checklist 89: no busy loop. Full jitter from 250 ms on: in a second there is time for few. */
static void test_89_retries_wait(void **state)
{
    (void)state;
    struct dial *d = new_dial();
    uint64_t start_ms = kit_now_ms();
    struct rusage before, after;

    close(kit_listen("127.0.0.1", &d->server.port, 1));
    d->config.retry_count = UINT64_MAX;
    d->config.retry_ms = 1000;
    getrusage(RUSAGE_SELF, &before);
    start(d, url_of(d));
    KIT_WAIT(d->l, d->calls > 0);
    getrusage(RUSAGE_SELF, &after);
    assert_int_equal(d->result.failure, DIALER_UNREACHABLE);
    assert_true(kit_now_ms() - start_ms <= 1500);
    assert_true(after.ru_utime.tv_sec * 1000 + after.ru_utime.tv_usec / 1000 -
                    before.ru_utime.tv_sec * 1000 - before.ru_utime.tv_usec / 1000 <
                300);
    end(d);
}

static void test_cancel_between_attempts(void **state)
{
    (void)state;
    struct dial *d = new_dial();

    close(kit_listen("127.0.0.1", &d->server.port, 1));
    d->config.retry_count = UINT64_MAX;
    d->config.retry_ms = UINT64_MAX;
    start(d, url_of(d));
    for (int i = 0; i < 5; i++)
        kit_turn(d->l);
    assert_int_equal(d->calls, 0);
    redial_cancel(d->redial);
    d->calls = 1; /* as end() wants it */
    end(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_frames_behind_101),
        cmocka_unit_test(test_85_not_101),
        cmocka_unit_test(test_85_bad_101),
        cmocka_unit_test(test_no_half_close),
        cmocka_unit_test(test_85_not_http),
        cmocka_unit_test(test_lost_in_the_handshake),
        cmocka_unit_test(test_85_masked_frame),
        cmocka_unit_test(test_85_garbage_behind_101),
        cmocka_unit_test(test_87_length_of_2_to_the_63),
        cmocka_unit_test(test_87_endless_header),
        cmocka_unit_test(test_87_endless_fields),
        cmocka_unit_test(test_87_endless_1xx),
        cmocka_unit_test(test_no_answer_in_time),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_token_file_is_gone),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_proxy_connects),
        cmocka_unit_test(test_proxy_refuses),
        cmocka_unit_test(test_retries),
        cmocka_unit_test(test_retries_run_out),
        cmocka_unit_test(test_what_is_not_tried_again),
        cmocka_unit_test(test_89_retries_wait),
        cmocka_unit_test(test_cancel_between_attempts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
