/* How many workers there are to be. */
#include "cores.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_quotas(void **state)
{
    (void)state;
    static const struct {
        const char *cpu_max;
        unsigned cores;
    } cases[] = {
        {"max 100000", 0},
        {"100000 100000", 1},
        {"100001 100000", 2},
        {"10000 100000", 1},
        {"250000 50000", 5},
        {"1 1", 1},
        {"0 100000", 0},
        {"100000 0", 0},
        {"100000", 0},
        {"", 0},
        {"99999999999999999999 1", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(cores_of_quota(cases[i].cpu_max), cases[i].cores);
}

static void test_there_is_one_at_least(void **state)
{
    (void)state;
    assert_true(cores_available() >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quotas),
        cmocka_unit_test(test_there_is_one_at_least),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
