/* core/cidr.h and core/ip.h */
#include "cidr.h"

#include "span.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

static struct ip ip_of(const char *s)
{
    struct ip ip;
    if (!ip_parse(s, strlen(s), &ip))
        fail_msg("%s is not taken for an address", s);
    return ip;
}

static struct cidr cidr_of(const char *s)
{
    struct cidr c;
    char why[CIDR_WHY_MAX];
    if (cidr_parse(s, &c, why) != 0)
        fail_msg("%s: %s", s, why);
    return c;
}

/* ---- addresses ---- */

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text, *again;
        bool is_v4;
    } cases[] = {
        {"0.0.0.0", "0.0.0.0", true},
        {"255.255.255.255", "255.255.255.255", true},
        {"127.0.0.1", "127.0.0.1", true},
        {"::ffff:127.0.0.1", "127.0.0.1", true},
        {"::FFFF:7f00:1", "127.0.0.1", true},
        {"0:0:0:0:0:ffff:127.0.0.1", "127.0.0.1", true},
        {"::", "::", false},
        {"::1", "::1", false},
        {"2001:DB8:0:0:0:0:0:1", "2001:db8::1", false},
        {"1111:2222:3333:4444:5555:6666:7777:8888", "1111:2222:3333:4444:5555:6666:7777:8888",
         false},
        {"64:ff9b::10.0.0.1", "64:ff9b::a00:1", false},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        char text[IP_TEXT_MAX];
        struct ip ip = ip_of(cases[i].text);
        assert_string_equal(ip_format(&ip, text), cases[i].again);
        assert_int_equal(ip_is_v4(&ip), cases[i].is_v4);
    }
}

/* The other spellings of an address, that some resolvers know, are none here: checklist 81. */
static void test_81_what_is_no_address(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "127.1",
        "0x7f.1",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.0.0.01",
        "2130706433",
        "127.0.0.1.",
        "127.0.0.1 ",
        " 127.0.0.1",
        "127.0.0.256",
        "1.2.3",
        "1.2.3.4.5",
        "1..2.3",
        "+1.2.3.4",
        "-1.2.3.4",
        "[::1]",
        ":",
        ":::",
        "::1::",
        "1:2:3:4:5:6:7",
        "::g",
        "fe80::1%eth0",
        "::1/128",
        "12345::",
        "localhost",
        "1.2.3.4\n",
        "::1.2.3",
        "\xD9\xA1.1.1.1",
        "1:2:3:4:5:6:7:8:9",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc",
    };
    struct ip ip;
    for (size_t i = 0; i < array_count(bad); i++)
        if (ip_parse(bad[i], strlen(bad[i]), &ip))
            fail_msg("%s is taken for an address", bad[i]);
    assert_false(ip_parse("::1\0", 4, &ip));
    assert_false(ip_parse("\0", 1, &ip));
    assert_true(ip_parse("::12", 3, &ip)); /* only so much of it */
    assert_true(ip_equals(&ip, &(struct ip){.bytes[15] = 1}));
}

static void test_sockets(void **state)
{
    (void)state;
    struct ip_endpoint e = {.port = 0};
    char text[IP_ENDPOINT_TEXT_MAX];
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un un;
    } a = {.v4 = {.sin_family = AF_INET, .sin_port = htons(65535)}};
    assert_int_equal(inet_pton(AF_INET, "203.0.113.9", &a.v4.sin_addr), 1);
    assert_true(ip_endpoint_from_sockaddr(&a.any, &e));
    assert_string_equal(ip_endpoint_format(&e, text), "203.0.113.9:65535");

    a.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(80)};
    assert_int_equal(inet_pton(AF_INET6, "fe80::1", &a.v6.sin6_addr), 1);
    a.v6.sin6_scope_id = 7;
    assert_true(ip_endpoint_from_sockaddr(&a.any, &e));
    assert_string_equal(ip_endpoint_format(&e, text), "[fe80::1]:80");

    /* what a socket on both families says of an IPv4 peer */
    assert_int_equal(inet_pton(AF_INET6, "::ffff:10.0.0.1", &a.v6.sin6_addr), 1);
    assert_true(ip_endpoint_from_sockaddr(&a.any, &e));
    assert_string_equal(ip_endpoint_format(&e, text), "10.0.0.1:80");

    a.un = (struct sockaddr_un){.sun_family = AF_UNIX};
    assert_false(ip_endpoint_from_sockaddr(&a.any, &e));

    e.ip = ip_of("1111:2222:3333:4444:5555:6666:7777:8888");
    e.port = 65535;
    assert_string_equal(ip_endpoint_format(&e, text),
                        "[1111:2222:3333:4444:5555:6666:7777:8888]:65535");
}

/* ---- networks ---- */

static void test_good_networks(void **state)
{
    (void)state;
    static const struct {
        const char *text, *again;
    } cases[] = {
        {"10.0.0.0/8", "10.0.0.0/8"},
        {"0.0.0.0/0", "0.0.0.0/0"},
        {"192.0.2.128/25", "192.0.2.128/25"},
        {"127.0.0.1", "127.0.0.1/32"},
        {"127.0.0.1/32", "127.0.0.1/32"},
        {"::1", "::1/128"},
        {"::/0", "::/0"},
        {"2001:db8::/32", "2001:db8::/32"},
        {"2001:DB8:8000::/33", "2001:db8:8000::/33"},
        {"fe80::/10", "fe80::/10"},
        {"::ffff:10.0.0.0/104", "10.0.0.0/8"},
        {"::ffff:0:0/96", "0.0.0.0/0"},
        {"::ffff:10.1.2.3", "10.1.2.3/32"},
        {"1111:2222:3333:4444:5555:6666:7777:8888/128",
         "1111:2222:3333:4444:5555:6666:7777:8888/128"},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct cidr c = cidr_of(cases[i].text);
        char text[CIDR_TEXT_MAX];
        assert_string_equal(cidr_format(&c, text), cases[i].again);
    }
}

static void test_bad_networks(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "'' has no address"},
        {"/8", "'/8' has no address"},
        {"10.0.0.0/", "'10.0.0.0/' has no prefix length behind '/'"},
        {"10.0.0.0/33", "'10.0.0.0/33' has a prefix length above 32"},
        {"::/129", "'::/129' has a prefix length above 128"},
        {"10.0.0.0/99999999999999999999",
         "'10.0.0.0/99999999999999999999' has a prefix length that is not a number, as in "
         "10.0.0.0/8"},
        {"10.0.0.0/255.0.0.0",
         "'10.0.0.0/255.0.0.0' has a prefix length that is not a number, as in 10.0.0.0/8"},
        {"10.0.0.0/08", "'10.0.0.0/08' has a prefix length that is not a number, as in 10.0.0.0/8"},
        {"10.0.0.0/-1", "'10.0.0.0/-1' has a prefix length that is not a number, as in 10.0.0.0/8"},
        {"10.0.0.0/8/8",
         "'10.0.0.0/8/8' has a prefix length that is not a number, as in 10.0.0.0/8"},
        {"10.0.0.1/8", "'10.0.0.1/8' has host bits set; the network is 10.0.0.0/8"},
        {"10.0.0.1/0", "'10.0.0.1/0' has host bits set; the network is 0.0.0.0/0"},
        {"192.0.2.129/25", "'192.0.2.129/25' has host bits set; the network is 192.0.2.128/25"},
        {"2001:db8::1/32", "'2001:db8::1/32' has host bits set; the network is 2001:db8::/32"},
        {"::ffff:10.0.0.1/104",
         "'::ffff:10.0.0.1/104' has host bits set; the network is 10.0.0.0/8"},
        {"::ffff:10.0.0.0/8", "'::ffff:10.0.0.0/8' has host bits set; the network is ::/8"},
        {"10.1/16", "'10.1/16' is not an IPv4 address: four numbers from 0 to 255, without "
                    "leading zeros"},
        {"010.0.0.0/8", "'010.0.0.0/8' is not an IPv4 address: four numbers from 0 to 255, "
                        "without leading zeros"},
        {"[::1]", "'[::1]' must be written without brackets"},
        {"fe80::%eth0/64", "'fe80::%eth0/64' must be written without a zone"},
        {"1:2:3", "'1:2:3' is not an IPv6 address"},
        {"localhost", "'localhost' is not an IP address; names are not resolved here"},
        {"*", "'*' is not an IP address; names are not resolved here"},
        {"10.0.0.0/8,::1", "'10.0.0.0/8,::1' has a prefix length that is not a number, as in "
                           "10.0.0.0/8"},
        {"::1, ::2", "'::1, ::2' is not one address: write one network an item"},
        {" ::1", "' ::1' is not one address: write one network an item"},
        {"a\nb\x1B[2J\x80", "'a?b?[2J?' is not an IP address; names are not resolved here"},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct cidr c;
        char why[CIDR_WHY_MAX];
        if (cidr_parse(cases[i].text, &c, why) != -EINVAL)
            fail_msg("'%s' is taken for a network", cases[i].text);
        assert_string_equal(why, cases[i].why);
    }
}

/* A line for people, whatever it is about, is short and whole. */
static void test_why_is_bounded(void **state)
{
    (void)state;
    static char s[3000];
    for (size_t len = 1; len < 120; len++) {
        static const char *const tails[] = {"", "/", "/x", "/8", "/999"};
        for (size_t i = 0; i < array_count(tails); i++) {
            struct cidr c;
            char why[CIDR_WHY_MAX];
            memset(s, len % 2 ? '1' : 'x', len);
            snprintf(s + len, 8, "%s", tails[i]);
            if (cidr_parse(s, &c, why) == 0)
                fail_msg("%s", s);
            assert_true(strlen(why) < CIDR_WHY_MAX - 1);
        }
    }
    /* the longest network to suggest */
    struct cidr c;
    char why[CIDR_WHY_MAX];
    assert_int_equal(cidr_parse("1111:2222:3333:4444:5555:6666:7777:8888/127", &c, why), 0);
    assert_int_equal(cidr_parse("1111:2222:3333:4444:5555:6666:7777:8889/127", &c, why), -EINVAL);
    assert_string_equal(why, "'1111:2222:3333:4444:5555:6666:7777:8889/127' has host bits set; the "
                             "network is 1111:2222:3333:4444:5555:6666:7777:8888/127");
}

static void test_membership(void **state)
{
    (void)state;
    static const struct {
        const char *network, *ip;
        bool has;
    } cases[] = {
        {"10.0.0.0/8", "10.0.0.0", true},
        {"10.0.0.0/8", "10.255.255.255", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.0.0.0/8", "9.255.255.255", false},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true},
        {"10.0.0.0/8", "::a01:203", false}, /* IPv4-compatible: another thing */
        {"10.0.0.0/8", "a00::", false},
        {"::ffff:10.0.0.0/104", "10.1.2.3", true},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.128/25", "192.0.2.128", true},
        {"192.0.2.4/30", "192.0.2.7", true},
        {"192.0.2.4/30", "192.0.2.8", false},
        {"127.0.0.1", "127.0.0.1", true},
        {"127.0.0.1", "127.0.0.2", false},
        {"127.0.0.1", "::1", false},
        {"0.0.0.0/0", "255.1.2.3", true},
        {"0.0.0.0/0", "::1", false},
        {"::/0", "::1", true},
        {"::/0", "ffff::", true},
        {"::/0", "127.0.0.1", false},
        {"::/0", "::ffff:127.0.0.1", false},
        {"::/1", "7fff::", true},
        {"::/1", "8000::", false},
        {"2001:db8::/32", "2001:db8:ffff::1", true},
        {"2001:db8::/32", "2001:db9::", false},
        {"2001:db8::/33", "2001:db8:7fff::", true},
        {"2001:db8::/33", "2001:db8:8000::", false},
        {"::1", "::1", true},
        {"::1", "::2", false},
        {"::2/127", "::3", true},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct cidr c = cidr_of(cases[i].network);
        struct ip ip = ip_of(cases[i].ip);
        if (cidr_has(&c, &ip) != cases[i].has)
            fail_msg("%s in %s", cases[i].ip, cases[i].network);
    }
}

/* Every prefix, against the bits counted one by one. */
static void test_every_prefix(void **state)
{
    (void)state;
    struct ip base = ip_of("a5a5:5a5a:1234:ffff::8001:7ffe:1");
    for (unsigned prefix = 0; prefix <= 128; prefix++) {
        struct cidr c = {base, prefix};
        for (unsigned bit = 0; bit < 128; bit++) {
            struct ip other = base;
            other.bytes[bit / 8] ^= (uint8_t)(0x80U >> bit % 8);
            if (cidr_has(&c, &other) != (bit >= prefix))
                fail_msg("/%u, bit %u", prefix, bit);
        }
        assert_true(cidr_has(&c, &base));
    }
}

static void test_lists(void **state)
{
    (void)state;
    struct cidr list[] = {cidr_of("10.0.0.0/8"), cidr_of("::1"), cidr_of("192.168.0.0/16")};
    struct ip first = ip_of("10.9.9.9"), second = ip_of("::1"), third = ip_of("192.168.1.1"),
              none = ip_of("172.16.0.1");
    assert_true(cidr_list_has(list, 3, &first));
    assert_true(cidr_list_has(list, 3, &second));
    assert_true(cidr_list_has(list, 3, &third));
    assert_false(cidr_list_has(list, 2, &third));
    assert_false(cidr_list_has(list, 3, &none));
    assert_false(cidr_list_has(list, 0, &first));
    assert_false(cidr_list_has(NULL, 0, &first));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),    cmocka_unit_test(test_81_what_is_no_address),
        cmocka_unit_test(test_sockets),      cmocka_unit_test(test_good_networks),
        cmocka_unit_test(test_bad_networks), cmocka_unit_test(test_why_is_bounded),
        cmocka_unit_test(test_membership),   cmocka_unit_test(test_every_prefix),
        cmocka_unit_test(test_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
