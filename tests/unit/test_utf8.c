/* wire/utf8.h, against a definition that shares nothing with it: the range of code points that a
 * cut character may still become. */
#include "utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Whether some text begins with these bytes. `*is_whole`: and may end behind them. */
static bool can_begin(const uint8_t *s, size_t len, bool *is_whole)
{
    for (size_t i = 0; i < len;) {
        *is_whole = true;
        if (s[i] < 0x80) {
            i++;
            continue;
        }
        unsigned size = (s[i] & 0xE0) == 0xC0   ? 2
                        : (s[i] & 0xF0) == 0xE0 ? 3
                        : (s[i] & 0xF8) == 0xF0 ? 4
                                                : 0;
        if (size == 0)
            return false;
        uint32_t low = s[i] & (0x7Fu >> size), high = low;
        uint32_t least = size == 2 ? 0x80 : size == 3 ? 0x800 : 0x10000;
        for (unsigned k = 1; k < size; k++) {
            bool is_there = i + k < len;
            if (is_there && (s[i + k] & 0xC0) != 0x80)
                return false;
            low = low << 6 | (is_there ? s[i + k] & 0x3Fu : 0);
            high = high << 6 | (is_there ? s[i + k] & 0x3Fu : 0x3F);
        }
        if (low < least)
            low = least;
        if (high > 0x10FFFF)
            high = 0x10FFFF;
        bool is_surrogate = low >= 0xD800 && high <= 0xDFFF;
        if (low > high || is_surrogate)
            return false;
        *is_whole = i + size <= len;
        i += size;
    }
    return true;
}

static void expect_same(const uint8_t *s, size_t len)
{
    bool is_whole = true;
    bool is_good = can_begin(s, len, &is_whole);
    struct utf8 u = {0};
    if (utf8_feed(&u, s, len) != is_good)
        fail_msg("%02x %02x %02x %02x: %d expected", s[0], len > 1 ? s[1] : 0, len > 2 ? s[2] : 0,
                 len > 3 ? s[3] : 0, is_good);
    if (is_good)
        assert_int_equal(utf8_is_complete(&u), is_whole);
}

static void test_29_every_short_string(void **state)
{
    (void)state;
    uint8_t s[4];
    for (unsigned n = 0; n < 0x10000; n++) {
        s[0] = (uint8_t)(n >> 8);
        s[1] = (uint8_t)n;
        expect_same(s, 1);
        expect_same(s, 2);
    }
    for (unsigned n = 0xC00000; n < 0x1000000; n++) {
        s[0] = (uint8_t)(n >> 16);
        s[1] = (uint8_t)(n >> 8);
        s[2] = (uint8_t)n;
        expect_same(s, 3);
    }
    static const uint8_t edges[] = {0x00, 0x41, 0x7F, 0x80, 0x81, 0x8F, 0x90, 0x9F,
                                    0xA0, 0xBF, 0xC0, 0xC2, 0xED, 0xF0, 0xF4, 0xFF};
    const size_t edge_count = sizeof(edges);
    for (unsigned n = 0xE000; n < 0x10000; n++) {
        s[0] = (uint8_t)(n >> 8);
        s[1] = (uint8_t)n;
        for (size_t i = 0; i < edge_count * edge_count; i++) {
            s[2] = edges[i / edge_count];
            s[3] = edges[i % edge_count];
            expect_same(s, 4);
        }
    }
}

/* A bad byte behind 0 to 99 good ones: the fast path for ASCII must not step over it. */
static void test_29_bad_byte_anywhere(void **state)
{
    (void)state;
    for (size_t len = 1; len < 100; len++) {
        uint8_t *s = malloc(len);
        for (size_t at = 0; at < len; at++) {
            memset(s, 'a', len);
            s[at] = 0xFF;
            struct utf8 u = {0};
            assert_false(utf8_feed(&u, s, len));
            s[at] = 0x00; /* NUL is a character */
            u = (struct utf8){0};
            assert_true(utf8_feed(&u, s, len) && utf8_is_complete(&u));
        }
        free(s);
    }
}

static void test_split_anywhere(void **state)
{
    (void)state;
    static const char text[] =
        "ascii text of some length, then \xC3\xA4\xE2\x82\xAC\xF0\x9F\x8C\x8A"
        "\xEF\xBF\xBF\xF4\x8F\xBF\xBF and a long enough run of ascii again";
    size_t len = sizeof(text) - 1;
    for (size_t cut = 0; cut <= len; cut++) {
        struct utf8 u = {0};
        assert_true(utf8_feed(&u, (const uint8_t *)text, cut));
        assert_true(utf8_feed(&u, (const uint8_t *)text + cut, len - cut));
        assert_true(utf8_is_complete(&u));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_29_every_short_string),
        cmocka_unit_test(test_29_bad_byte_anywhere),
        cmocka_unit_test(test_split_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
