/* core/text.h */
#include "text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_building_is_bounded(void **state)
{
    (void)state;
    for (size_t size = 1; size < 24; size++) {
        char *buffer = malloc(size); /* its exact size: a sanitizer sees one byte more */
        struct text t;
        text_init(&t, buffer, size);
        text_add(&t, "abc");
        text_addf(&t, "%d-%s", 12345, "x");
        text_add_bytes(&t, "yz\0w", 4);
        bool fits = size > 3 + 7 + 4;
        assert_int_equal(t.overflowed, !fits);
        assert_true(t.len < size);
        assert_int_equal(buffer[t.len], '\0');
        assert_memory_equal(buffer, "abc12345-xyz\0w", t.len < 14 ? t.len : 14);
        free(buffer);
    }
}

static void test_overflow_latches(void **state)
{
    (void)state;
    char buffer[4];
    struct text t;
    text_init(&t, buffer, sizeof(buffer));
    text_add(&t, "abc");
    assert_false(t.overflowed);
    text_add(&t, "d");
    text_add(&t, "");
    assert_true(t.overflowed);
    assert_string_equal(buffer, "abc");
}

static void test_numbers_in_digits(void **state)
{
    (void)state;
    uint64_t n = 1;
    for (int i = 0; i < 64; i++, n *= 2) {
        const uint64_t around[] = {n - 1, n, n + 1};
        for (size_t k = 0; k < 3; k++) {
            char buffer[24], expected[24];
            struct text t;
            text_init(&t, buffer, sizeof(buffer));
            text_add_number(&t, around[k]);
            snprintf(expected, sizeof(expected), "%llu", (unsigned long long)around[k]);
            assert_string_equal(buffer, expected);
        }
    }
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *s;
        uint64_t max;
        bool is_good;
        uint64_t value;
    } cases[] = {
        {"0", 0, true, 0},
        {"1", 0, false, 0},
        {"7", 7, true, 7},
        {"8", 7, false, 0},
        {"65535", 65535, true, 65535},
        {"65536", 65535, false, 0},
        {"18446744073709551615", UINT64_MAX, true, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, false, 0},
        {"18446744073709551625", UINT64_MAX, false, 0},
        {"99999999999999999999", UINT64_MAX, false, 0},
        {"", 9, false, 0},
        {"00", 9, false, 0},
        {"01", 9, false, 0},
        {"+1", 9, false, 0},
        {"-1", 9, false, 0},
        {" 1", 9, false, 0},
        {"1 ", 9, false, 0},
        {"1x", 99, false, 0},
        {"0x1", 99, false, 0},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        uint64_t n = 77;
        bool is_good = text_parse_number(cases[i].s, strlen(cases[i].s), cases[i].max, &n);
        assert_int_equal(is_good, cases[i].is_good);
        assert_int_equal(n, is_good ? cases[i].value : 77);
    }
}

static void test_durations(void **state)
{
    (void)state;
    static const struct {
        const char *s;
        uint64_t ms;
        const char *shortest;
    } good[] = {
        {"0", 0, "0"},           {"0s", 0, "0"},
        {"250ms", 250, "250ms"}, {"1500ms", 1500, "1500ms"},
        {"10s", 10000, "10s"},   {"60s", 60000, "1m"},
        {"90s", 90000, "90s"},   {"5m", 300000, "5m"},
        {"1h", 3600000, "1h"},   {"24h", 86400000, "1d"},
        {"7d", 604800000, "7d"}, {"100000000d", UINT64_C(8640000000000000), "100000000d"},
    };
    for (size_t i = 0; i < array_count(good); i++) {
        uint64_t ms = 1;
        char buffer[24];
        assert_true(text_parse_duration(good[i].s, &ms));
        assert_int_equal(ms, good[i].ms);
        assert_string_equal(text_format_duration(ms, buffer, sizeof(buffer)), good[i].shortest);
    }
    static const char *const bad[] = {
        "",     "10",   "s",    "10 s",      "-1s", "+1s",  "1.5s", "1S",
        "1sec", "1w",   "01s",  "1s ",       " 1s", "1ms1", "00",   "99999999999999999999ms",
        "0x1s", "1e3s", "msms", "200000000d"};
    for (size_t i = 0; i < array_count(bad); i++) {
        uint64_t ms = 1;
        if (text_parse_duration(bad[i], &ms))
            fail_msg("accepted %s", bad[i]);
        assert_int_equal(ms, 1);
    }
}

static void test_duration_round_trip(void **state)
{
    (void)state;
    for (uint64_t ms = 1; ms < UINT64_C(1) << 52; ms = ms * 3 + ms % 7) {
        char buffer[24];
        uint64_t back;
        assert_true(text_parse_duration(text_format_duration(ms, buffer, sizeof(buffer)), &back));
        assert_int_equal(back, ms);
    }
}

static void test_case_folding_is_ascii(void **state)
{
    (void)state;
    assert_true(text_equals_nocase("WebSocket!", 9, "websocket"));
    assert_true(text_equals_nocase("", 0, ""));
    assert_false(text_equals_nocase("websocket", 9, "websocke"));
    assert_false(text_equals_nocase("websocke", 8, "websocket"));
    assert_false(text_equals_nocase("@", 1, "`"));
    assert_false(text_equals_nocase("[", 1, "{"));
    assert_false(text_equals_nocase("\xC4", 1, "\xE4"));
    assert_false(text_equals_nocase("a\0b", 3, "a"));
}

static void test_lists(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        bool has_upgrade;
    } cases[] = {
        {"upgrade", true},
        {"Upgrade", true},
        {"keep-alive, Upgrade", true},
        {"keep-alive,UPGRADE", true},
        {"upgrade , close", true},
        {"\tupgrade\t", true},
        {",,upgrade,,", true},
        {"", false},
        {",", false},
        {"upgrades", false},
        {"upgrad", false},
        {"up grade", false},
        {"keep-alive upgrade", false},
        {"\"upgrade\"", false},
        {"upgrade/1", false},
        {"x-upgrade", false},
    };
    for (size_t i = 0; i < array_count(cases); i++)
        if (text_list_has(cases[i].list, "upgrade") != cases[i].has_upgrade)
            fail_msg("wrong about '%s'", cases[i].list);
}

static void test_tokens(void **state)
{
    (void)state;
    assert_int_equal(text_token_length("v1.tidegate, x"), 11);
    assert_int_equal(text_token_length("!#$%&'*+-.^_`|~09azAZ:"), 21);
    assert_int_equal(text_token_length(""), 0);
    for (int c = 1; c < 256; c++) {
        char s[2] = {(char)c, '\0'};
        bool is_token = c > ' ' && c < 0x7F && strchr("\"(),/:;<=>?@[\\]{}", c) == NULL;
        assert_int_equal(text_token_length(s), is_token);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_building_is_bounded),
        cmocka_unit_test(test_overflow_latches),
        cmocka_unit_test(test_numbers_in_digits),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_duration_round_trip),
        cmocka_unit_test(test_case_folding_is_ascii),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
