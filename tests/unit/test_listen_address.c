/* Addresses to listen on, as text: what may stand before them. */
#include "listen_address.h"

#include "span.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_forms(void **state)
{
    static const struct {
        const char *text;
        enum listen_scheme scheme;
        bool has_header, has_tls, has_tls_with_certificate;
    } cases[] = {
        {"127.0.0.1:80", LISTEN_ANY, false, false, true},
        {"ws://127.0.0.1:80", LISTEN_WS, false, false, false},
        {"wss://[::1]:443", LISTEN_WSS, false, true, true},
        {"proxy+10.0.0.1:80", LISTEN_ANY, true, false, true},
        {"proxy+ws://unix:/run/x", LISTEN_WS, true, false, false},
        {"proxy+wss://db.example.org:1", LISTEN_WSS, true, true, true},
        {"wss://systemd:web", LISTEN_WSS, false, true, true},
    };

    (void)state;
    for (size_t i = 0; i < array_count(cases); i++) {
        struct listen_address a;
        const char *why = NULL;
        char text[LISTEN_ADDRESS_TEXT_MAX];
        assert_int_equal(listen_address_parse(cases[i].text, &a, &why), 0);
        assert_int_equal(a.scheme, cases[i].scheme);
        assert_int_equal(a.has_header, cases[i].has_header);
        assert_int_equal(listen_address_has_tls(&a, false), cases[i].has_tls);
        assert_int_equal(listen_address_has_tls(&a, true), cases[i].has_tls_with_certificate);
        assert_string_equal(listen_address_format(&a, text, sizeof(text)), cases[i].text);
    }
}

static void test_what_is_none(void **state)
{
    static const char *const bad[] = {
        "proxy+",           "ws://",    "proxy+proxy+:80",    "ws://proxy+:80", "ws://wss://:80",
        "http://:80",       "PROXY+:8", "proxy:80:80",        "ws://:80/path",  "proxy+tls://h:1",
        "proxy+ws:///:80/", "ws:/:80",  "proxy+wss://h:port",
    };

    (void)state;
    for (size_t i = 0; i < array_count(bad); i++) {
        struct listen_address a;
        const char *why = NULL;
        assert_int_equal(listen_address_parse(bad[i], &a, &why), -EINVAL);
        assert_non_null(why);
    }
}

/* The longest address there is comes back whole. */
static void test_the_longest(void **state)
{
    char text[LISTEN_ADDRESS_TEXT_MAX], again[LISTEN_ADDRESS_TEXT_MAX];
    struct listen_address a;
    const char *why;

    (void)state;
    static const char prefix[] = "proxy+wss://systemd:";
    size_t len = sizeof(prefix) - 1;
    memcpy(text, prefix, len);
    memset(text + len, 'n', ADDRESS_HOST_MAX);
    text[len + ADDRESS_HOST_MAX] = '\0';
    assert_int_equal(listen_address_parse(text, &a, &why), 0);
    assert_string_equal(listen_address_format(&a, again, sizeof(again)), text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_what_is_none),
        cmocka_unit_test(test_the_longest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
