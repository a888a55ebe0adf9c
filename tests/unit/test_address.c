/* core/address.h */
#include "address.h"

#include "span.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_good_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum address_kind kind;
        const char *host;
        unsigned port;
        const char *again;
    } cases[] = {
        {"127.0.0.1:80", ADDRESS_TCP, "127.0.0.1", 80, "127.0.0.1:80"},
        {"example.org:65535", ADDRESS_TCP, "example.org", 65535, "example.org:65535"},
        {"my_host-1:1", ADDRESS_TCP, "my_host-1", 1, "my_host-1:1"},
        {":8080", ADDRESS_TCP, "localhost", 8080, "localhost:8080"},
        {":0", ADDRESS_TCP, "localhost", 0, "localhost:0"},
        {"[::1]:5900", ADDRESS_TCP, "::1", 5900, "[::1]:5900"},
        {"[::]:80", ADDRESS_TCP, "::", 80, "[::]:80"},
        {"[::ffff:10.0.0.1]:80", ADDRESS_TCP, "::ffff:10.0.0.1", 80, "[::ffff:10.0.0.1]:80"},
        {"[fe80::1%eth0]:80", ADDRESS_TCP, "fe80::1%eth0", 80, "[fe80::1%eth0]:80"},
        {"unix:/run/x.sock", ADDRESS_UNIX, "/run/x.sock", 0, "unix:/run/x.sock"},
        {"unix:relative:80", ADDRESS_UNIX, "relative:80", 0, "unix:relative:80"},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct address a;
        const char *why;
        char buffer[ADDRESS_TEXT_MAX];
        if (address_parse(cases[i].text, &a, &why) != 0)
            fail_msg("%s: %s", cases[i].text, why);
        assert_int_equal(a.kind, cases[i].kind);
        assert_string_equal(a.host, cases[i].host);
        assert_int_equal(a.port, cases[i].port);
        assert_string_equal(address_format(&a, buffer, sizeof(buffer)), cases[i].again);
    }
}

static void test_bad_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "port is missing"},
        {"host", "port is missing"},
        {"host:", "port is missing"},
        {"[::1]", "port is missing"},
        {"[::1]:", "port is missing"},
        {"[::1", "']' is missing"},
        {"[::1]80", "':' must follow ']'"},
        {"host:http", "port is not a number"},
        {"host:-1", "port is not a number"},
        {"host:+1", "port is not a number"},
        {"host: 80", "port is not a number"},
        {"host:080", "port is not a number"},
        {"host:65536", "port is above 65535"},
        {"host:18446744073709551616", "port is not a number"},
        {"::1:80", "an IPv6 address needs brackets: [::1]:80"},
        {"[1.2.3.4]:80", "not an IPv6 address between brackets"},
        {"[]:80", "not an IPv6 address between brackets"},
        {"[::1%]:80", "not an IPv6 address between brackets"},
        {"[1:2:3:4:5:6:7:8:9]:80", "not an IPv6 address between brackets"},
        {"ho st:80", "host name has a character that is not allowed"},
        {"http://host:80", "an IPv6 address needs brackets: [::1]:80"},
        {"h\xC3\xB6st:80", "host name has a character that is not allowed"},
        {"unix:", "socket path is empty"},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct address a;
        const char *why = NULL;
        assert_int_equal(address_parse(cases[i].text, &a, &why), -EINVAL);
        assert_string_equal(why, cases[i].why);
    }
}

static int parse_long(const char *prefix, size_t len, const char *suffix, const char **why)
{
    static char s[2048];
    struct address a;
    char buffer[ADDRESS_TEXT_MAX];
    size_t n = strlen(prefix);
    memcpy(s, prefix, n);
    memset(s + n, 'a', len);
    memcpy(s + n + len, suffix, strlen(suffix) + 1);
    int r = address_parse(s, &a, why);
    if (r == 0)
        assert_string_equal(address_format(&a, buffer, sizeof(buffer)), s);
    return r;
}

static void test_lengths_are_bounded(void **state)
{
    (void)state;
    const char *why;
    assert_int_equal(parse_long("", ADDRESS_HOST_MAX, ":80", &why), 0);
    assert_int_equal(parse_long("", ADDRESS_HOST_MAX + 1, ":80", &why), -EINVAL);
    assert_string_equal(why, "host name is too long");
    assert_int_equal(parse_long("[", 1024, "]:80", &why), -EINVAL);
    assert_int_equal(parse_long("unix:", 107, "", &why), 0); /* sun_path without its terminator */
    assert_int_equal(parse_long("unix:", 108, "", &why), -EINVAL);
    assert_string_equal(why, "socket path is too long");
}

static void test_only_listeners_are_inherited(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"systemd:web", NULL},
        {"systemd:tidegate.socket", NULL},
        {"systemd:8080", NULL}, /* a name, and no port of a host "systemd" */
        {"127.0.0.1:80", NULL},
        {"unix:/run/x.sock", NULL},
        {"systemd:", "name of the socket is missing"},
        {"systemd:a:b", "name of the socket has a character that is not allowed"},
        {"systemd:a b", "name of the socket has a character that is not allowed"},
        {"systemd:\xFF", "name of the socket has a character that is not allowed"},
        {"systemd", "port is missing"},
    };
    struct address a;
    const char *why;
    char buffer[ADDRESS_TEXT_MAX];
    for (size_t i = 0; i < array_count(cases); i++) {
        bool is_good = address_parse_listen(cases[i].text, &a, &why) == 0;
        assert_int_equal(is_good, cases[i].why == NULL);
        if (is_good)
            assert_string_equal(address_format(&a, buffer, sizeof(buffer)), cases[i].text);
        else
            assert_string_equal(why, cases[i].why);
    }
    assert_int_equal(address_parse_listen("systemd:web", &a, &why), 0);
    assert_int_equal(a.kind, ADDRESS_SYSTEMD);
    assert_string_equal(a.host, "web");
    assert_int_equal(address_parse("systemd:web", &a, &why), -EINVAL); /* to connect to */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_addresses),
        cmocka_unit_test(test_bad_addresses),
        cmocka_unit_test(test_lengths_are_bounded),
        cmocka_unit_test(test_only_listeners_are_inherited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
