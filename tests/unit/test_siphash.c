/* SipHash-2-4, with the key and the inputs of its paper: bytes that count up from 0. */
#include "siphash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static uint8_t counting[64];

static void test_known_values(void **state)
{
    (void)state;
    static const struct {
        size_t len;
        uint64_t expected;
    } cases[] = {
        {0, 0x726fdb47dd0e0e31}, {1, 0x74f839c593dc67fd},  {7, 0xab0200f58b01d137},
        {8, 0x93f5f5799a932462}, {15, 0xa129ca6149be45e5}, {63, 0x958a324ceb064572},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(siphash(counting, counting, cases[i].len), cases[i].expected);
}

static void test_every_bit_counts(void **state)
{
    (void)state;
    uint64_t plain = siphash(counting, counting, 16);
    for (size_t bit = 0; bit < 128; bit++) {
        uint8_t other[16], key[SIPHASH_KEY_SIZE];
        for (size_t i = 0; i < 16; i++)
            other[i] = key[i] = (uint8_t)i;
        other[bit / 8] ^= (uint8_t)(1u << bit % 8);
        key[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(siphash(counting, other, 16), plain);
        assert_int_not_equal(siphash(key, counting, 16), plain);
    }
}

int main(void)
{
    for (size_t i = 0; i < sizeof(counting); i++)
        counting[i] = (uint8_t)i;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_values),
        cmocka_unit_test(test_every_bit_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
