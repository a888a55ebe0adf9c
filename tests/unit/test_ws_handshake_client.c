/* wire/ws_handshake.h, the client's side: checklist 85. */
#include "ws_handshake.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LINE       "HTTP/1.1 101 Switching Protocols\r\n"
#define UPGRADE    "Upgrade: websocket\r\n"
#define CONNECTION "Connection: Upgrade\r\n"
#define ACCEPT     "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
#define GOOD       LINE UPGRADE CONNECTION ACCEPT

#define EXTENSION   "Sec-WebSocket-Extensions: tidegate-half-close\r\n"
#define SUBPROTOCOL "Sec-WebSocket-Protocol: v1.tidegate\r\n"

static const struct ws_ask ask_both = {
    .offers_extension = true, .offers_subprotocol = true, .key = "dGhlIHNhbXBsZSBub25jZQ=="};
static const struct ws_ask ask_extension = {.offers_extension = true,
                                            .key = "dGhlIHNhbXBsZSBub25jZQ=="};
static const struct ws_ask ask_subprotocol = {.offers_subprotocol = true,
                                              .key = "dGhlIHNhbXBsZSBub25jZQ=="};
static const struct ws_ask ask_plain = {.is_plain = true,
                                        .offers_extension = true,
                                        .offers_subprotocol = true,
                                        .key = "dGhlIHNhbXBsZSBub25jZQ=="};

/* Results of a whole exchange beside those of ws_handshake_check. */
enum { MALFORMED = 1, UNFINISHED = 2 };

static int check(const struct ws_ask *ask, const char *response, size_t first, size_t step,
                 enum ws_carrier *carrier, size_t *left)
{
    struct ws_head *head = ws_head_new(WS_CLIENT);
    size_t len = strlen(response), used = 0;
    enum ws_head_result result = WS_HEAD_MORE;
    *left = 0;
    while (result == WS_HEAD_MORE && used < len) {
        size_t n = used == 0 && first > 0 ? first : step;
        if (n > len - used)
            n = len - used;
        uint8_t *block = malloc(n);
        memcpy(block, response + used, n);
        struct span in = {block, n};
        result = ws_head_feed(head, &in);
        used += n;
        *left = in.len + len - used;
        free(block);
    }
    int r = result == WS_HEAD_FAILED ? MALFORMED : UNFINISHED;
    if (result == WS_HEAD_DONE) {
        const char *problem = NULL;
        r = ws_handshake_check(head, ask, carrier, &problem);
        assert_int_equal(r == 0, problem[0] == '\0');
    } else if (result == WS_HEAD_FAILED) {
        assert_int_equal(ws_head_status(head), 0);
        assert_true(strlen(ws_head_problem(head)) > 0);
    }
    ws_head_free(head);
    return r;
}

static void expect(const struct ws_ask *ask, const char *response, int expected,
                   enum ws_carrier expected_carrier)
{
    size_t whole_left, len = strlen(response);
    for (size_t cut = 0; cut <= len; cut++) {
        enum ws_carrier carrier = WS_PLAIN;
        size_t left;
        int r = check(ask, response, cut, cut == 0 ? 1 : len, &carrier, &left);
        if (r != expected || (r == 0 && carrier != expected_carrier))
            fail_msg("%s\nsplit at %zu: %d, carrier %d", response, cut, r, carrier);
        if (cut == 0)
            whole_left = left;
        assert_int_equal(left, whole_left);
    }
}

static void test_85_good_answers(void **state)
{
    (void)state;
    expect(&ask_both, GOOD "\r\n", 0, WS_PLAIN);
    expect(&ask_both, GOOD EXTENSION "\r\n", 0, WS_EXTENSION);
    expect(&ask_both, GOOD SUBPROTOCOL "\r\n", 0, WS_SUBPROTOCOL);
    expect(&ask_extension, GOOD EXTENSION "\r\n", 0, WS_EXTENSION);
    expect(&ask_subprotocol, GOOD SUBPROTOCOL "\r\n", 0, WS_SUBPROTOCOL);
    expect(&ask_plain, GOOD "\r\n", 0, WS_PLAIN);
    expect(&ask_both, GOOD "Sec-WebSocket-Extensions:\r\n\r\n", 0, WS_PLAIN);
    expect(&ask_plain,
           "HTTP/1.1 101\r\nupgrade: WebSocket\r\nconnection: keep-alive, UPGRADE\r\n" ACCEPT
           "\r\n",
           0, WS_PLAIN);
    /* frames right behind the head are not lost */
    size_t left;
    enum ws_carrier carrier;
    assert_int_equal(check(&ask_plain, GOOD "\r\n\x82\x01x", 1, 1000, &carrier, &left), 0);
    assert_int_equal(left, 3);
}

static void test_85_wrong_answers(void **state)
{
    (void)state;
    static const char *const bad[] = {
        GOOD "Sec-WebSocket-Protocol: v1.tidegate.window.1\r\n\r\n", /* never asked for */
        LINE CONNECTION ACCEPT "\r\n",
        LINE UPGRADE ACCEPT "\r\n",
        LINE UPGRADE CONNECTION "\r\n",
        LINE "Upgrade: h2c\r\n" CONNECTION ACCEPT "\r\n",
        LINE "Upgrade: websocket, h2c\r\n" CONNECTION ACCEPT "\r\n",
        LINE UPGRADE "Connection: close\r\n" ACCEPT "\r\n",
        LINE UPGRADE CONNECTION "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOp=\r\n\r\n",
        LINE UPGRADE CONNECTION "Sec-WebSocket-Accept: S3PPLMBITXAQ9KYGZZHZRBK+XOO=\r\n\r\n",
        LINE UPGRADE CONNECTION "Sec-WebSocket-Accept:\r\n\r\n",
        GOOD ACCEPT "\r\n",
        GOOD "Content-Length: 5\r\n\r\n",
        GOOD "Transfer-Encoding: chunked\r\n\r\n",
        GOOD "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        GOOD "Sec-WebSocket-Extensions: tidegate-half-close, x\r\n\r\n",
        GOOD "Sec-WebSocket-Extensions: tidegate-half-close; x\r\n\r\n",
        GOOD "Sec-WebSocket-Extensions: tidegate-half-close; x=\"\r\n\r\n",
        GOOD EXTENSION EXTENSION "\r\n",
        GOOD "Sec-WebSocket-Protocol: chat\r\n\r\n",
        GOOD "Sec-WebSocket-Protocol: binary\r\n\r\n",
        GOOD "Sec-WebSocket-Protocol: V1.TIDEGATE\r\n\r\n",
        GOOD SUBPROTOCOL SUBPROTOCOL "\r\n",
        GOOD EXTENSION SUBPROTOCOL "\r\n",
    };
    for (size_t i = 0; i < array_count(bad); i++)
        expect(&ask_both, bad[i], -EPROTO, WS_PLAIN);
    expect(&ask_subprotocol, GOOD EXTENSION "\r\n", -EPROTO, WS_PLAIN);
    expect(&ask_extension, GOOD SUBPROTOCOL "\r\n", -EPROTO, WS_PLAIN);
    expect(&ask_plain, GOOD EXTENSION "\r\n", -EPROTO, WS_PLAIN);
    expect(&ask_plain, GOOD SUBPROTOCOL "\r\n", -EPROTO, WS_PLAIN);
}

static void test_85_refusals(void **state)
{
    (void)state;
    expect(&ask_both, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", -EACCES, WS_PLAIN);
    expect(&ask_both, "HTTP/1.1 301 Moved\r\nLocation: /x\r\n\r\n", -EACCES, WS_PLAIN);
    expect(&ask_both, "HTTP/1.1 403 Forbidden\r\n\r\n", -EACCES, WS_PLAIN);
    expect(&ask_both, "HTTP/1.0 502 Bad Gateway\r\n\r\n", -EACCES, WS_PLAIN);
    expect(&ask_both, "HTTP/1.1 426 Upgrade Required\r\n" UPGRADE CONNECTION "\r\n", -EACCES,
           WS_PLAIN);
}

static void test_85_not_http(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "SSH-2.0-OpenSSH_9.2p1\r\n\r\n",
        "\r\n\r\n",
        "HTTP/1.0 101 Switching Protocols\r\n" UPGRADE CONNECTION ACCEPT "\r\n",
        "HTTP/2 101 Switching Protocols\r\n" UPGRADE CONNECTION ACCEPT "\r\n",
        "HTTP/1.1 10 x\r\n\r\n",
        "HTTP/1.1 1011 x\r\n\r\n",
        "HTTP/1.1 101 x\n" UPGRADE CONNECTION ACCEPT "\r\n",
        GOOD "X: a\r\n b\r\n\r\n",
        GOOD " X: a\r\n\r\n",
        GOOD "X : a\r\n\r\n",
        GOOD "X: \x01\r\n\r\n",
    };
    for (size_t i = 0; i < array_count(bad); i++)
        expect(&ask_both, bad[i], MALFORMED, WS_PLAIN);
    expect(&ask_both, GOOD, UNFINISHED, WS_PLAIN);
}

/* Checklist 87: 1xx responses are skipped, an endless row of them is not. */
static void test_87_informational_responses(void **state)
{
    (void)state;
    char response[4096];
    for (unsigned count = 0; count <= 20; count++) {
        struct text t;
        text_init(&t, response, sizeof(response));
        for (unsigned i = 0; i < count; i++)
            text_add(&t, i % 2 == 0 ? "HTTP/1.1 100 Continue\r\n\r\n"
                                    : "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
        text_add(&t, GOOD EXTENSION "\r\n");
        enum ws_carrier carrier = WS_PLAIN;
        size_t left;
        for (size_t step = 1; step < 100; step += 7) {
            int r = check(&ask_both, response, 0, step, &carrier, &left);
            assert_int_equal(r, count <= 16 ? 0 : MALFORMED);
        }
    }
}

static void test_87_endless_head(void **state)
{
    (void)state;
    struct ws_head *head = ws_head_new(WS_CLIENT);
    size_t fed = 0;
    enum ws_head_result result = WS_HEAD_MORE;
    while (result == WS_HEAD_MORE && fed < 2 * WS_HEAD_MAX) {
        char line[] =
            "HTTP/1.1 101 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        struct span in = {(uint8_t *)line + (fed > 0 ? 13 : 0), fed > 0 ? 64 : sizeof(line) - 1};
        fed += in.len;
        result = ws_head_feed(head, &in);
    }
    assert_int_equal(result, WS_HEAD_FAILED);
    assert_true(fed <= WS_HEAD_MAX + 128);
    ws_head_free(head);
}

/* ---- our request ---- */

static void test_request_is_accepted_by_our_server(void **state)
{
    (void)state;
    static const struct {
        bool is_plain, offers_extension, offers_subprotocol;
        enum ws_carrier expected;
    } cases[] = {
        {false, true, true, WS_EXTENSION},    {false, true, false, WS_EXTENSION},
        {false, false, true, WS_SUBPROTOCOL}, {false, false, false, WS_PLAIN},
        {true, true, true, WS_PLAIN},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct ws_ask ask = {.host = "example.org:8080",
                             .target = "/x?y",
                             .is_plain = cases[i].is_plain,
                             .offers_extension = cases[i].offers_extension,
                             .offers_subprotocol = cases[i].offers_subprotocol,
                             .fields = i % 2 == 0 ? NULL : "Authorization: Bearer x\r\n"};
        char request[1024], response[1024];
        struct text t, answer;
        text_init(&t, request, sizeof(request));
        text_init(&answer, response, sizeof(response));
        assert_int_equal(ws_handshake_ask(&ask, &t), 0);
        assert_int_equal(strlen(ask.key), WS_KEY_SIZE - 1);

        struct ws_head *head = ws_head_new(WS_SERVER);
        struct span in = {(uint8_t *)request, t.len};
        struct ws_offer offer;
        const char *problem;
        assert_int_equal(ws_head_feed(head, &in), WS_HEAD_DONE);
        assert_string_equal(ws_head_target(head), "/x?y");
        assert_string_equal(ws_head_field(head, "host"), "example.org:8080");
        assert_int_equal(ws_head_field(head, "authorization") != NULL, i % 2 == 1);
        assert_int_equal(ws_handshake_judge(head, &offer, &problem), 101);
        assert_int_equal(offer.carrier, cases[i].expected);
        ws_handshake_accept(&offer, &answer);
        expect(&ask, response, 0, cases[i].expected);
        ws_head_free(head);
    }
}

static void test_keys_are_fresh(void **state)
{
    (void)state;
    struct ws_ask one = {.host = "x", .target = "/"}, two = one;
    char request[512];
    struct text t;
    text_init(&t, request, sizeof(request));
    assert_int_equal(ws_handshake_ask(&one, &t), 0);
    text_init(&t, request, sizeof(request));
    assert_int_equal(ws_handshake_ask(&two, &t), 0);
    assert_string_not_equal(one.key, two.key);
}

static void test_request_that_does_not_fit(void **state)
{
    (void)state;
    struct ws_ask ask = {.host = "x", .target = "/"};
    char request[512];
    struct text t;
    text_init(&t, request, sizeof(request));
    assert_int_equal(ws_handshake_ask(&ask, &t), 0);
    size_t size = t.len + 1;
    text_init(&t, request, size);
    assert_int_equal(ws_handshake_ask(&ask, &t), 0);
    text_init(&t, request, size - 1);
    assert_int_equal(ws_handshake_ask(&ask, &t), -ENOSPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_85_good_answers),
        cmocka_unit_test(test_85_wrong_answers),
        cmocka_unit_test(test_85_refusals),
        cmocka_unit_test(test_85_not_http),
        cmocka_unit_test(test_87_informational_responses),
        cmocka_unit_test(test_87_endless_head),
        cmocka_unit_test(test_request_is_accepted_by_our_server),
        cmocka_unit_test(test_keys_are_fresh),
        cmocka_unit_test(test_request_that_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
