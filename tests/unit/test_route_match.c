/* Hosts and paths of routes and of requests. */
#include "route_match.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_hosts_of_routes(void **state)
{
    static const struct {
        const char *text, *host; /* NULL: refused */
    } cases[] = {
        {"a", "a"},
        {"DB.Example.ORG", "db.example.org"},
        {"a.b.", "a.b"},
        {"*.Example.org.", "*.example.org"},
        {"10.0.0.1", "10.0.0.1"},
        {"[::1]", "[::1]"},
        {"[FE80::1]", "[fe80::1]"},
        {"a_b-c", "a_b-c"},
        {"", NULL},
        {".", NULL},
        {".a", NULL},
        {"*", NULL},
        {"*.", NULL},
        {"*a", NULL},
        {"a.*", NULL},
        {"*.*.a", NULL},
        {"a:80", NULL},
        {"[::1]:80", NULL},
        {"[]", NULL},
        {"[x]", NULL},
        {"*.[::1]", NULL},
        {"a b", NULL},
        {"a/b", NULL},
        {"\xc3\xa4", NULL},
        {"*..a", NULL},
    };
    char host[ADDRESS_HOST_MAX + 1], longest[400];
    const char *why;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        bool is_good = route_match_is_host(cases[i].text, host, &why);
        if (is_good != (cases[i].host != NULL))
            fail_msg("\"%s\"", cases[i].text);
        if (is_good)
            assert_string_equal(host, cases[i].host);
    }
    memset(longest, 'a', sizeof(longest));
    longest[ADDRESS_HOST_MAX] = '\0';
    assert_true(route_match_is_host(longest, host, &why));
    memcpy(longest, "*.", 2);
    assert_true(route_match_is_host(longest, host, &why));
    assert_int_equal(strlen(host), ADDRESS_HOST_MAX);
    longest[ADDRESS_HOST_MAX] = 'a';
    longest[ADDRESS_HOST_MAX + 1] = '\0';
    assert_false(route_match_is_host(longest, host, &why));
}

static void test_hosts_of_requests(void **state)
{
    static const struct {
        const char *field, *host;
    } cases[] = {
        {"a.b", "a.b"},
        {"A.B:80", "a.b"},
        {"a.b.:443", "a.b"},
        {"a:", "a"},
        {"[::1]", "[::1]"},
        {"[::1]:8080", "[::1]"},
        {"1.2.3.4:5", "1.2.3.4"},
        {"", NULL},
        {":80", NULL},
        {"a:b", NULL},
        {"a:80:90", NULL},
        {"::1", NULL},
        {"[::1", NULL},
        {"[::1]x", NULL},
        {"a@b", NULL},
        {"a b", NULL},
        {"a/b", NULL},
        {"*.a", NULL},
        {".a", NULL},
        {"a%2eb", NULL},
        {"a,b", NULL},
    };
    char host[ADDRESS_HOST_MAX + 1];

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        bool is_good = route_match_host(cases[i].field, host);
        if (is_good != (cases[i].host != NULL))
            fail_msg("\"%s\"", cases[i].field);
        if (is_good)
            assert_string_equal(host, cases[i].host);
    }
}

static void test_paths_of_requests(void **state)
{
    static const char *const good[] = {"/",   "/a",   "/a/",       "//",    "/a//b", "/...",
                                       "/.a", "/a.",  "/a/..b",    "/%41",  "/%7e",  "/a;b=c",
                                       "/*",  "/%25", "/\xc3\xa4", "/a:b@c"};
    static const char *const bad[] = {"",      "a",       "*",    "/.",      "/..",     "/./a",
                                      "/a/..", "/a/../b", "/%2e", "/%2E%2e", "/.%2e/a", "/a/%2e",
                                      "/%2f",  "/a%2Fb",  "/%00", "/a%5cb",  "/a\\b",   "/%",
                                      "/%4",   "/%zz",    "/%0a", "/\x7f",   "/%7F",    "/a%"};
    const char *why = NULL;

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        if (!route_match_can_path(good[i], strlen(good[i]), &why))
            fail_msg("%s: %s", good[i], why);
    for (size_t i = 0; i < COUNT(bad); i++)
        if (route_match_can_path(bad[i], strlen(bad[i]), &why))
            fail_msg("taken: %s", bad[i]);
    assert_false(route_match_can_path("/%41", 3, &why)); /* cut */
}

static void test_paths_of_routes(void **state)
{
    static const char *const good[] = {"/", "/a", "/a/", "/a/*", "/*", "/a/b/*"};
    static const char *const bad[] = {"",     "a",    "*",     "/a*",  "/a/*/b",
                                      "/a?b", "/a#b", "/../*", "/%2f", "/*/*"};
    char longest[ROUTE_PATH_MAX + 2];
    const char *why = NULL;

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        if (!route_match_is_path(good[i], &why))
            fail_msg("%s: %s", good[i], why);
    for (size_t i = 0; i < COUNT(bad); i++)
        if (route_match_is_path(bad[i], &why))
            fail_msg("taken: %s", bad[i]);
    memset(longest, 'a', sizeof(longest));
    longest[0] = '/';
    longest[ROUTE_PATH_MAX + 1] = '\0';
    assert_false(route_match_is_path(longest, &why));
    longest[ROUTE_PATH_MAX] = '\0';
    assert_true(route_match_is_path(longest, &why));
}

/* The best of these for each request. */
static void test_who_is_chosen(void **state)
{
    static const struct route_pattern patterns[] = {
        {NULL, NULL},                  /* 0 */
        {NULL, "/db/*"},               /* 1 */
        {NULL, "/db"},                 /* 2 */
        {NULL, "/db/deep/*"},          /* 3 */
        {"a.example.org", "/x/*"},     /* 4 */
        {"*.example.org", NULL},       /* 5 */
        {"*.b.example.org", NULL},     /* 6 */
        {"c.example.org", "/only"},    /* 7 */
        {"*.example.org", "/x/long/*"} /* 8 */
    };
    static const struct {
        const char *host, *path;
        unsigned chosen;
    } cases[] = {
        {"h", "/", 0},
        {"h", "/dbx", 0},
        {"h", "/db", 2},
        {"h", "/db/", 1},
        {"h", "/db/a", 1},
        {"h", "/db/deep", 3},
        {"h", "/db/deep/er", 3},
        {"h", "/db/deeper", 1},
        {"h", "/DB", 0},
        {"h", "/d%62", 0},
        {"example.org", "/", 0},
        {"xexample.org", "/", 0},
        {"a.example.org", "/x/y", 4},
        {"a.example.org", "/x/long/y", 4}, /* the host goes first */
        {"a.example.org", "/y", 5},
        {"a.example.org", "/db", 5},
        {"z.example.org", "/x/long/y", 8},
        {"b.example.org", "/", 5},
        {"x.b.example.org", "/", 6},
        {"x.y.b.example.org", "/x/long/y", 6},
        {"c.example.org", "/only", 7},
        {"c.example.org", "/only/", 5},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        unsigned best = 0, best_rank = 0;
        for (unsigned k = 0; k < COUNT(patterns); k++) {
            unsigned rank =
                route_match_rank(&patterns[k], cases[i].host, cases[i].path, strlen(cases[i].path));
            if (rank > best_rank) {
                best_rank = rank;
                best = k;
            }
        }
        if (best != cases[i].chosen)
            fail_msg("%s %s: %u, not %u", cases[i].host, cases[i].path, best, cases[i].chosen);
    }
}

static void test_names(void **state)
{
    const char *why;
    char name[ROUTE_NAME_MAX + 2];

    (void)state;
    assert_true(route_match_is_name("a-B_0.c", &why));
    assert_false(route_match_is_name("", &why));
    assert_false(route_match_is_name("a b", &why));
    assert_false(route_match_is_name("a\"", &why));
    memset(name, 'a', sizeof(name));
    name[ROUTE_NAME_MAX + 1] = '\0';
    assert_false(route_match_is_name(name, &why));
    name[ROUTE_NAME_MAX] = '\0';
    assert_true(route_match_is_name(name, &why));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts_of_routes),   cmocka_unit_test(test_hosts_of_requests),
        cmocka_unit_test(test_paths_of_requests), cmocka_unit_test(test_paths_of_routes),
        cmocka_unit_test(test_who_is_chosen),     cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
