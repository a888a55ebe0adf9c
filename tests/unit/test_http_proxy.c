/* proxy/tunnel/http_proxy.h, request_fields.h, and what --retry says (redial.h) */
#include "http_proxy.h"
#include "redial.h"
#include "request_fields.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the proxy ---- */

static void test_proxy_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *address, *authorization;
    } cases[] = {
        {"http://p:3128", "p:3128", ""},
        {"HTTP://p:3128/", "p:3128", ""},
        {"p:3128", "p:3128", ""},
        {"p", "p:1080", ""},
        {"http://[::1]", "[::1]:1080", ""},
        {"http://[::1]:8", "[::1]:8", ""},
        {"http://Aladdin:open%20sesame@p:1", "p:1", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="},
        {"http://user@p:1", "p:1", "Basic dXNlcjo="},
        {"http://a@b:c@p:1", "p:1", "Basic YUBiOmM="},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct http_proxy p;
        const char *why = "";
        char address[ADDRESS_TEXT_MAX];
        if (http_proxy_parse(cases[i].text, &p, &why) != 0)
            fail_msg("%s: %s", cases[i].text, why);
        assert_true(p.is_set);
        assert_string_equal(address_format(&p.address, address, sizeof(address)), cases[i].address);
        assert_string_equal(p.authorization, cases[i].authorization);
    }
}

static void test_bad_proxies(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",           "https://p:1", "socks5://p:1",    "http://",        "http://:1",
        "http://p:0", "http://p:x",  "http://p:1/path", "http://a%2@p:1", "http://a%zz@p:1",
        "unix:/x",    "http://a%2",
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct http_proxy p;
        const char *why = NULL;
        if (http_proxy_parse(cases[i], &p, &why) != -EINVAL)
            fail_msg("\"%s\" was taken", cases[i]);
        assert_non_null(why);
    }
}

static void test_exceptions(void **state)
{
    (void)state;
    static const struct {
        const char *list, *host;
        bool is_excepted;
    } cases[] = {
        {"", "h:80", false},
        {"*", "h:80", true},
        {"h", "h:80", true},
        {"H.Example", "h.example:80", true},
        {"a,b h", "h:80", true},
        {"example.org", "www.example.org:80", true},
        {".example.org", "www.example.org:80", true},
        {".example.org", "example.org:80", true},
        {"example.org", "badexample.org:80", false},
        {"example.org", "example.org.evil:80", false},
        {"h:8080", "h:8080", true},
        {"h:8080", "h:80", false},
        {"10.1.2.3", "10.1.2.3:80", true},
        {"10.0.0.0/8", "10.1.2.3:80", true},
        {"10.0.0.0/8", "11.1.2.3:80", false},
        {"10.1.2.0/23", "10.1.3.255:80", true},
        {"10.1.2.0/23", "10.1.4.0:80", false},
        {"10.0.0.0/99", "10.1.2.3:80", false},
        {"0.0.0.0/0", "10.1.2.3:80", true},
        {"10.0.0.0/8", "ten.example:80", false},
        {"::1", "[::1]:80", true},
        {"[::1]:80", "[::1]:80", true},
        {"[::1]:80", "[::1]:81", false},
        {"fd00::/8", "[fd12::1]:80", true},
        {"fd00::/8", "[fe80::1]:80", false},
        {"fd00::/8", "10.1.2.3:80", false},
        {",, ,", "h:80", false},
        {".", "h:80", false},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct address a;
        const char *why;
        assert_int_equal(address_parse(cases[i].host, &a, &why), 0);
        if (http_proxy_is_excepted(cases[i].list, &a) != cases[i].is_excepted)
            fail_msg("\"%s\" and %s", cases[i].list, cases[i].host);
    }
}

/* The address of the proxy for `url` in this environment, or "none". */
static const char *from_environment(const char *url)
{
    static char address[ADDRESS_TEXT_MAX];
    struct url u;
    struct http_proxy p;
    const char *name, *why;

    assert_int_equal(url_parse(url, &u, &why), 0);
    if (http_proxy_from_environment(&u, &p, &name, &why) != 0)
        return name;
    return p.is_set ? address_format(&p.address, address, sizeof(address)) : "none";
}

static void clear_environment(void)
{
    static const char *const names[] = {"http_proxy",  "HTTP_PROXY", "https_proxy",
                                        "HTTPS_PROXY", "no_proxy",   "NO_PROXY"};
    for (size_t i = 0; i < array_count(names); i++)
        unsetenv(names[i]);
}

static void test_environment(void **state)
{
    (void)state;
    clear_environment();
    assert_string_equal(from_environment("ws://h/"), "none");
    setenv("HTTP_PROXY", "http://evil:1", 1);
    assert_string_equal(from_environment("ws://h/"), "none");
    setenv("http_proxy", "http://p:1", 1);
    setenv("HTTPS_PROXY", "http://upper:2", 1);
    assert_string_equal(from_environment("ws://h/"), "p:1");
    assert_string_equal(from_environment("wss://h/"), "upper:2");
    setenv("https_proxy", "http://lower:3", 1);
    assert_string_equal(from_environment("wss://h/"), "lower:3");
    setenv("https_proxy", "", 1);
    assert_string_equal(from_environment("wss://h/"), "upper:2");

    static const char *const loopback[] = {"ws://localhost/", "ws://127.0.0.1/", "ws://127.9.9.9/",
                                           "ws://[::1]/", "ws://x.localhost/"};
    for (size_t i = 0; i < array_count(loopback); i++)
        assert_string_equal(from_environment(loopback[i]), "none");

    setenv("NO_PROXY", "h", 1);
    assert_string_equal(from_environment("ws://h/"), "none");
    assert_string_equal(from_environment("ws://i/"), "p:1");
    setenv("no_proxy", "i", 1);
    assert_string_equal(from_environment("ws://h/"), "p:1");
    setenv("http_proxy", "socks5://p", 1);
    assert_string_equal(from_environment("ws://h/"), "http_proxy");
    assert_string_equal(from_environment("ws://i/"), "none");
    clear_environment();
}

/* ---- fields ---- */

static void test_fields(void **state)
{
    (void)state;
    struct request_fields f = {0};
    const char *why;

    assert_string_equal(f.text, "");
    assert_int_equal(request_fields_add(&f, "X-One: 1", &why), 0);
    assert_int_equal(request_fields_add(&f, "Cookie:a=b; c=d", &why), 0);
    assert_int_equal(request_fields_add(&f, "X-Empty:", &why), 0);
    assert_string_equal(f.text, "X-One: 1\r\nCookie: a=b; c=d\r\nX-Empty: \r\n");
    assert_int_equal(f.len, strlen(f.text));
    assert_true(request_fields_have(&f, "cookie"));
    assert_true(request_fields_have(&f, "x-empty"));
    assert_false(request_fields_have(&f, "x-on"));
    assert_false(request_fields_have(&f, "x-one:"));
}

static void test_bad_fields(void **state)
{
    (void)state;
    static const struct {
        const char *field, *why;
    } cases[] = {
        {"", "must be"},
        {"no colon", "must be"},
        {": value", "must be"},
        {"Na me: v", "must be"},
        {"Name : v", "must be"},
        {"X: a\r\nY: b", "line break"},
        {"X: a\nb", "line break"},
        {"X: a\rb", "line break"},
        {"X: \x01", "control"},
        {"Host: h", "itself"},
        {"upgrade: x", "itself"},
        {"CONNECTION: close", "itself"},
        {"Content-Length: 1", "itself"},
        {"Transfer-Encoding: chunked", "itself"},
        {"Sec-WebSocket-Key: x", "itself"},
        {"sec-websocket-anything: x", "itself"},
        {"Proxy-Authorization: x", "itself"},
    };
    struct request_fields f = {0};
    for (size_t i = 0; i < array_count(cases); i++) {
        const char *why = "";
        if (request_fields_add(&f, cases[i].field, &why) != -EINVAL)
            fail_msg("\"%s\" was taken", cases[i].field);
        if (strstr(why, cases[i].why) == NULL)
            fail_msg("\"%s\": %s", cases[i].field, why);
    }
    assert_string_equal(f.text, "");
}

static void test_fields_are_bounded(void **state)
{
    (void)state;
    struct request_fields f = {0};
    char field[1001];
    const char *why;
    int taken = 0;

    memset(field, 'a', sizeof(field) - 1);
    field[sizeof(field) - 1] = '\0';
    memcpy(field, "X:", 2);
    while (request_fields_add(&f, field, &why) == 0)
        assert_true(++taken < 10);
    assert_int_equal(taken, 4);
    assert_int_equal(strlen(f.text), f.len);
    assert_int_equal(f.len, 4 * 1003);
    assert_int_equal(request_fields_add(&f, "Y: z", &why), 0);
}

/* ---- the token ---- */

static int read_token(const char *content, size_t len, char *token)
{
    char path[] = "/tmp/tidegate-token-XXXXXX";
    const char *why = "";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, len), len);
    close(fd);
    int status = request_token_read(path, token, &why);
    unlink(path);
    return status;
}

static void test_token(void **state)
{
    (void)state;
    static char token[REQUEST_TOKEN_MAX + 1], big[REQUEST_TOKEN_MAX + 10];
    const char *why;
    static const char *const good[] = {"abc", "abc\n", "abc\r\n", "abc\nsecond line\n"};
    static const char *const bad[] = {"", "\n", "\nabc", "a b\n", "a\tb", "a\x01", "\xff"};

    for (size_t i = 0; i < array_count(good); i++) {
        assert_int_equal(read_token(good[i], strlen(good[i]), token), 0);
        assert_string_equal(token, "abc");
    }
    for (size_t i = 0; i < array_count(bad); i++)
        assert_int_equal(read_token(bad[i], strlen(bad[i]), token), -EINVAL);
    memset(big, 'a', sizeof(big));
    assert_int_equal(read_token(big, REQUEST_TOKEN_MAX - 1, token), 0);
    assert_int_equal(strlen(token), REQUEST_TOKEN_MAX - 1);
    assert_int_equal(read_token(big, sizeof(big), token), -EINVAL);
    assert_int_equal(request_token_read("/nowhere/at/all", token, &why), -ENOENT);
    assert_int_equal(request_token_read("/", token, &why), -EISDIR);
}

/* ---- retries ---- */

static void test_retry_values(void **state)
{
    (void)state;
    uint64_t count, ms;

    assert_true(redial_parse_retry("0", &count, &ms));
    assert_int_equal(count, 0);
    assert_true(redial_parse_retry("7", &count, &ms));
    assert_int_equal(count, 7);
    assert_true(ms == UINT64_MAX);
    assert_true(redial_parse_retry("30s", &count, &ms));
    assert_true(count == UINT64_MAX);
    assert_int_equal(ms, 30000);
    assert_false(redial_parse_retry("", &count, &ms));
    assert_false(redial_parse_retry("-1", &count, &ms));
    assert_false(redial_parse_retry("often", &count, &ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proxy_addresses),
        cmocka_unit_test(test_bad_proxies),
        cmocka_unit_test(test_exceptions),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_bad_fields),
        cmocka_unit_test(test_fields_are_bounded),
        cmocka_unit_test(test_token),
        cmocka_unit_test(test_retry_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
