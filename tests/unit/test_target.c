/* proxy/serve/access/target.h, target_rule.h */
#include "target.h"
#include "target_rule.h"

#include "span.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- the path ---- */

/* "HOST:PORT" in its one form, "name" or "number" before it; or the problem. */
static const char *parse_path(const char *path)
{
    static char out[ADDRESS_TEXT_MAX + 16];
    size_t len = strlen(path);
    char address[ADDRESS_TEXT_MAX], *block = malloc(len > 0 ? len : 1);
    struct target t;
    const char *problem = NULL;
    assert_non_null(block);
    memcpy(block, path, len); /* its exact size, without a terminator */
    int error = target_parse(block, len, &t, &problem);
    free(block);
    if (error == -ENOENT)
        return "404";
    assert_true((error == 0) == (problem[0] == '\0'));
    if (error != 0)
        return problem;
    snprintf(out, sizeof(out), "%s %s", t.is_number ? "number" : "name",
             address_format(&t.address, address, sizeof(address)));
    return out;
}

#define BAD_PATH "the path must be /tcp/HOST/PORT"
#define BAD_PORT "the port must be a number from 1 to 65535"
#define BAD_HOST "the host must be a name or an IP address in its usual form"

#define X63 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static void test_81_82_paths(void **state)
{
    (void)state;
    static const struct {
        const char *path, *expected;
    } cases[] = {
        {"/tcp/db.example.org/5432", "name db.example.org:5432"},
        {"/tcp/DB.Example.ORG/1", "name db.example.org:1"},
        {"/tcp/db/65535", "name db:65535"},
        {"/tcp/xn--gd-fkaa.com/80", "name xn--gd-fkaa.com:80"},
        {"/tcp/1a.2b/80", "name 1a.2b:80"},
        {"/tcp/10.example.org/80", "name 10.example.org:80"},
        {"/tcp/" X63 "." X63 "." X63
         ".xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx/1",
         "name " X63 "." X63 "." X63
         ".xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx:1"},
        {"/tcp/10.0.0.5/22", "number 10.0.0.5:22"},
        {"/tcp/::1/22", "number [::1]:22"},
        {"/tcp/[::1]/22", "number [::1]:22"},
        {"/tcp/2001:DB8:0:0::1/22", "number [2001:db8::1]:22"},
        /* one value, however it is written */
        {"/tcp/::ffff:127.0.0.1/22", "number 127.0.0.1:22"},
        {"/tcp/[::ffff:7f00:1]/22", "number 127.0.0.1:22"},
        {"/tcp/0:0:0:0:0:ffff:127.0.0.1/22", "number 127.0.0.1:22"},

        /* other spellings of 127.0.0.1 */
        {"/tcp/127.1/22", BAD_HOST},
        {"/tcp/127.0.1/22", BAD_HOST},
        {"/tcp/0x7f.1/22", BAD_HOST},
        {"/tcp/0x7F.0.0.0x1/22", BAD_HOST},
        {"/tcp/0x7f000001/22", BAD_HOST},
        {"/tcp/2130706433/22", BAD_HOST},
        {"/tcp/017700000001/22", BAD_HOST},
        {"/tcp/0177.0.0.1/22", BAD_HOST},
        {"/tcp/127.0.0.01/22", BAD_HOST},
        {"/tcp/127.0.0.1./22", BAD_HOST},
        {"/tcp/127.0.0.1.1/22", BAD_HOST},
        {"/tcp/0/22", BAD_HOST},
        {"/tcp/0x/22", BAD_HOST},
        {"/tcp/a.0x/22", BAD_HOST},
        {"/tcp/example.1/22", BAD_HOST},
        {"/tcp/256.0.0.1/22", BAD_HOST},
        {"/tcp/[127.0.0.1]/22", BAD_HOST},
        {"/tcp/\xe2\x91\xa0\xe2\x91\xa1.0.0.1/22", BAD_HOST},
        {"/tcp/127%2e0%2e0%2e1/22", BAD_HOST},
        {"/tcp/127.0.0.1%00/22", BAD_HOST},

        /* hosts that are none */
        {"/tcp//22", BAD_HOST},
        {"/tcp/./22", BAD_HOST},
        {"/tcp/../22", BAD_HOST},
        {"/tcp/%2e%2e/22", BAD_HOST},
        {"/tcp/a..b/22", BAD_HOST},
        {"/tcp/.a/22", BAD_HOST},
        {"/tcp/a./22", BAD_HOST},
        {"/tcp/-a/22", BAD_HOST},
        {"/tcp/a-/22", BAD_HOST},
        {"/tcp/a-.b/22", BAD_HOST},
        {"/tcp/a_b/22", BAD_HOST},
        {"/tcp/*.example.org/22", BAD_HOST},
        {"/tcp/a;b/22", BAD_HOST},
        {"/tcp/a b/22", BAD_HOST},
        {"/tcp/a%20b/22", BAD_HOST},
        {"/tcp/a\\b/22", BAD_HOST},
        {"/tcp/user@a/22", BAD_HOST},
        {"/tcp/a:80/22", BAD_HOST},
        {"/tcp/unix:/22", BAD_HOST},
        {"/tcp/fe80::1%25lo/22", BAD_HOST},
        {"/tcp/fe80::1%lo/22", BAD_HOST},
        {"/tcp/[::1/22", BAD_HOST},
        {"/tcp/::1]/22", BAD_HOST},
        {"/tcp/[]/22", BAD_HOST},
        {"/tcp/[/22", BAD_HOST},
        {"/tcp/[[::1]]/22", BAD_HOST},
        {"/tcp/[example.org]/22", BAD_HOST},
        {"/tcp/g\xc3\xb6.org/22", BAD_HOST},
        {"/tcp/x" X63 "/22", BAD_HOST},
        {"/tcp/" X63 "." X63 "." X63
         ".xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx/1",
         BAD_HOST},

        /* ports that are none */
        {"/tcp/a/0", BAD_PORT},
        {"/tcp/a/65536", BAD_PORT},
        {"/tcp/a/65558", BAD_PORT},
        {"/tcp/a/4294967318", BAD_PORT},
        {"/tcp/a/18446744073709551638", BAD_PORT},
        {"/tcp/a/-1", BAD_PORT},
        {"/tcp/a/+22", BAD_PORT},
        {"/tcp/a/022", BAD_PORT},
        {"/tcp/a/0x16", BAD_PORT},
        {"/tcp/a/22 ", BAD_PORT},
        {"/tcp/a/ 22", BAD_PORT},
        {"/tcp/a/22;", BAD_PORT},
        {"/tcp/a/2%32", BAD_PORT},
        {"/tcp/a/ssh", BAD_PORT},
        {"/tcp/a/", BAD_PORT},

        /* paths that are none */
        {"/tcp/", BAD_PATH},
        {"/tcp/a", BAD_PATH},
        {"/tcp/a:22", BAD_PATH},
        {"/tcp/a/22/", BAD_PATH},
        {"/tcp/a/22/x", BAD_PATH},
        {"/tcp//a/22", BAD_PATH},
        {"/tcp/../tcp/a/22", BAD_PATH},
        {"/tcp", "404"},
        {"", "404"},
        {"/", "404"},
        {"/TCP/a/22", "404"},
        {"//tcp/a/22", "404"},
        {"/tcpx/a/22", "404"},
        {"/x/tcp/a/22", "404"},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        const char *result = parse_path(cases[i].path);
        if (strcmp(result, cases[i].expected) != 0)
            fail_msg("%s: %s", cases[i].path, result);
    }
    struct target t;
    const char *problem;
    assert_int_equal(target_parse("/tcp/a\0b/22", 11, &t, &problem), -EINVAL);
    assert_int_equal(target_parse("/tcp/a/2\0", 9, &t, &problem), -EINVAL);
}

/* ---- rules ---- */

static void test_bad_rules(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *why;
    } cases[] = {
        {"", "a target is HOST:PORTS; ports may be '*'"},
        {"db", "a target is HOST:PORTS; ports may be '*'"},
        {"[::1]", "a target is HOST:PORTS; ports may be '*'"},
        {"[::1]80", "a target is HOST:PORTS; ports may be '*'"},
        {"[::1:80", "a target is HOST:PORTS; ports may be '*'"},
        {":80", "has no host"},
        {"[]:80", "has no host"},
        {"::1:80", "IPv6 needs brackets, as in [2001:db8::/32]:443"},
        {"[10.0.0.1]:80", "brackets are for IPv6"},
        {"*:80", "'*' is no host: 0.0.0.0/0 and [::/0] are all addresses"},
        {"a b:80", "no host name, *.name or network (10.0.0.0/8)"},
        {"db.:80", "no host name, *.name or network (10.0.0.0/8)"},
        {"*example.org:80", "no host name, *.name or network (10.0.0.0/8)"},
        {"a.*.org:80", "no host name, *.name or network (10.0.0.0/8)"},
        {"*.*.org:80", "no host name, *.name or network (10.0.0.0/8)"},
        {"0x7f.1:80", "no host name, *.name or network (10.0.0.0/8)"},
        {"10.0.0.1/8:80", "'10.0.0.1/8' has host bits set; the network is 10.0.0.0/8"},
        {"127.1:80",
         "'127.1' is not an IPv4 address: four numbers from 0 to 255, without leading zeros"},
        {"[::1/129]:80", "'::1/129' has a prefix length above 128"},
        {"db:80,", NULL},
        {"db:,80", NULL},
        {"db:", NULL},
        {"db:0", NULL},
        {"db:65536", NULL},
        {"db:-80", NULL},
        {"db:80-", NULL},
        {"db:90-80", NULL},
        {"db:80-90-100", NULL},
        {"db:080", NULL},
        {"db:80, 81", NULL},
        {"db:80,*", NULL},
        {"db:http", NULL},
        {"db:1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17",
         "has more than 16 ports and ranges of ports: write two rules"},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct target_rule rule;
        char why[TARGET_RULE_WHY_MAX];
        const char *expected = cases[i].why != NULL
                                   ? cases[i].why
                                   : "ports are '*', or numbers from 1 to 65535 and ranges, as in "
                                     "80,443,8000-8999";
        if (target_rule_parse(cases[i].rule, &rule, why) != -EINVAL)
            fail_msg("\"%s\" was taken", cases[i].rule);
        assert_string_equal(why, expected);
    }
    char text[600];
    struct target_rule rule;
    char why[TARGET_RULE_WHY_MAX];
    memset(text, 'a', sizeof(text));
    memcpy(text + 500, ":80", 4);
    assert_int_equal(target_rule_parse(text, &rule, why), -EINVAL);
    assert_string_equal(why, "the host is too long");
}

/* Rules separated by blanks. */
static size_t parse_rules(const char *text, struct target_rule *rules, size_t size)
{
    char copy[512], why[TARGET_RULE_WHY_MAX], *rest = copy, *one;
    size_t count = 0;
    assert_true(strlen(text) < sizeof(copy));
    memcpy(copy, text, strlen(text) + 1);
    while ((one = strsep(&rest, " ")) != NULL) {
        if (*one == '\0')
            continue;
        assert_true(count < size);
        if (target_rule_parse(one, &rules[count++], why) != 0)
            fail_msg("%s: %s", one, why);
    }
    return count;
}

static void to_sockaddr(const char *ip, uint16_t port, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    *out = (struct sockaddr_storage){0};
    if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return;
    }
    assert_int_equal(inet_pton(AF_INET6, ip, &v6->sin6_addr), 1);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
}

/* "refused", "asked" (the resolver may be asked, the address not be connected to), "connected". */
static const char *decide(const char *list, const char *path, const char *resolved)
{
    struct target_rule rules[8];
    size_t count = parse_rules(list, rules, array_count(rules));
    struct sockaddr_storage to;
    struct target target;
    const char *problem;
    if (target_parse(path, strlen(path), &target, &problem) != 0)
        fail_msg("%s: %s", path, problem);
    to_sockaddr(resolved != NULL ? resolved : target.address.host, target.address.port, &to);
    struct target_check check = {rules, count, &target};
    bool may_ask = target_rule_may_ask(rules, count, &target);
    bool may_connect = target_rule_filter(&check, (struct sockaddr *)&to);
    if (may_connect && !may_ask)
        fail_msg("%s, %s: not even asked, but connected to %s", list, path, resolved);
    return may_connect ? "connected" : may_ask ? "asked" : "refused";
}

#define ANY "0.0.0.0/0:* [::/0]:*"

static void test_81_who_may_connect_where(void **state)
{
    (void)state;
    static const struct {
        const char *rules, *path, *resolved, *expected;
    } cases[] = {
        /* nothing listed, nothing allowed */
        {"", "/tcp/a.org/80", "93.184.216.34", "refused"},
        {"", "/tcp/93.184.216.34/80", NULL, "refused"},

        /* names */
        {"a.org:80", "/tcp/a.org/80", "93.184.216.34", "connected"},
        {"A.org:80", "/tcp/a.ORG/80", "93.184.216.34", "connected"},
        {"a.org:80", "/tcp/a.org/80", "2606:2800:21f::1", "connected"},
        {"a.org:80", "/tcp/a.org/80", "10.1.2.3", "connected"},
        {"a.org:80", "/tcp/a.org/80", "fd00::1", "connected"},
        {"a.org:80", "/tcp/b.a.org/80", "93.184.216.34", "refused"},
        {"a.org:80", "/tcp/ba.org/80", "93.184.216.34", "refused"},
        {"a.org:80", "/tcp/a.org.evil/80", "93.184.216.34", "refused"},
        {"a.org:80", "/tcp/org/80", "93.184.216.34", "refused"},
        {"a.org:80", "/tcp/a.org/81", "93.184.216.34", "refused"},
        /* an address is not the name that resolves to it */
        {"a.org:80", "/tcp/93.184.216.34/80", NULL, "refused"},

        /* names below */
        {"*.a.org:80", "/tcp/b.a.org/80", "93.184.216.34", "connected"},
        {"*.a.org:80", "/tcp/c.b.a.org/80", "93.184.216.34", "connected"},
        {"*.a.org:80", "/tcp/a.org/80", "93.184.216.34", "refused"},
        {"*.a.org:80", "/tcp/ba.org/80", "93.184.216.34", "refused"},
        {"*.a.org:80", "/tcp/evila.org/80", "93.184.216.34", "refused"},
        {"*.a.org:80", "/tcp/evil-a.org/80", "93.184.216.34", "refused"},
        {"*.a.org:80", "/tcp/b.a.org.evil/80", "93.184.216.34", "refused"},
        {"*.a.org:80", "/tcp/b.a.org/80", "127.0.0.1", "asked"},

        /* ports */
        {"a.org:80,443,8000-8002", "/tcp/a.org/443", "93.184.216.34", "connected"},
        {"a.org:80,443,8000-8002", "/tcp/a.org/8000", "93.184.216.34", "connected"},
        {"a.org:80,443,8000-8002", "/tcp/a.org/8002", "93.184.216.34", "connected"},
        {"a.org:80,443,8000-8002", "/tcp/a.org/7999", "93.184.216.34", "refused"},
        {"a.org:80,443,8000-8002", "/tcp/a.org/8003", "93.184.216.34", "refused"},
        {"a.org:*", "/tcp/a.org/1", "93.184.216.34", "connected"},
        {"a.org:*", "/tcp/a.org/65535", "93.184.216.34", "connected"},
        {"a.org:80 a.org:443", "/tcp/a.org/443", "93.184.216.34", "connected"},
        /* the port of one rule is not that of another */
        {"a.org:80 10.0.0.0/8:22", "/tcp/a.org/22", "93.184.216.34", "asked"},
        {"a.org:80 127.0.0.1:22", "/tcp/a.org/80", "127.0.0.1", "asked"},

        /* networks: addresses, and any name that resolves into them */
        {"10.0.0.0/8:22", "/tcp/10.9.9.9/22", NULL, "connected"},
        {"10.0.0.0/8:22", "/tcp/11.0.0.1/22", NULL, "refused"},
        {"10.0.0.0/8:22", "/tcp/10.9.9.9/23", NULL, "refused"},
        {"10.0.0.5:22", "/tcp/10.0.0.5/22", NULL, "connected"},
        {"10.0.0.5:22", "/tcp/10.0.0.6/22", NULL, "refused"},
        {"10.0.0.5:22", "/tcp/::ffff:10.0.0.5/22", NULL, "connected"},
        {"10.0.0.0/8:22", "/tcp/any.name/22", "10.0.0.1", "connected"},
        {"10.0.0.0/8:22", "/tcp/any.name/22", "::ffff:10.0.0.1", "connected"},
        {"10.0.0.0/8:22", "/tcp/any.name/22", "11.0.0.1", "asked"},
        {"10.0.0.0/8:22", "/tcp/any.name/23", "10.0.0.1", "refused"},
        {"[fd00::/8]:22", "/tcp/fd12::1/22", NULL, "connected"},
        {"[fd00::/8]:22", "/tcp/any.name/22", "10.0.0.1", "asked"},
        {"[2001:db8::5]:22", "/tcp/[2001:db8::5]/22", NULL, "connected"},
        {"[2001:db8::5]:22", "/tcp/[2001:db8::6]/22", NULL, "refused"},
        {"[::ffff:10.0.0.0/104]:22", "/tcp/10.0.0.1/22", NULL, "connected"},

        /* special addresses, by a name that is allowed */
        {"a.org:80", "/tcp/a.org/80", "127.0.0.1", "asked"},
        {"a.org:80", "/tcp/a.org/80", "127.8.9.10", "asked"},
        {"a.org:80", "/tcp/a.org/80", "0.0.0.0", "asked"},
        {"a.org:80", "/tcp/a.org/80", "0.1.2.3", "asked"},
        {"a.org:80", "/tcp/a.org/80", "169.254.169.254", "asked"},
        {"a.org:80", "/tcp/a.org/80", "224.0.0.1", "asked"},
        {"a.org:80", "/tcp/a.org/80", "255.255.255.255", "asked"},
        {"a.org:80", "/tcp/a.org/80", "::1", "asked"},
        {"a.org:80", "/tcp/a.org/80", "::", "asked"},
        {"a.org:80", "/tcp/a.org/80", "fe80::1", "asked"},
        {"a.org:80", "/tcp/a.org/80", "febf::1", "asked"},
        {"a.org:80", "/tcp/a.org/80", "ff02::1", "asked"},
        {"a.org:80", "/tcp/a.org/80", "::ffff:127.0.0.1", "asked"},
        {"a.org:80", "/tcp/a.org/80", "::ffff:0.0.0.0", "asked"},
        {"a.org:80", "/tcp/a.org/80", "::ffff:169.254.169.254", "asked"},
        {"a.org:80", "/tcp/a.org/80", "::127.0.0.1", "asked"},
        {"a.org:80", "/tcp/a.org/80", "64:ff9b::127.0.0.1", "asked"},
        {"a.org:80", "/tcp/a.org/80", "64:ff9b::169.254.169.254", "asked"},
        {"a.org:80", "/tcp/a.org/80", "64:ff9b::93.184.216.34", "connected"},
        {"a.org:80", "/tcp/a.org/80", "2002:7f00:1::", "asked"},
        {"localhost:80", "/tcp/localhost/80", "127.0.0.1", "asked"},

        /* next to them */
        {"a.org:80", "/tcp/a.org/80", "126.255.255.255", "connected"},
        {"a.org:80", "/tcp/a.org/80", "128.0.0.1", "connected"},
        {"a.org:80", "/tcp/a.org/80", "169.253.255.255", "connected"},
        {"a.org:80", "/tcp/a.org/80", "169.255.0.1", "connected"},
        {"a.org:80", "/tcp/a.org/80", "223.255.255.255", "connected"},
        {"a.org:80", "/tcp/a.org/80", "1.0.0.0", "connected"},
        {"a.org:80", "/tcp/a.org/80", "fec0::1", "connected"},

        /* all addresses are not this machine */
        {ANY, "/tcp/93.184.216.34/80", NULL, "connected"},
        {ANY, "/tcp/2606:2800:21f::1/80", NULL, "connected"},
        {ANY, "/tcp/127.0.0.1/80", NULL, "refused"},
        {ANY, "/tcp/::ffff:127.0.0.1/80", NULL, "refused"},
        {ANY, "/tcp/::1/80", NULL, "refused"},
        {ANY, "/tcp/::/80", NULL, "refused"},
        {ANY, "/tcp/0.0.0.0/80", NULL, "refused"},
        {ANY, "/tcp/169.254.169.254/80", NULL, "refused"},
        {ANY, "/tcp/64:ff9b::a9fe:a9fe/80", NULL, "refused"},
        {ANY, "/tcp/localhost/80", "127.0.0.1", "asked"},
        {"0.0.0.0/1:80", "/tcp/127.0.0.1/80", NULL, "refused"},
        {"126.0.0.0/7:80", "/tcp/127.0.0.1/80", NULL, "refused"},
        {"128.0.0.0/1:80", "/tcp/169.254.169.254/80", NULL, "refused"},

        /* somebody said so */
        {"127.0.0.0/8:80", "/tcp/127.0.0.1/80", NULL, "connected"},
        {"127.0.0.1:80", "/tcp/127.0.0.1/80", NULL, "connected"},
        {"127.0.0.1:80", "/tcp/::ffff:127.0.0.1/80", NULL, "connected"},
        {"127.0.0.1:80", "/tcp/127.0.0.2/80", NULL, "refused"},
        {"127.0.0.1:80", "/tcp/localhost/80", "127.0.0.1", "connected"},
        {"127.0.0.1:80", "/tcp/localhost/80", "::1", "asked"},
        {"[::1]:80", "/tcp/::1/80", NULL, "connected"},
        {"169.254.169.254:80", "/tcp/169.254.169.254/80", NULL, "connected"},
        {"[64:ff9b::169.254.169.254]:80", "/tcp/64:ff9b::a9fe:a9fe/80", NULL, "connected"},
        {"a.org:80 127.0.0.1:80", "/tcp/a.org/80", "127.0.0.1", "connected"},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        const char *result = decide(cases[i].rules, cases[i].path, cases[i].resolved);
        if (strcmp(result, cases[i].expected) != 0)
            fail_msg("%s, %s, %s: %s", cases[i].rules, cases[i].path,
                     cases[i].resolved != NULL ? cases[i].resolved : "itself", result);
    }
}

/* What is connected to is what was asked for and looked at: neither another port nor another
 * address, and no unix socket. */
static void test_81_nothing_but_the_checked_address(void **state)
{
    (void)state;
    struct target_rule rules[2];
    size_t count = parse_rules("10.0.0.0/8:22-23", rules, array_count(rules));
    struct target target;
    const char *problem;
    struct sockaddr_storage to;
    assert_int_equal(target_parse("/tcp/10.0.0.1/22", 16, &target, &problem), 0);
    to_sockaddr("10.0.0.1", 22, &to);
    assert_true(target_rule_may_connect(rules, count, &target, (struct sockaddr *)&to));
    to_sockaddr("10.0.0.1", 23, &to);
    assert_false(target_rule_may_connect(rules, count, &target, (struct sockaddr *)&to));
    to_sockaddr("10.0.0.2", 22, &to);
    assert_false(target_rule_may_connect(rules, count, &target, (struct sockaddr *)&to));
    to.ss_family = AF_UNIX;
    assert_false(target_rule_may_connect(rules, count, &target, (struct sockaddr *)&to));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_81_82_paths),
        cmocka_unit_test(test_bad_rules),
        cmocka_unit_test(test_81_who_may_connect_where),
        cmocka_unit_test(test_81_nothing_but_the_checked_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
