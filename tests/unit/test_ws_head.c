/* wire/ws_head.h: what is found in a head; refusals of ws_handshake.h as heads. */
#include "ws_handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static enum ws_head_result feed(struct ws_head *head, char *bytes, size_t len)
{
    struct span in = {(uint8_t *)bytes, len};
    enum ws_head_result result = ws_head_feed(head, &in);
    assert_int_equal(in.len, 0);
    return result;
}

/* ---- refusals ---- */

/* Read by our own client: they are HTTP, whole, and say what they must. */
static void test_18_refusals(void **state)
{
    (void)state;
    static const int statuses[] = {400, 401, 403, 404, 405, 408, 414, 426,
                                   431, 500, 502, 503, 504, 505, 599};
    for (size_t i = 0; i < array_count(statuses); i++) {
        char buffer[1024];
        struct text t;
        text_init(&t, buffer, sizeof(buffer));
        ws_handshake_refuse(statuses[i], "what is wrong", &t);
        assert_false(t.overflowed);
        struct ws_head *head = ws_head_new(WS_CLIENT);
        struct span in = {(uint8_t *)buffer, t.len};
        assert_int_equal(ws_head_feed(head, &in), WS_HEAD_DONE);
        assert_int_equal(ws_head_status(head), statuses[i]);
        assert_true(text_list_has(ws_head_field(head, "connection"), "close"));
        assert_string_equal(ws_head_field(head, "content-type"), "text/plain; charset=utf-8");
        assert_int_equal(strtoul(ws_head_field(head, "content-length"), NULL, 10), in.len);
        assert_int_equal(in.len, strlen("what is wrong\n"));
        assert_memory_equal(in.data, "what is wrong\n", in.len);

        bool is_426 = statuses[i] == 426;
        const char *upgrade = ws_head_field(head, "upgrade");
        assert_int_equal(upgrade != NULL && strcmp(upgrade, "websocket") == 0, is_426);
        assert_int_equal(text_list_has(ws_head_field(head, "connection"), "upgrade"), is_426);
        assert_int_equal(ws_head_field(head, "sec-websocket-version") != NULL, is_426);
        assert_int_equal(ws_head_field(head, "retry-after") != NULL, statuses[i] == 503);
        assert_int_equal(ws_head_field(head, "www-authenticate") != NULL, statuses[i] == 401);
        assert_int_equal(ws_head_field(head, "allow") != NULL, statuses[i] == 405);
        ws_head_free(head);
    }
}

/* ---- versions ---- */

static enum ws_head_result read_version(const char *version, bool takes_1_0, int *status)
{
    char bytes[64];
    struct text t;
    struct ws_head *head = ws_head_new(WS_SERVER);

    assert_non_null(head);
    if (takes_1_0)
        ws_head_take_1_0(head);
    text_init(&t, bytes, sizeof(bytes));
    text_addf(&t, "GET / HTTP/%s\r\n\r\n", version);
    enum ws_head_result result = feed(head, bytes, t.len);
    *status = ws_head_status(head);
    if (result == WS_HEAD_DONE)
        assert_int_equal(ws_head_is_1_0(head), strcmp(version, "1.0") == 0);
    ws_head_free(head);
    return result;
}

static void test_1_0_is_for_who_takes_it(void **state)
{
    int status;

    (void)state;
    assert_int_equal(read_version("1.1", false, &status), WS_HEAD_DONE);
    assert_int_equal(read_version("1.1", true, &status), WS_HEAD_DONE);
    assert_int_equal(read_version("1.0", true, &status), WS_HEAD_DONE);
    assert_int_equal(read_version("1.0", false, &status), WS_HEAD_FAILED);
    assert_int_equal(status, 400);
    assert_int_equal(read_version("0.9", true, &status), WS_HEAD_FAILED);
    assert_int_equal(status, 400);
    assert_int_equal(read_version("2.0", true, &status), WS_HEAD_FAILED);
    assert_int_equal(status, 505);
}

/* ---- fields ---- */

static void test_fields(void **state)
{
    (void)state;
    char request[] = "GET /a?b=c%20d HTTP/1.1\r\nHost: h\r\nX-One: 1\r\nX-TWO: a\r\nEmpty:\r\n"
                     "x-two:\r\nX-Three:\t3 x \r\nx-Two: c \r\n\r\n";
    for (size_t step = 1; step <= strlen(request); step++) {
        struct ws_head *head = ws_head_new(WS_SERVER);
        enum ws_head_result result = WS_HEAD_MORE;
        for (size_t i = 0; i < strlen(request); i += step)
            result =
                feed(head, request + i, strlen(request) - i < step ? strlen(request) - i : step);
        assert_int_equal(result, WS_HEAD_DONE);
        assert_string_equal(ws_head_method(head), "GET");
        assert_string_equal(ws_head_target(head), "/a?b=c%20d");
        assert_string_equal(ws_head_field(head, "x-one"), "1");
        assert_string_equal(ws_head_field(head, "x-two"), "a, , c");
        assert_string_equal(ws_head_field(head, "x-two"), "a, , c");
        assert_int_equal(ws_head_field_count(head, "x-two"), 3);
        assert_string_equal(ws_head_field(head, "x-three"), "3 x");
        assert_string_equal(ws_head_field(head, "empty"), "");
        assert_null(ws_head_field(head, "x-t"));
        assert_int_equal(ws_head_field_count(head, "x-t"), 0);
        ws_head_free(head);
    }
    ws_head_free(NULL);
}

/* ---- targets ---- */

static void test_targets(void **state)
{
    (void)state;
    static const struct {
        const char *target, *path, *authority;
    } cases[] = {
        {"/", "/", NULL},
        {"/a/b", "/a/b", NULL},
        {"/a?b=c", "/a", NULL},
        {"/?b=/c?d", "/", NULL},
        {"//h/a", "//h/a", NULL},
        {"/%2e%2e/a;b?", "/%2e%2e/a;b", NULL},
        {"/http://h/a", "/http://h/a", NULL},
        {"http://h", "/", "h"},
        {"http://h/", "/", "h"},
        {"HTTPS://h:443/a/b?c", "/a/b", "h:443"},
        {"ws://h?/c", "/", "h"},
        {"wss://[::1]:80/x", "/x", "[::1]:80"},
        {"ftp://h/a", "", NULL},
        {"*", "", NULL},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        char request[256];
        int n = snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\n\r\n",
                         strcmp(cases[i].target, "*") == 0 ? "OPTIONS" : "GET", cases[i].target);
        struct ws_head *head = ws_head_new(WS_SERVER);
        if (feed(head, request, (size_t)n) != WS_HEAD_DONE)
            fail_msg("%s: %s", cases[i].target, ws_head_problem(head));
        size_t len;
        const char *path = ws_head_path(head, &len);
        assert_int_equal(len, strlen(cases[i].path));
        assert_memory_equal(path, cases[i].path, len);
        const char *authority = ws_head_authority(head, &len);
        if (authority == NULL || cases[i].authority == NULL) {
            assert_ptr_equal(authority, cases[i].authority);
        } else {
            assert_int_equal(len, strlen(cases[i].authority));
            assert_memory_equal(authority, cases[i].authority, len);
        }
        ws_head_free(head);
    }
}

/* Every repeated field of the largest head, joined: there is room. */
static void test_joined_fields_fit(void **state)
{
    (void)state;
    for (size_t names = 1; names <= 26; names++) {
        static char request[WS_HEAD_MAX];
        struct text t;
        text_init(&t, request, sizeof(request));
        text_add(&t, "GET / HTTP/1.1\r\n");
        size_t each = (WS_HEAD_MAX - 200) / WS_FIELDS_MAX - 8;
        for (size_t i = 0; i < WS_FIELDS_MAX; i++) {
            char name = (char)('a' + i % names);
            text_addf(&t, "%c:%*s\r\n", name, (int)(i < 50 ? each : 0), i < 50 ? "v" : "");
        }
        text_add(&t, "\r\n");
        struct ws_head *head = ws_head_new(WS_SERVER);
        assert_int_equal(feed(head, request, t.len), WS_HEAD_DONE);
        unsigned sum = 0;
        for (size_t i = 0; i < names; i++) {
            char name[] = {(char)('a' + i), '\0'};
            assert_non_null(ws_head_field(head, name));
            sum += ws_head_field_count(head, name);
        }
        assert_int_equal(sum, WS_FIELDS_MAX);
        ws_head_free(head);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_18_refusals),
        cmocka_unit_test(test_1_0_is_for_who_takes_it),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_joined_fields_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
