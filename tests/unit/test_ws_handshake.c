/* wire/ws_handshake.h, the server's side. Every request is read whole, byte by byte, and split at
 * every point. */
#include "ws_handshake.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REQUEST_LINE "GET /chat HTTP/1.1\r\n"
#define HOST         "Host: server.example.com\r\n"
#define UPGRADE      "Upgrade: websocket\r\n"
#define CONNECTION   "Connection: Upgrade\r\n"
#define KEY          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION      "Sec-WebSocket-Version: 13\r\n"
#define FIELDS       HOST UPGRADE CONNECTION KEY VERSION
#define GOOD         REQUEST_LINE FIELDS
#define ACCEPT       "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" /* RFC 6455 1.3 */

/* ---- reading ---- */

static enum ws_head_result feed(struct ws_head *head, const char *bytes, size_t len, size_t *left)
{
    uint8_t *block =
        malloc(len > 0 ? len : 1); /* its exact size: a sanitizer sees a byte too far */
    if (len > 0)
        memcpy(block, bytes, len);
    struct span in = {block, len};
    enum ws_head_result result = ws_head_feed(head, &in);
    assert_ptr_equal(in.data + in.len, block + len);
    assert_true(result != WS_HEAD_MORE || in.len == 0);
    *left = in.len;
    free(block);
    return result;
}

/* The verdict on a request as text: "101 extension binary", "400 what is wrong", "more"; behind it
 * how many bytes were left over. First a piece of `first` bytes, then pieces of `step`. */
static void judge(const char *bytes, size_t len, size_t first, size_t step, char *out, size_t size)
{
    struct ws_head *head = ws_head_new(WS_SERVER);
    assert_non_null(head);
    size_t used = first, left;
    enum ws_head_result result = feed(head, bytes, first, &left);
    while (result == WS_HEAD_MORE && used < len) {
        size_t n = len - used < step ? len - used : step;
        result = feed(head, bytes + used, n, &left);
        used += n;
    }
    left += len - used;

    struct text t;
    text_init(&t, out, size);
    if (result == WS_HEAD_MORE) {
        text_add(&t, "more");
    } else if (result == WS_HEAD_FAILED) {
        text_addf(&t, "%d %s", ws_head_status(head), ws_head_problem(head));
    } else {
        static const char *const carriers[] = {"plain", "extension", "subprotocol"};
        struct ws_offer offer;
        const char *problem;
        int status = ws_handshake_judge(head, &offer, &problem);
        text_addf(&t, "%d ", status);
        if (status != 101)
            text_add(&t, problem);
        else
            text_addf(&t, "%s %s%s", carriers[offer.carrier],
                      offer.subprotocol != NULL ? offer.subprotocol : "-",
                      offer.has_half_close_asked ? "" : " unasked");
        if (status == 101 && offer.window > 0)
            text_addf(&t, " window %" PRIu64, offer.window);
    }
    text_addf(&t, " | %zu", left);
    assert_false(t.overflowed);
    ws_head_free(head);
}

/* Checks the beginning of the verdict, and that no split changes a character of it. */
static void expect_bytes(const char *bytes, size_t len, const char *expected)
{
    char whole[256], other[256];
    judge(bytes, len, len, 1, whole, sizeof(whole));
    if (strncmp(whole, expected, strlen(expected)) != 0)
        fail_msg("%.*s\nis '%s' instead of '%s'", (int)len, bytes, whole, expected);
    judge(bytes, len, 0, 1, other, sizeof(other));
    assert_string_equal(other, whole);
    size_t stride = len > 2000 ? 97 : 1;
    for (size_t cut = 0; cut < len; cut += stride) {
        judge(bytes, len, cut, len, other, sizeof(other));
        assert_string_equal(other, whole);
    }
}

static void expect(const char *request, const char *expected)
{
    expect_bytes(request, strlen(request), expected);
}

/* A good request with more fields. */
static void expect_with(const char *fields, const char *expected)
{
    char request[4096];
    snprintf(request, sizeof(request), GOOD "%s\r\n", fields);
    expect(request, expected);
}

/* ---- what is accepted ---- */

static void test_01_valid_upgrade(void **state)
{
    (void)state;
    char accept[WS_ACCEPT_SIZE];
    assert_int_equal(ws_handshake_accept_key("dGhlIHNhbXBsZSBub25jZQ==", accept), 0);
    assert_string_equal(accept, ACCEPT);
    expect(GOOD "\r\n", "101 plain - unasked | 0");
}

static void expect_response(const struct ws_offer *offer, const char *expected)
{
    char buffer[512];
    struct text t;
    text_init(&t, buffer, sizeof(buffer));
    ws_handshake_accept(offer, &t);
    assert_string_equal(buffer, expected);
}

static void test_01_response(void **state)
{
    (void)state;
#define RESPONSE                                                                                   \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"            \
    "Sec-WebSocket-Accept: " ACCEPT "\r\n"
    expect_response(&(struct ws_offer){.accept = ACCEPT}, RESPONSE "\r\n");
    expect_response(&(struct ws_offer){.carrier = WS_EXTENSION, .accept = ACCEPT},
                    RESPONSE "Sec-WebSocket-Extensions: tidegate-half-close\r\n\r\n");
    expect_response(&(struct ws_offer){.carrier = WS_SUBPROTOCOL,
                                       .subprotocol = "v1.tidegate",
                                       .accept = ACCEPT},
                    RESPONSE "Sec-WebSocket-Protocol: v1.tidegate\r\n\r\n");
    expect_response(&(struct ws_offer){.carrier = WS_SUBPROTOCOL,
                                       .subprotocol = "v1.tidegate",
                                       .window = UINT64_C(9007199254740991),
                                       .accept = ACCEPT},
                    RESPONSE "Sec-WebSocket-Protocol: v1.tidegate.window.9007199254740991\r\n\r\n");
}

/* Any token of the list will do, and a list may come in several fields. */
static void test_05_upgrade_lists(void **state)
{
    (void)state;
    expect(REQUEST_LINE HOST "Upgrade: proto1, websocket\r\n" CONNECTION KEY VERSION "\r\n",
           "101 ");
    expect(REQUEST_LINE HOST "Upgrade: proto1\r\nUpgrade: websocket\r\n" CONNECTION KEY VERSION
                             "\r\n",
           "101 ");
    expect(REQUEST_LINE HOST UPGRADE "Connection: close\r\nConnection: upgrade\r\n" KEY VERSION
                                     "\r\n",
           "101 ");
    expect(REQUEST_LINE HOST "Upgrade: proto1\r\n" CONNECTION KEY VERSION "\r\n", "426 ");
    expect(REQUEST_LINE HOST "Upgrade: websocket2\r\n" CONNECTION KEY VERSION "\r\n", "426 ");
}

static void test_06_what_clients_really_send(void **state)
{
    (void)state;
    expect("GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: WebSocket\r\n"
           "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n",
           "101 ");
    expect("GET / HTTP/1.1\r\nHOST: x\r\nCONNECTION: UPGRADE\r\nUPGRADE: WEBSOCKET\r\n"
           "SEC-WEBSOCKET-KEY: dGhlIHNhbXBsZSBub25jZQ==\r\nSEC-WEBSOCKET-VERSION: 13\r\n\r\n",
           "101 ");
    expect(REQUEST_LINE HOST UPGRADE "Connection: keep-alive, Upgrade\r\n" KEY VERSION "\r\n",
           "101 ");
    expect_with("Content-Length: 0\r\n", "101 ");
    expect_with("Pragma: no-cache\r\nCookie: a=b; \xC3\xA4\r\nEmpty:\r\nBlank:  \t \r\n", "101 ");
    expect("GET http://server.example.com/chat HTTP/1.1\r\n" FIELDS "\r\n", "101 ");
    expect("GET ws://server.example.com/chat HTTP/1.1\r\n" FIELDS "\r\n", "101 ");
    expect("GET wss://Server.Example.com HTTP/1.1\r\n" FIELDS "\r\n", "101 ");
    /* blanks around values do not matter */
    expect(REQUEST_LINE "Host:server\r\nUpgrade:websocket \r\nConnection:\tUpgrade\t\r\n"
                        "Sec-WebSocket-Key:dGhlIHNhbXBsZSBub25jZQ== \t \r\n"
                        "Sec-WebSocket-Version:  13  \r\n\r\n",
           "101 ");
}

static void test_10_frames_behind_the_request_are_left(void **state)
{
    (void)state;
    expect(GOOD "\r\n\x82\x80xxxx", "101 plain - unasked | 6");
}

static void test_11_pipelined_request_is_frame_data(void **state)
{
    (void)state;
    expect(GOOD "\r\n" GOOD "\r\n", "101 ");
    char verdict[64], expected[64];
    const char *two = GOOD "\r\n" GOOD "\r\n";
    judge(two, strlen(two), strlen(two), 1, verdict, sizeof(verdict));
    snprintf(expected, sizeof(expected), "101 plain - unasked | %zu", strlen(two) / 2);
    assert_string_equal(verdict, expected);
}

/* ---- what is refused ---- */

/* Who routes by one name must not be met with another. */
static void test_target_of_another_host(void **state)
{
    (void)state;
    static const char *const others[] = {
        "http://other.example.com/",         "http://server.example.com:80/",
        "ws://server.example.com.evil/",     "ws://server.example.co/",
        "http://user@server.example.com/",   "http://?server.example.com",
        "http://evil?.server.example.com/x", "http://evil/server.example.com",
    };
    for (size_t i = 0; i < array_count(others); i++) {
        char request[512];
        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\n" FIELDS "\r\n", others[i]);
        expect(request, "400 ");
    }
}

static void test_02_keys(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "dGhlIHNhbXBsZSBub25jZQ",
                                      "dGhlIHNhbXBsZSBub25jZQ=",
                                      "dGhlIHNhbXBsZSBub25j",
                                      "dGhlIHNhbXBsZSBub25jZWU=",
                                      "dGhlIHNhbXBsZSBub25jZWVl",
                                      "dGhlIHNhbXBsZSBub25jZQ==dGhlIHNhbXBsZSBub25jZQ==",
                                      "dGhl IHNhbXBsZSBub25jZQ=",
                                      "dGhlIHNhbXBsZSBub25j!Q==",
                                      "dGhlIHNhbXBsZSBub25jZQ==, x"};
    expect(REQUEST_LINE HOST UPGRADE CONNECTION VERSION "\r\n", "400 ");
    expect_with(KEY, "400 ");
    for (size_t i = 0; i < array_count(bad); i++) {
        char request[512];
        snprintf(request, sizeof(request),
                 REQUEST_LINE HOST UPGRADE CONNECTION VERSION "Sec-WebSocket-Key: %s\r\n\r\n",
                 bad[i]);
        expect(request, "400 ");
    }
}

static void test_03_versions(void **state)
{
    (void)state;
    static const char *const bad[] = {"12",   "8",   "0", "14",    "013",
                                      "13.0", "+13", "",  "13, 8", "1 3"};
    expect(REQUEST_LINE HOST UPGRADE CONNECTION KEY "\r\n", "426 ");
    for (size_t i = 0; i < array_count(bad); i++) {
        char request[512];
        snprintf(request, sizeof(request),
                 REQUEST_LINE HOST UPGRADE CONNECTION KEY "Sec-WebSocket-Version: %s\r\n\r\n",
                 bad[i]);
        expect(request, "426 ");
    }
    expect_with(VERSION, "426 ");
}

static void test_04_not_an_upgrade(void **state)
{
    (void)state;
    expect("POST /chat HTTP/1.1\r\n" FIELDS "\r\n", "405 ");
    expect("HEAD /chat HTTP/1.1\r\n" FIELDS "\r\n", "405 ");
    expect("OPTIONS * HTTP/1.1\r\n" FIELDS "\r\n", "405 ");
    expect("CONNECT server.example.com:80 HTTP/1.1\r\n" FIELDS "\r\n", "405 ");
    expect("POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello", "405 ");
    expect("BREW / HTTP/1.1\r\n" FIELDS "\r\n", "400 ");
    expect("get / HTTP/1.1\r\n" FIELDS "\r\n", "400 ");
    expect("GET / HTTP/1.1\r\n" HOST "\r\n", "426 ");
    expect(REQUEST_LINE HOST CONNECTION KEY VERSION "\r\n", "426 ");
    expect(REQUEST_LINE HOST UPGRADE KEY VERSION "\r\n", "426 ");
    expect(REQUEST_LINE HOST UPGRADE "Connection: keep-alive\r\n" KEY VERSION "\r\n", "426 ");
    expect(REQUEST_LINE HOST UPGRADE "Connection: upgraded\r\n" KEY VERSION "\r\n", "426 ");
}

static void test_04_http_versions(void **state)
{
    (void)state;
    expect("GET /chat HTTP/1.0\r\n" FIELDS "\r\n", "400 ");
    expect("GET /chat HTTP/0.9\r\n" FIELDS "\r\n", "400 ");
    expect("GET /chat\r\n" FIELDS "\r\n", "400 ");
    /* another major version, as RFC 9110 15.6.6 has it */
    expect("GET /chat HTTP/2.0\r\n" FIELDS "\r\n", "505 ");
    expect("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 ");
    expect("GET /chat HTTP/3.0\r\n" FIELDS "\r\n", "505 ");
    expect("GET /chat HTTP/1.2\r\n" FIELDS "\r\n", "400 ");
    expect("GET /chat HTTX/1.1\r\n" FIELDS "\r\n", "400 ");
    expect("GET /chat http/1.1\r\n" FIELDS "\r\n", "400 ");
}

static void test_04_hosts(void **state)
{
    (void)state;
#define WITHOUT_HOST REQUEST_LINE UPGRADE CONNECTION KEY VERSION
    expect(WITHOUT_HOST "\r\n", "400 ");
    expect(WITHOUT_HOST "Host:\r\n\r\n", "400 ");
    expect(WITHOUT_HOST HOST HOST "\r\n", "400 ");
    expect(WITHOUT_HOST "Host: a\r\nX: y\r\nhOST: b\r\n\r\n", "400 ");
    expect(WITHOUT_HOST "Host: a b\r\n\r\n", "400 ");
    expect(WITHOUT_HOST "Host: a/b\r\n\r\n", "400 ");
    expect(WITHOUT_HOST "Host: user@a\r\n\r\n", "400 ");
    expect(WITHOUT_HOST "Host: [::1]:8080\r\n\r\n", "101 ");
}

static void test_07_bodies(void **state)
{
    (void)state;
    expect_with("Content-Length: 5\r\n", "400 ");
    expect_with("Content-Length: 00\r\n", "400 ");
    expect_with("Content-Length: -0\r\n", "400 ");
    expect_with("Content-Length: x\r\n", "400 ");
    expect_with("Content-Length: 0, 0\r\n", "400 ");
    expect_with("Content-Length: 18446744073709551616\r\n", "400 ");
    expect_with("Transfer-Encoding: chunked\r\n", "400 ");
    expect_with("Transfer-Encoding: identity\r\n", "400 ");
    expect_with("Transfer-Encoding:\r\n", "400 ");
    /* what would be the body is left, and never looked at */
    expect(GOOD "Content-Length: 5\r\n\r\nhello", "400 a request body is not allowed | 5");
}

static void test_08_smuggling(void **state)
{
    (void)state;
    expect_with("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "400 ");
    expect_with("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "400 ");
    expect_with("Content-Length: 0\r\nContent-Length: 5\r\n", "400 ");
    expect_with("Transfer-Encoding: chunked, gzip\r\n", "400 ");
    expect_with("Transfer-Encoding: x chunked\r\n", "400 ");
    expect_with("Transfer-Encoding : chunked\r\n", "400 ");
    expect_with("X : y\r\n", "400 ");
    expect_with("X\t: y\r\n", "400 ");
    expect_with(": y\r\n", "400 ");
    expect_with("no colon\r\n", "400 ");
    expect_with("NoColon\r\n", "400 ");
    expect_with("X(y): z\r\n", "400 ");
    expect_with("X\xC3\xA4: z\r\n", "400 ");
    /* folded, and what looks like it */
    expect_with("X: a\r\n b\r\n", "400 ");
    expect_with("X: a\r\n\tb\r\n", "400 ");
    expect(REQUEST_LINE " X: a\r\n" FIELDS "\r\n", "400 ");
    /* line ends */
    expect_with("X: a\nY: b\r\n", "400 ");
    expect_with("X: a\rY: b\r\n", "400 ");
    expect_with("X: a\r\r\n", "400 ");
    expect("GET / HTTP/1.1\n" FIELDS "\r\n", "400 ");
    expect("\nGET / HTTP/1.1\r\n" FIELDS "\r\n", "400 ");
    expect(GOOD "\n", "400 ");
    expect(GOOD "\rX", "400 ");
    expect("\r\n" GOOD "\r\n", "400 ");
    /* control characters */
    expect_with("X: a\x01\r\n", "400 ");
    expect_with("X: a\x7F\r\n", "400 ");
    expect_with("X\x1B: a\r\n", "400 ");
    expect_bytes(GOOD "X: a\0b\r\n\r\n", sizeof(GOOD "X: a\0b\r\n\r\n") - 1, "400 ");
    expect_bytes("GET /\0 HTTP/1.1\r\n" FIELDS "\r\n",
                 sizeof("GET /\0 HTTP/1.1\r\n" FIELDS "\r\n") - 1, "400 ");
    expect_bytes("\x16\x03\x01\x02\0\x01\0", 7, "400 "); /* TLS where none is spoken */
}

static void test_08_request_lines(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "GET  / HTTP/1.1",   "GET /  HTTP/1.1",  "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",   "GET\t/ HTTP/1.1",  "GET / HTTP/1.1 x",
        "GET / x HTTP/1.1",  "GET HTTP/1.1",     "GET chat HTTP/1.1",
        "GET * HTTP/1.1",    "GET /#x HTTP/1.1", "GET file:///x HTTP/1.1",
        "GET / HTTP/1.1.1",  "GET / HTTP/11",    "GET",
        "GET /\x80 HTTP/1.1"};
    for (size_t i = 0; i < array_count(bad); i++) {
        char request[1024];
        snprintf(request, sizeof(request), "%s\r\n" FIELDS "\r\n", bad[i]);
        expect(request, "400 ");
    }
}

/* A good request whose target, one field's value or number of fields has the given size. */
static void expect_size(size_t target, size_t value, size_t fields, const char *expected)
{
    size_t size = target + value + 10 * fields + 1024;
    char *request = malloc(size), *filler = malloc(target + value + 1);
    struct text t;
    text_init(&t, request, size);
    memset(filler, 'a', target + value);
    text_add(&t, "GET /");
    text_add_bytes(&t, filler, target - 1);
    text_add(&t, " HTTP/1.1\r\n" FIELDS);
    for (size_t i = 5; i < fields; i++)
        text_add(&t, i == 5 && value > 0 ? "" : "X: y\r\n");
    if (value > 0) {
        text_add(&t, "X: ");
        text_add_bytes(&t, filler, value);
        text_add(&t, "\r\n");
    }
    text_add(&t, "\r\n");
    assert_false(t.overflowed);
    expect_bytes(request, t.len, expected);
    free(request);
    free(filler);
}

static void test_09_limits(void **state)
{
    (void)state;
    size_t rest = strlen("GET / HTTP/1.1\r\n" FIELDS "X: \r\n\r\n");
    expect_size(WS_TARGET_MAX, 0, 5, "101 ");
    expect_size(WS_TARGET_MAX + 1, 0, 5, "414 ");
    expect_size(WS_HEAD_MAX * 2, 0, 5, "414 ");
    expect_size(1, WS_HEAD_MAX - rest, 6, "101 plain - unasked | 0");
    expect_size(1, WS_HEAD_MAX - rest + 1, 6, "431 ");
    expect_size(1, WS_HEAD_MAX * 4, 6, "431 ");
    expect_size(1, 0, WS_FIELDS_MAX, "101 ");
    expect_size(1, 0, WS_FIELDS_MAX + 1, "431 ");
    expect_size(1, 0, WS_FIELDS_MAX * 2, "431 ");
}

/* ---- extensions and subprotocols ---- */

static void expect_offer(const char *extensions, const char *protocols, const char *expected)
{
    char fields[2048];
    snprintf(fields, sizeof(fields), "%s%s%s%s%s%s",
             extensions != NULL ? "Sec-WebSocket-Extensions: " : "",
             extensions != NULL ? extensions : "", extensions != NULL ? "\r\n" : "",
             protocols != NULL ? "Sec-WebSocket-Protocol: " : "",
             protocols != NULL ? protocols : "", protocols != NULL ? "\r\n" : "");
    expect_with(fields, expected);
}

static void test_12_subprotocols(void **state)
{
    (void)state;
    expect_offer(NULL, "v1.tidegate", "101 subprotocol v1.tidegate |");
    expect_offer(NULL, "binary", "101 plain binary unasked |");
    expect_offer(NULL, "binary, v1.tidegate", "101 subprotocol v1.tidegate |");
    expect_offer(NULL, "v1.tidegate,binary,v1.tidegate", "101 subprotocol v1.tidegate |");
    expect_offer(NULL, "binary\r\nSec-WebSocket-Protocol: v1.tidegate",
                 "101 subprotocol v1.tidegate |");
    expect_offer(NULL, "chat, mqtt", "101 plain - unasked |");
    expect_offer(NULL, "V1.Tidegate", "101 plain - unasked |");
    expect_offer(NULL, "v1.tidegate2, xv1.tidegate", "101 plain - unasked |");
    /* half a list is not judged */
    expect_offer(NULL, "v1.tidegate, \"x", "101 plain - unasked |");
    expect_offer(NULL, "\"a, v1.tidegate, b\"", "101 plain - unasked |");
    expect_offer(NULL, "v1.tidegate binary", "101 plain - unasked |");
    expect_offer(NULL, "v1.tidegate;x=1", "101 plain - unasked |");
    expect_offer(NULL, ", ,v1.tidegate,,", "101 subprotocol v1.tidegate |");
    expect_offer(NULL, "", "101 plain - unasked |");
}

/* docs/protocol.md section 2: preferred wherever it stands; what is no number of ours is some other
 * subprotocol. */
static void test_12_windows(void **state)
{
    (void)state;
#define WINDOWED(n) "101 subprotocol v1.tidegate window " n " |"
    expect_offer(NULL, "v1.tidegate.window.1", WINDOWED("1"));
    expect_offer(NULL, "v1.tidegate, v1.tidegate.window.65536", WINDOWED("65536"));
    expect_offer(NULL, "v1.tidegate.window.65536,v1.tidegate", WINDOWED("65536"));
    expect_offer(NULL, "binary, v1.tidegate.window.7, chat", WINDOWED("7"));
    expect_offer(NULL, "v1.tidegate\r\nSec-WebSocket-Protocol: v1.tidegate.window.7",
                 WINDOWED("7"));
    expect_offer(NULL, "v1.tidegate.window.9007199254740991", WINDOWED("9007199254740991"));
    expect_offer(NULL, "v1.tidegate.window.8, v1.tidegate.window.9", WINDOWED("8"));
    expect_offer(NULL, "v1.tidegate.window.0, v1.tidegate.window.9", WINDOWED("9"));

    static const char *const other[] = {"",
                                        ".",
                                        "x",
                                        "0",
                                        "00",
                                        "01",
                                        "-1",
                                        "+1",
                                        "1.",
                                        "1.0",
                                        "1x",
                                        "x1",
                                        "9007199254740992",
                                        "99999999999999999999"};
    for (size_t i = 0; i < array_count(other); i++) {
        char offers[128];
        snprintf(offers, sizeof(offers), "v1.tidegate.window.%s", other[i]);
        expect_offer(NULL, offers, "101 plain - unasked | 0");
        snprintf(offers, sizeof(offers), "v1.tidegate.window.%s, v1.tidegate", other[i]);
        expect_offer(NULL, offers, "101 subprotocol v1.tidegate | 0");
    }
    expect_offer(NULL, "v1.tidegate.window", "101 plain - unasked | 0");
    expect_offer(NULL, "V1.tidegate.window.1", "101 plain - unasked | 0");
    expect_offer(NULL, "v1.tidegate.Window.1", "101 plain - unasked | 0");
    expect_offer(NULL, "xv1.tidegate.window.1", "101 plain - unasked | 0");
    expect_offer(NULL, "v1.tidegate.window.1;x", "101 plain - unasked | 0");

    /* the extension has no windows of that kind */
    expect_offer("tidegate-half-close", "v1.tidegate.window.7", "101 extension - | 0");
    expect_offer("tidegate-half-close", "v1.tidegate.window.7, binary", "101 extension binary | 0");
    expect_offer("tidegate-half-close; x=1", "v1.tidegate.window.7", WINDOWED("7"));
    expect_offer("v1.tidegate.window.7", NULL, "101 plain - unasked | 0");
}

/* docs/protocol.md section 2 */
static void test_12_extension_comes_first(void **state)
{
    (void)state;
    expect_offer("tidegate-half-close", NULL, "101 extension - |");
    expect_offer("tidegate-half-close", "v1.tidegate", "101 extension - |");
    expect_offer("tidegate-half-close", "v1.tidegate, binary", "101 extension binary |");
    expect_offer("a, tidegate-half-close", "binary", "101 extension binary |");
    expect_offer("a\r\nSec-WebSocket-Extensions: tidegate-half-close", NULL, "101 extension - |");
    /* an offer with parameters is ignored, another one beside it is not */
    expect_offer("tidegate-half-close; x", NULL, "101 plain - |");
    expect_offer("tidegate-half-close; x=1", "v1.tidegate", "101 subprotocol v1.tidegate |");
    expect_offer("tidegate-half-close; x, tidegate-half-close", NULL, "101 extension - |");
    expect_offer("Tidegate-Half-Close", NULL, "101 plain - unasked |");
}

static void test_13_extension_lists(void **state)
{
    (void)state;
    expect_offer("a; b=\"c, \\\" d\"; e , tidegate-half-close", NULL, "101 extension - |");
    expect_offer("a; b=\"tidegate-half-close\"", NULL, "101 plain - unasked |");
    static const char *const malformed[] = {
        "tidegate-half-close;",           "tidegate-half-close; =",
        "tidegate-half-close, a; b=",     "tidegate-half-close, a; b=\"",
        "tidegate-half-close, \"a\"",     "tidegate-half-close a",
        "tidegate-half-close, a; b=\"\\", "tidegate-half-close, a=b",
        "tidegate-half-close, (",         "a; b=\"c\"d, tidegate-half-close"};
    for (size_t i = 0; i < array_count(malformed); i++)
        expect_offer(malformed[i], NULL, "101 plain - unasked |");
}

/* The worst a head can hold: each is read in one walk. (A quadratic reader would take seconds for
 * them all.) */
static void test_13_long_lists(void **state)
{
    (void)state;
    static const struct {
        const char *unit;
        bool is_well_formed;
    } cases[] = {{"a;b=\"\\\"", false}, {"\"", false}, {"\\", false}, {"a;", false},
                 {",", true},           {" ", true},   {"a,", true},  {"a;b=c,", true}};
    for (size_t i = 0; i < array_count(cases); i++) {
        static char request[WS_HEAD_MAX];
        char verdict[128];
        size_t size = strlen(cases[i].unit);
        struct text t;
        text_init(&t, request, sizeof(request));
        text_add(&t, GOOD "Sec-WebSocket-Extensions: tidegate-half-close,");
        while (t.len + size + 5 < sizeof(request))
            text_add(&t, cases[i].unit);
        text_add(&t, "\r\n\r\n");
        judge(request, t.len, t.len, 1, verdict, sizeof(verdict));
        assert_string_equal(verdict, cases[i].is_well_formed ? "101 extension - | 0"
                                                             : "101 plain - unasked | 0");
    }
}

static void test_14_compression_is_not_taken(void **state)
{
    (void)state;
    expect_offer("permessage-deflate; client_max_window_bits", NULL, "101 plain - unasked |");
    expect_offer("permessage-deflate; server_max_window_bits=\"10\", tidegate-half-close", NULL,
                 "101 extension - |");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_01_valid_upgrade),
        cmocka_unit_test(test_01_response),
        cmocka_unit_test(test_target_of_another_host),
        cmocka_unit_test(test_02_keys),
        cmocka_unit_test(test_03_versions),
        cmocka_unit_test(test_04_not_an_upgrade),
        cmocka_unit_test(test_04_http_versions),
        cmocka_unit_test(test_04_hosts),
        cmocka_unit_test(test_05_upgrade_lists),
        cmocka_unit_test(test_06_what_clients_really_send),
        cmocka_unit_test(test_07_bodies),
        cmocka_unit_test(test_08_smuggling),
        cmocka_unit_test(test_08_request_lines),
        cmocka_unit_test(test_09_limits),
        cmocka_unit_test(test_10_frames_behind_the_request_are_left),
        cmocka_unit_test(test_11_pipelined_request_is_frame_data),
        cmocka_unit_test(test_12_subprotocols),
        cmocka_unit_test(test_12_windows),
        cmocka_unit_test(test_12_extension_comes_first),
        cmocka_unit_test(test_13_extension_lists),
        cmocka_unit_test(test_13_long_lists),
        cmocka_unit_test(test_14_compression_is_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
