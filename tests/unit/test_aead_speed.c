#include "aead_speed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* From 1 MB/s to 16 GB/s: anything else is no measurement. */
static void check_plausible(uint64_t ns)
{
    assert_in_range(ns, 1000, 16384000);
}

static void test_both_are_measured(void **state)
{
    (void)state;
    struct aead_speed speed;
    aead_speed_measure(&speed);
    check_plausible(speed.chacha20_poly1305_ns);
    check_plausible(speed.aes_128_gcm_ns);
}

/* Where the difference is plain. */
static void test_the_faster_one_is_preferred(void **state)
{
    (void)state;
    struct aead_speed speed;
    bool prefers_chacha = aead_speed_prefers_chacha();
    aead_speed_measure(&speed);
    if (speed.chacha20_poly1305_ns * 2 < speed.aes_128_gcm_ns)
        assert_true(prefers_chacha);
    if (speed.aes_128_gcm_ns * 2 < speed.chacha20_poly1305_ns)
        assert_false(prefers_chacha);
    for (int i = 0; i < 100; i++)
        assert_int_equal(aead_speed_prefers_chacha(), prefers_chacha);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_are_measured),
        cmocka_unit_test(test_the_faster_one_is_preferred),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
