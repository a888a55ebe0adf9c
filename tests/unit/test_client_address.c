/* proxy/serve/access/client_address.h */
#include "client_address.h"

#include "span.h"
#include "text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HIDDEN    " (a proxy does not tell its client)"
#define MALFORMED " (malformed)"
#define DISAGREE  " (X-Forwarded-For and Forwarded do not agree)"

static struct cidr networks[3];

static int set_up(void **state)
{
    (void)state;
    static const char *const trusted[] = {"10.0.0.0/8", "2001:db8:1::/48", "127.0.0.1"};
    for (size_t i = 0; i < array_count(trusted); i++) {
        char why[CIDR_WHY_MAX];
        if (cidr_parse(trusted[i], &networks[i], why) < 0)
            return -1;
    }
    return 0;
}

/* "ADDRESS:PORT (doubt)"; "unix" without a number. `peer` NULL: a unix socket, which is trusted. */
static const char *found(const char *peer, const char *x_forwarded_for, const char *forwarded)
{
    static char out[256];
    const struct client_trust trust = {networks, array_count(networks), true};
    struct ip_endpoint from = {.port = 9};
    struct client_address c;
    char text[IP_ENDPOINT_TEXT_MAX];
    struct text t;
    if (peer != NULL)
        assert_true(ip_parse(peer, strlen(peer), &from.ip));
    client_address_find(&trust, peer != NULL ? &from : NULL, x_forwarded_for, forwarded, &c);
    text_init(&t, out, sizeof(out));
    text_add(&t, c.has_endpoint ? ip_endpoint_format(&c.endpoint, text) : "unix");
    if (c.doubt != NULL)
        text_addf(&t, " (%s)", c.doubt);
    return out;
}

struct row {
    const char *field, *expected;
};

static void expect_x(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *client = found("10.0.0.1", rows[i].field, NULL);
        if (strcmp(client, rows[i].expected) != 0)
            fail_msg("X-Forwarded-For: %s\nis '%s' instead of '%s'", rows[i].field, client,
                     rows[i].expected);
    }
}

static void expect_forwarded(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *client = found("10.0.0.1", NULL, rows[i].field);
        if (strcmp(client, rows[i].expected) != 0)
            fail_msg("Forwarded: %s\nis '%s' instead of '%s'", rows[i].field, client,
                     rows[i].expected);
    }
}

/* ---- whom to believe ---- */

static void test_fields_of_strangers_are_ignored(void **state)
{
    (void)state;
    static const char *const fields[] = {"1.2.3.4", "10.0.0.1", "127.0.0.1", "garbage", "", NULL};
    for (size_t i = 0; i < array_count(fields); i++) {
        assert_string_equal(found("203.0.113.9", fields[i], fields[i]), "203.0.113.9:9");
        assert_string_equal(found("::1", fields[i], fields[i]), "[::1]:9");
        assert_string_equal(found("127.0.0.2", fields[i], fields[i]), "127.0.0.2:9");
    }
    struct client_trust nobody = {NULL, 0, false};
    struct ip_endpoint peer = {.port = 9};
    struct client_address c;
    assert_true(ip_parse("10.0.0.1", 8, &peer.ip));
    client_address_find(&nobody, &peer, "1.2.3.4", "for=1.2.3.4", &c);
    assert_true(c.has_endpoint && c.doubt == NULL && ip_equals(&c.endpoint.ip, &peer.ip));
    client_address_find(&nobody, NULL, "1.2.3.4", "for=1.2.3.4", &c);
    assert_true(!c.has_endpoint && c.doubt == NULL);
}

static void test_proxies_that_speak_for_themselves(void **state)
{
    (void)state;
    assert_string_equal(found("10.0.0.1", NULL, NULL), "10.0.0.1:9");
    assert_string_equal(found("::ffff:10.0.0.1", NULL, NULL), "10.0.0.1:9");
    assert_string_equal(found(NULL, NULL, NULL), "unix");
}

static void test_unix_peers(void **state)
{
    (void)state;
    assert_string_equal(found(NULL, "1.2.3.4", NULL), "1.2.3.4:0");
    assert_string_equal(found(NULL, NULL, "for=1.2.3.4"), "1.2.3.4:0");
    assert_string_equal(found(NULL, "unix:", NULL), "unix" MALFORMED);
    assert_string_equal(found(NULL, "1.2.3.4", "for=1.2.3.5"), "unix" DISAGREE);
}

/* ---- X-Forwarded-For ---- */

static void test_x_forwarded_for(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"203.0.113.9", "203.0.113.9:0"},
        {"2001:db8::9", "[2001:db8::9]:0"},
        {"203.0.113.9:47011", "203.0.113.9:47011"},
        {"[2001:db8::9]", "[2001:db8::9]:0"},
        {"[2001:db8::9]:47011", "[2001:db8::9]:47011"},
        {"::ffff:203.0.113.9", "203.0.113.9:0"},
        /* the rightmost that is not a trusted proxy */
        {"6.6.6.6, 203.0.113.9", "203.0.113.9:0"},
        {"6.6.6.6,203.0.113.9", "203.0.113.9:0"},
        {"6.6.6.6 ,\t203.0.113.9 ", "203.0.113.9:0"},
        {"6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9:0"},
        {"6.6.6.6, 203.0.113.9, 10.0.0.2, 2001:db8:1::7, 127.0.0.1", "203.0.113.9:0"},
        {"10.0.0.7, 203.0.113.9, 10.0.0.2", "203.0.113.9:0"},
        {"203.0.113.9, ::ffff:10.0.0.2", "203.0.113.9:0"},
        {"203.0.113.9, 10.0.0.2:80", "203.0.113.9:0"},
        /* everybody is trusted */
        {"10.0.0.7", "10.0.0.7:0"},
        {"10.0.0.7, 10.0.0.2", "10.0.0.7:0"},
    };
    expect_x(rows, array_count(rows));
}

static void test_x_forwarded_for_garbage(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"", "10.0.0.1:9" MALFORMED},
        {",", "10.0.0.1:9" MALFORMED},
        {"203.0.113.9,", "10.0.0.1:9" MALFORMED},
        {"203.0.113.9, , 10.0.0.2", "10.0.0.2:0" MALFORMED},
        {", 10.0.0.2", "10.0.0.2:0" MALFORMED},
        {"localhost", "10.0.0.1:9" MALFORMED},
        {"unknown", "10.0.0.1:9" HIDDEN},
        {"203.0.113.9, unknown", "10.0.0.1:9" HIDDEN},
        {"203.0.113.9, Unknown, 10.0.0.2", "10.0.0.2:0" HIDDEN},
        {"203.0.113.9, unix:, 10.0.0.2", "10.0.0.2:0" MALFORMED},
        {"203.0.113.9 10.0.0.2", "10.0.0.1:9" MALFORMED},
        {"203.0.113.9; 10.0.0.2", "10.0.0.1:9" MALFORMED},
        {"\"203.0.113.9\"", "10.0.0.1:9" MALFORMED},
        {"203.0.113.9:", "10.0.0.1:9" MALFORMED},
        {"203.0.113.9:65536", "10.0.0.1:9" MALFORMED},
        {"203.0.113.9:x", "10.0.0.1:9" MALFORMED},
        {"203.0.113.9:80:80", "10.0.0.1:9" MALFORMED},
        {"203.0.113.09", "10.0.0.1:9" MALFORMED},
        {"203.0.113.9/32", "10.0.0.1:9" MALFORMED},
        {"[203.0.113.9]", "10.0.0.1:9" MALFORMED},
        {"[203.0.113.9]:80", "10.0.0.1:9" MALFORMED},
        {"[::1", "10.0.0.1:9" MALFORMED},
        {"::1]", "10.0.0.1:9" MALFORMED},
        {"[]", "10.0.0.1:9" MALFORMED},
        {"[::1]80", "10.0.0.1:9" MALFORMED},
        {"[::1]:", "10.0.0.1:9" MALFORMED},
        {"fe80::1%eth0", "10.0.0.1:9" MALFORMED},
        {"0x7f.1", "10.0.0.1:9" MALFORMED},
        {"2130706433", "10.0.0.1:9" MALFORMED},
        {"\xC3\xA4", "10.0.0.1:9" MALFORMED},
        /* only what is reached counts */
        {"garbage, 203.0.113.9", "203.0.113.9:0"},
        {"\", 203.0.113.9, 10.0.0.2", "203.0.113.9:0"},
        {",,, 203.0.113.9", "203.0.113.9:0"},
    };
    expect_x(rows, array_count(rows));
}

/* ---- Forwarded ---- */

static void test_forwarded(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"for=203.0.113.9", "203.0.113.9:0"},
        {"FOR=203.0.113.9", "203.0.113.9:0"},
        {"for=\"203.0.113.9\"", "203.0.113.9:0"},
        {"for=\"203.0.113.9:47011\"", "203.0.113.9:47011"},
        {"for=203.0.113.9:47011", "203.0.113.9:47011"},
        {"for=\"203.0.113.9:_hidden\"", "203.0.113.9:0"},
        {"for=\"[2001:db8::9]\"", "[2001:db8::9]:0"},
        {"For=\"[2001:db8::9]:4711\"", "[2001:db8::9]:4711"},
        {"for=[2001:db8::9]:4711", "[2001:db8::9]:4711"},
        {"for=203.0.113.9;proto=http;by=10.0.0.1", "203.0.113.9:0"},
        {"proto=http;host=\"a.example:80\";for=203.0.113.9", "203.0.113.9:0"},
        {"proto=http; for=203.0.113.9 ; by=_x", "203.0.113.9:0"},
        {"for=203.0.113.9;", "203.0.113.9:0"},
        {"host=\"a, for=6.6.6.6\";for=203.0.113.9", "203.0.113.9:0"},
        {"host=\"a;for=6.6.6.6\";for=203.0.113.9", "203.0.113.9:0"},
        {"for=203.0.113.9;host=\"a, for=6.6.6.6\"", "203.0.113.9:0"},
        {"for=203.0.113.9;host=\"a\\\", for=6.6.6.6\"", "203.0.113.9:0"},
        {"for=203.0.113.9;host=\"\\\\\", for=10.0.0.2", "203.0.113.9:0"},
        {"for=6.6.6.6, for=203.0.113.9", "203.0.113.9:0"},
        {"for=6.6.6.6, for=203.0.113.9, for=10.0.0.2;by=x, for=\"[2001:db8:1::1]:80\"",
         "203.0.113.9:0"},
        {"for=6.6.6.6,for=203.0.113.9,for=10.0.0.2", "203.0.113.9:0"},
        {"for=10.0.0.7, for=10.0.0.2", "10.0.0.7:0"},
    };
    expect_forwarded(rows, array_count(rows));
}

static void test_forwarded_garbage(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"", "10.0.0.1:9" MALFORMED},
        {"for=203.0.113.9,", "10.0.0.1:9" MALFORMED},
        {"203.0.113.9", "10.0.0.1:9" MALFORMED},
        {"for", "10.0.0.1:9" MALFORMED},
        {"for=", "10.0.0.1:9" MALFORMED},
        {"for=\"\"", "10.0.0.1:9" MALFORMED},
        {"=203.0.113.9", "10.0.0.1:9" MALFORMED},
        {"for =203.0.113.9", "10.0.0.1:9" MALFORMED},
        {"for= 203.0.113.9", "10.0.0.1:9" MALFORMED},
        {"for=203.0.113.9 proto=http", "10.0.0.1:9" MALFORMED},
        {"for=203.0.113.9;;proto=http", "10.0.0.1:9" MALFORMED},
        {"for=203.0.113.9;for=203.0.113.9", "10.0.0.1:9" MALFORMED},
        {"for=203.0.113.9;FOR=6.6.6.6", "10.0.0.1:9" MALFORMED},
        {"for=203.0.113.9;proto", "10.0.0.1:9" MALFORMED},
        {"for=\"203.0.113.9", "10.0.0.1:9" MALFORMED},
        {"for=203.0.113.9\"", "10.0.0.1:9" MALFORMED},
        {"for=\"203.0.113.9\"x", "10.0.0.1:9" MALFORMED},
        {"for=\"203.0.113\\.9\"", "10.0.0.1:9" MALFORMED},
        {"for=\"203.0.113.9\\\"", "10.0.0.1:9" MALFORMED},
        {"for=\"\\", "10.0.0.1:9" MALFORMED},
        {"\"", "10.0.0.1:9" MALFORMED},
        {"for=a", "10.0.0.1:9" MALFORMED},
        {"for=a_b", "10.0.0.1:9" MALFORMED},
        {"for=_", "10.0.0.1:9" MALFORMED},
        {"for=\"_a b\"", "10.0.0.1:9" MALFORMED},
        {"for=unknown;by=203.0.113.9", "10.0.0.1:9" HIDDEN},
        {"for=UNKNOWN", "10.0.0.1:9" HIDDEN},
        {"for=\"unknown:80\"", "10.0.0.1:9" HIDDEN},
        {"for=_gazonk", "10.0.0.1:9" HIDDEN},
        {"for=\"_SEVKISEK:_x\"", "10.0.0.1:9" HIDDEN},
        {"proto=http", "10.0.0.1:9" HIDDEN},
        {"for=6.6.6.6, proto=http, for=10.0.0.2", "10.0.0.2:0" HIDDEN},
        {"for=6.6.6.6, for=unknown, for=10.0.0.2", "10.0.0.2:0" HIDDEN},
        {"for=6.6.6.6, garbage, for=10.0.0.2", "10.0.0.2:0" MALFORMED},
        {"garbage, for=203.0.113.9", "203.0.113.9:0"},
    };
    expect_forwarded(rows, array_count(rows));
}

/* What a client may have sent, before what its proxy adds: whatever it is, it does not become the
 * client's address, nor does it hide it. */
static void test_no_prefix_changes_the_client(void **state)
{
    (void)state;
    static const char *const ends[] = {
        "for=203.0.113.9",
        "for=\"203.0.113.9:80\";proto=http",
        "for=203.0.113.9;host=\"a, b\\\"c\";by=\"[2001:db8:1::1]\", for=10.0.0.2",
    };
    static const char alphabet[] = "\",;\\=f6:[ ";
    for (size_t e = 0; e < array_count(ends); e++) {
        for (unsigned n = 0; n < 100000; n++) { /* all prefixes of 5 of these characters */
            char field[256];
            unsigned rest = n;
            for (size_t i = 0; i < 5; i++, rest /= 10)
                field[i] = alphabet[rest % 10];
            snprintf(field + 5, sizeof(field) - 5, ", %s", ends[e]);
            const char *client = found("10.0.0.1", NULL, field);
            if (strncmp(client, "203.0.113.9:", 12) != 0 || strchr(client, ' ') != NULL)
                fail_msg("Forwarded: %s\nis '%s'", field, client);
        }
    }
    static const char *const prefixes[] = {"for=\"",          "for=6.6.6.6;host=\"",
                                           "for=\"6.6.6.6\\", "for=6.6.6.6;x=\"a\\\\",
                                           "\"\"\"",          "for=\"[6::6]\";by=\""};
    for (size_t i = 0; i < array_count(prefixes); i++) {
        char field[256];
        snprintf(field, sizeof(field), "%s, for=\"203.0.113.9:1\", for=\"10.0.0.2\"", prefixes[i]);
        assert_string_equal(found("10.0.0.1", NULL, field), "203.0.113.9:1");
    }
}

/* ---- both ---- */

static void test_both_fields(void **state)
{
    (void)state;
    static const struct {
        const char *x, *forwarded, *expected;
    } rows[] = {
        {"203.0.113.9", "for=203.0.113.9", "203.0.113.9:0"},
        {"6.6.6.6, 203.0.113.9", "for=203.0.113.9", "203.0.113.9:0"},
        {"203.0.113.9", "for=\"203.0.113.9:80\"", "203.0.113.9:0"},
        {"203.0.113.9, 10.0.0.2", "for=203.0.113.9", "203.0.113.9:0"},
        /* the client has sent the one that the proxy does not write */
        {"203.0.113.9", "for=6.6.6.6", "10.0.0.1:9" DISAGREE},
        {"6.6.6.6", "for=203.0.113.9", "10.0.0.1:9" DISAGREE},
        {"203.0.113.9", "for=10.0.0.7", "10.0.0.1:9" DISAGREE},
        {"203.0.113.9", "for=unknown", "10.0.0.1:9" DISAGREE},
        {"203.0.113.9, 10.0.0.2", "garbage", "10.0.0.1:9" DISAGREE},
        {"", "for=203.0.113.9", "10.0.0.1:9" DISAGREE},
        {"unknown", "for=unknown", "10.0.0.1:9" DISAGREE},
    };
    for (size_t i = 0; i < array_count(rows); i++)
        assert_string_equal(found("10.0.0.1", rows[i].x, rows[i].forwarded), rows[i].expected);
}

/* As long as a head can be, of what costs most. */
static void test_long_fields(void **state)
{
    (void)state;
    static char field[16384];
    static const char *const pieces[] = {
        ",", "\"", "\\", "\\\"", "10.0.0.2,", "for=10.0.0.2,", "for=\"10.0.0.2\",",
        ";", "=",  "_",  "[",    ":"};
    for (size_t i = 0; i < array_count(pieces); i++) {
        struct text t;
        text_init(&t, field, sizeof(field));
        while (!t.overflowed)
            text_add(&t, pieces[i]);
        assert_non_null(strchr(found("10.0.0.1", field, NULL), '('));
        assert_non_null(strchr(found("10.0.0.1", NULL, field), '('));
        if (strchr(pieces[i], '2') == NULL)
            continue;
        t.len -= t.len % strlen(pieces[i]) + 1; /* up to the last whole one, without its comma */
        field[t.len] = '\0';
        bool is_x = pieces[i][0] == '1';
        assert_string_equal(found("10.0.0.1", is_x ? field : NULL, is_x ? NULL : field),
                            "10.0.0.2:0");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_of_strangers_are_ignored),
        cmocka_unit_test(test_proxies_that_speak_for_themselves),
        cmocka_unit_test(test_unix_peers),
        cmocka_unit_test(test_x_forwarded_for),
        cmocka_unit_test(test_x_forwarded_for_garbage),
        cmocka_unit_test(test_forwarded),
        cmocka_unit_test(test_forwarded_garbage),
        cmocka_unit_test(test_no_prefix_changes_the_client),
        cmocka_unit_test(test_both_fields),
        cmocka_unit_test(test_long_fields),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
