/* core/url.h */
#include "url.h"

#include "span.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_good_urls(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_tls;
        const char *connects_to, *host, *target, *for_logs;
    } cases[] = {
        {"ws://example.org", false, "example.org:80", "example.org", "/", "ws://example.org/"},
        {"WS://example.org/", false, "example.org:80", "example.org", "/", "ws://example.org/"},
        {"ws://h:8080/a/b", false, "h:8080", "h:8080", "/a/b", "ws://h:8080/a/b"},
        {"ws://h:80/a", false, "h:80", "h", "/a", "ws://h/a"},
        {"ws://h:443/", false, "h:443", "h:443", "/", "ws://h:443/"},
        {"wss://h", true, "h:443", "h", "/", "wss://h/"},
        {"wss://h:80/", true, "h:80", "h:80", "/", "wss://h:80/"},
        {"ws://h?token=secret", false, "h:80", "h", "/?token=secret", "ws://h/"},
        {"ws://h/p?token=secret&x=/", false, "h:80", "h", "/p?token=secret&x=/", "ws://h/p"},
        {"ws://[::1]/x", false, "[::1]:80", "[::1]", "/x", "ws://[::1]/x"},
        {"ws://[::1]:9/x", false, "[::1]:9", "[::1]:9", "/x", "ws://[::1]:9/x"},
        {"ws://10.0.0.1:1/%20:@", false, "10.0.0.1:1", "10.0.0.1:1", "/%20:@",
         "ws://10.0.0.1:1/%20:@"},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct url u;
        const char *why = "";
        char address[ADDRESS_TEXT_MAX], text[URL_TEXT_MAX];
        if (url_parse(cases[i].text, &u, &why) != 0)
            fail_msg("%s: %s", cases[i].text, why);
        assert_int_equal(u.is_tls, cases[i].is_tls);
        assert_string_equal(address_format(&u.address, address, sizeof(address)),
                            cases[i].connects_to);
        assert_string_equal(u.host, cases[i].host);
        assert_string_equal(u.target, cases[i].target);
        assert_string_equal(url_format(&u, text, sizeof(text)), cases[i].for_logs);
    }
}

static void test_bad_urls(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "does not begin with ws://"},
        {"example.org", "does not begin with ws://"},
        {"http://h", "does not begin with ws://"},
        {"ws:/h", "does not begin with ws://"},
        {"ws://", "host is missing"},
        {"ws:///x", "host is missing"},
        {"ws://:80/", "host is missing"},
        {"ws://h:0/", "between 1 and 65535"},
        {"ws://h:65536/", "port"},
        {"ws://h:x/", "port"},
        {"ws://h:-1/", "port"},
        {"ws://::1/", ""},
        {"ws://[::1/", ""},
        {"ws://user:password@h/", "--token-file"},
        {"ws://h/#part", "fragment"},
        {"ws://h/a b", "space"},
        {"ws://h/a\r\nX: y", "control character"},
        {"ws://h/\x7f", "control character"},
        {"ws://h/\xc3\xa9", "control character"},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct url u;
        const char *why = NULL;
        if (url_parse(cases[i].text, &u, &why) != -EINVAL)
            fail_msg("\"%s\" was taken", cases[i].text);
        assert_non_null(why);
        if (strstr(why, cases[i].why) == NULL)
            fail_msg("\"%s\": %s", cases[i].text, why);
        assert_null(strstr(why, "password@"));
    }
}

static void test_lengths(void **state)
{
    (void)state;
    static char text[2 * URL_TARGET_MAX];
    struct url u;
    const char *why;
    char formatted[URL_TEXT_MAX];

    memset(text, 'a', sizeof(text));
    memcpy(text, "ws://h/", 7);
    text[6 + URL_TARGET_MAX] = '\0';
    assert_int_equal(url_parse(text, &u, &why), 0);
    assert_int_equal(strlen(u.target), URL_TARGET_MAX);
    assert_string_equal(url_format(&u, formatted, sizeof(formatted)), text);
    text[6 + URL_TARGET_MAX] = 'a';
    text[7 + URL_TARGET_MAX] = '\0';
    assert_int_equal(url_parse(text, &u, &why), -EINVAL);
    assert_string_equal(why, "path is too long");

    memset(text, 'a', sizeof(text));
    memcpy(text, "ws://", 5);
    text[5 + ADDRESS_TEXT_MAX] = '\0';
    assert_int_equal(url_parse(text, &u, &why), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_urls),
        cmocka_unit_test(test_bad_urls),
        cmocka_unit_test(test_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
