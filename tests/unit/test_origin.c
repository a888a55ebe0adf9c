/* proxy/serve/access/origin.h */
#include "origin.h"

#include "span.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct origin parsed(const char *text)
{
    struct origin o;
    const char *why = "";
    if (origin_parse(text, &o, &why) != 0)
        fail_msg("\"%s\": %s", text, why);
    return o;
}

static void test_77_exact_origins(void **state)
{
    (void)state;
    static const struct {
        const char *listed, *value;
        bool is_allowed;
    } cases[] = {
        {"https://good.com", "https://good.com", true},
        {"https://good.com", "https://evil.com", false},
        {"https://good.com", "https://sub.good.com", false},
        {"https://good.com", "https://good.com.evil.com", false},
        {"https://good.com", "https://evilgood.com", false},
        {"https://good.com", "https://good.comevil", false},
        {"https://good.com", "https://good.co", false},
        {"https://good.com", "https://goodxcom", false},
        {"https://good.com", "https://com", false},
        {"https://good.com", "null", false},
        {"https://good.com", "NULL", false},
        {"https://good.com", "", false},
        {"https://good.com", "*", false},
        {"https://good.com", "good.com", false},
        {"https://good.com", "//good.com", false},
        {"https://good.com", "https:good.com", false},
        {"https://good.com", "https:/good.com", false},
        {"https://good.com", "https://", false},
        /* case: a browser writes lower case; a listed one may be written otherwise */
        {"https://good.com", "HTTPS://GOOD.com", true},
        {"https://Good.COM", "https://good.com", true},
        /* to a browser the dot makes another origin */
        {"https://good.com", "https://good.com.", false},
        {"https://good.com.", "https://good.com", false},
        {"https://good.com.", "https://good.com.", true},
        /* scheme and port */
        {"https://good.com", "http://good.com", false},
        {"http://good.com", "https://good.com", false},
        {"https://good.com", "https://good.com:443", true},
        {"https://good.com:443", "https://good.com", true},
        {"https://good.com", "https://good.com:80", false},
        {"https://good.com", "https://good.com:8443", false},
        {"https://good.com:8443", "https://good.com:8443", true},
        {"https://good.com:8443", "https://good.com", false},
        {"http://good.com", "http://good.com:80", true},
        {"http://good.com", "http://good.com:443", false},
        {"https://good.com", "https://good.com:", false},
        {"https://good.com", "https://good.com:0", false},
        {"https://good.com", "https://good.com:0443", false},
        {"https://good.com", "https://good.com:+443", false},
        {"https://good.com", "https://good.com:65979", false}, /* 443 + 65536 */
        {"https://good.com", "https://good.com:443:443", false},
        /* what has more in it than an origin has */
        {"https://good.com", "https://good.com@evil.com", false},
        {"https://good.com", "https://evil.com@good.com", false},
        {"https://good.com", "https://good.com:443@evil.com", false},
        {"https://good.com", "https://good.com/", false},
        {"https://good.com", "https://good.com/.evil.com", false},
        {"https://good.com", "https://evil.com/good.com", false},
        {"https://good.com", "https://evil.com#good.com", false},
        {"https://good.com", "https://good.com#", false},
        {"https://good.com", "https://good.com?", false},
        {"https://good.com", "https://good.com\\.evil.com", false},
        {"https://good.com", "https://good.com https://evil.com", false},
        {"https://good.com", "https://evil.com https://good.com", false},
        {"https://good.com", "https://good.com, https://good.com", false},
        {"https://good.com", " https://good.com", false},
        {"https://good.com", "https://good%2ecom", false},
        {"https://good.com",
         "https://g\xc3\xb6\xc3\xb6"
         "d.com",
         false},
        {"https://xn--gd-fkaa.com", "https://xn--gd-fkaa.com", true},
        {"https://xn--gd-fkaa.com", "https://good.com", false},
        {"https://a_b.com", "https://a_b.com", true},
        /* addresses */
        {"http://[::1]:8080", "http://[::1]:8080", true},
        {"http://[0:0:0:0:0:0:0:1]:8080", "http://[::1]:8080", true},
        {"http://[2001:DB8::1]", "http://[2001:db8::1]", true},
        {"http://[::1]:8080", "http://[::1]", false},
        {"http://[::1]:8080", "http://[::2]:8080", false},
        {"http://[::1]:8080", "http://::1:8080", false},
        {"http://[::1]:8080", "http://[::1:8080", false},
        {"http://[::1]:8080", "http://[::1]8080", false},
        {"http://[::1]:8080", "http://[]:8080", false},
        {"http://[::1]:8080", "http://[", false},
        {"http://[::1]:8080", "http://[::1%25lo]:8080", false},
        {"http://127.0.0.1:3000", "http://127.0.0.1:3000", true},
        {"http://127.0.0.1:3000", "http://127.1:3000", false},
        {"http://localhost:3000", "http://127.0.0.1:3000", false},
        /* schemes of their own */
        {"capacitor://localhost", "capacitor://localhost", true},
        {"capacitor://localhost", "http://localhost", false},
        {"chrome-extension://abcd", "chrome-extension://abcd", true},
        {"chrome-extension://abcd", "chrome-extension://abce", false},
        /* null only if somebody said so */
        {"null", "null", true},
        {"null", "Null", false},
        {"null", "https://good.com", false},
        {"null", "https://null", false},
        {"https://null", "null", false},
        /* any */
        {"*", "https://evil.com", true},
        {"*", "null", true},
        {"*", "whatever it is", true},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct origin list[] = {parsed("https://first.example"), parsed(cases[i].listed)};
        for (size_t from = 0; from < 2; from++) {
            bool is = origin_is_allowed(list + from, 2 - from, cases[i].value, 1, "good.com");
            if (is != cases[i].is_allowed)
                fail_msg("\"%s\" in a list of \"%s\": %d", cases[i].value, cases[i].listed, is);
        }
    }
}

static void test_77_same_host_by_default(void **state)
{
    (void)state;
    static const struct {
        const char *host, *value;
        bool is_allowed;
    } cases[] = {
        {"good.com", "https://good.com", true},
        {"good.com", "http://good.com", true}, /* nobody knows how the client came */
        {"good.com:443", "https://good.com", true},
        {"good.com:80", "http://good.com", true},
        {"good.com", "https://good.com:443", true},
        {"good.com:8080", "http://good.com:8080", true},
        {"GOOD.com:8080", "http://good.com:8080", true},
        {"good.com:8080", "http://good.com", false},
        {"good.com", "http://good.com:8080", false},
        {"good.com:8080", "http://good.com:8081", false},
        {"good.com", "https://evil.com", false},
        {"good.com", "https://good.com.evil.com", false},
        {"good.com", "https://evilgood.com", false},
        {"good.com", "https://sub.good.com", false},
        {"good.com", "https://good.com.", false},
        {"good.com.", "https://good.com.", true},
        {"good.com", "null", false},
        {"null", "null", false},
        {"good.com", "*", false},
        {"*", "*", false},
        {"good.com", "", false},
        {"", "", false},
        {"good.com", "https://good.com@evil.com", false},
        {"good.com", "https://evil.com@good.com", false},
        {"good.com@evil.com", "https://good.com@evil.com", false},
        {"good.com", "https://good.com/", false},
        {"good.com/", "https://good.com/", false},
        {"localhost", "capacitor://localhost", false},
        {"good.com", "ftp://good.com", false},
        {"[::1]:8080", "http://[::1]:8080", true},
        {"[0::1]:8080", "http://[::1]:8080", true},
        {"[::1]", "http://[::2]", false},
        {"127.0.0.1:8080", "http://127.0.0.1:8080", true},
        {"127.0.0.1:8080", "http://localhost:8080", false},
        {"xn--gd-fkaa.com", "https://xn--gd-fkaa.com", true},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        bool is = origin_is_allowed(NULL, 0, cases[i].value, 1, cases[i].host);
        if (is != cases[i].is_allowed)
            fail_msg("\"%s\" to \"%s\": %d", cases[i].value, cases[i].host, is);
    }
}

static void test_77_how_many_fields(void **state)
{
    (void)state;
    struct origin list[] = {parsed("https://good.com")}, any[] = {parsed("*")};
    assert_true(origin_is_allowed(list, 1, NULL, 0, "good.com"));
    assert_true(origin_is_allowed(NULL, 0, NULL, 0, "good.com"));
    assert_false(origin_is_allowed(list, 1, "https://good.com, https://good.com", 2, "good.com"));
    assert_false(origin_is_allowed(NULL, 0, "https://good.com, https://good.com", 2, "good.com"));
    assert_false(origin_is_allowed(any, 1, "https://good.com, https://good.com", 2, "good.com"));
}

static void test_long_names(void **state)
{
    (void)state;
    char value[400] = "https://";
    struct origin o;
    const char *why;
    memset(value + 8, 'a', ADDRESS_HOST_MAX);
    assert_int_equal(origin_parse(value, &o, &why), 0);
    value[8 + ADDRESS_HOST_MAX] = 'a';
    assert_int_equal(origin_parse(value, &o, &why), -EINVAL);
    memset(value, 'a', ORIGIN_SCHEME_MAX + 1);
    memcpy(value + ORIGIN_SCHEME_MAX + 1, "://a", 5);
    assert_int_equal(origin_parse(value, &o, &why), -EINVAL);
    assert_int_equal(origin_parse(value + 1, &o, &why), 0);
}

/* What an operator may write by mistake is said at start, not found out by a refused page. */
static void test_bad_entries(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "an origin is SCHEME://HOST[:PORT], \"null\" or \"*\""},
        {"good.com", "an origin is SCHEME://HOST[:PORT], \"null\" or \"*\""},
        {"1http://good.com", "an origin is SCHEME://HOST[:PORT], \"null\" or \"*\""},
        {"https://good.com/", "an origin has no path, nor a '/' at its end"},
        {"https://good.com/app", "an origin has no path, nor a '/' at its end"},
        {"https://*.good.com", "an origin is exact: no '*' in it"},
        {"https://g\xc3\xb6.com",
         "no host and port of an origin (other letters in punycode: xn--...)"},
        {"https://good.com:99999",
         "no host and port of an origin (other letters in punycode: xn--...)"},
        {"https://user@good.com",
         "no host and port of an origin (other letters in punycode: xn--...)"},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct origin o;
        const char *why = NULL;
        assert_int_equal(origin_parse(cases[i].text, &o, &why), -EINVAL);
        assert_string_equal(why, cases[i].why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_77_exact_origins),   cmocka_unit_test(test_77_same_host_by_default),
        cmocka_unit_test(test_77_how_many_fields), cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_bad_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
