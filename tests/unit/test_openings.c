/* The list of opening handshakes, and its limit. */
#include "openings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_57_the_oldest_goes(void **state)
{
    (void)state;
    struct openings o;
    struct openings_place p[5] = {0};
    openings_init(&o, 3);
    for (int i = 0; i < 3; i++)
        assert_null(openings_add(&o, &p[i]));
    for (int i = 3; i < 5; i++) {
        assert_ptr_equal(openings_add(&o, &p[i]), &p[i - 3]);
        openings_remove(&p[i - 3]);
        assert_int_equal(o.fresh.count, 3);
    }
}

static void test_who_has_left_does_not_count(void **state)
{
    (void)state;
    struct openings o;
    for (int gone = 0; gone < 3; gone++) {
        struct openings_place p[5] = {0};
        openings_init(&o, 3);
        for (int i = 0; i < 3; i++)
            assert_null(openings_add(&o, &p[i]));
        openings_remove(&p[gone]);
        openings_remove(&p[gone]);
        assert_int_equal(o.fresh.count, 2);
        assert_null(openings_add(&o, &p[3]));
        assert_ptr_equal(openings_add(&o, &p[4]), gone == 0 ? &p[1] : &p[0]);
        for (int i = 0; i < 5; i++)
            openings_remove(&p[i]);
        assert_int_equal(o.fresh.count, 0);
        assert_null(openings_add(&o, &p[gone])); /* again */
        assert_ptr_equal(o.fresh.oldest, &p[gone]);
    }
}

/* A crowd of good clients: who is half through is not dropped for one who has just come. */
static void test_57_who_has_been_answered_is_safe(void **state)
{
    (void)state;
    struct openings o;
    struct openings_place p[8] = {0};
    openings_init(&o, 4);
    for (int i = 0; i < 4; i++)
        assert_null(openings_add(&o, &p[i]));
    openings_answered(&o, &p[1]);
    openings_answered(&o, &p[0]);
    assert_ptr_equal(openings_add(&o, &p[4]), &p[2]);
    openings_remove(&p[2]);
    assert_ptr_equal(openings_add(&o, &p[5]), &p[3]);
    openings_remove(&p[3]);
    assert_int_equal(o.answered.count, 2);
    assert_int_equal(o.fresh.count, 2);
    openings_remove(&p[3]);
    openings_answered(&o, &p[3]);
    assert_int_equal(o.answered.count, 2);
}

/* Strangers who speak first and then are silent: they have half of it, and no more. */
static void test_57_those_answered_have_half_of_it(void **state)
{
    (void)state;
    struct openings o;
    struct openings_place p[6] = {0};
    openings_init(&o, 4);
    for (int i = 0; i < 4; i++) {
        assert_null(openings_add(&o, &p[i]));
        openings_answered(&o, &p[i]);
    }
    assert_ptr_equal(openings_add(&o, &p[4]), &p[0]);
    openings_remove(&p[0]);
    assert_ptr_equal(openings_add(&o, &p[5]), &p[1]);
    openings_remove(&p[1]);
    openings_answered(&o, &p[4]);
    struct openings_place last = {0};
    assert_ptr_equal(openings_add(&o, &last), &p[2]);
}

static void test_a_limit_of_one(void **state)
{
    (void)state;
    struct openings o;
    struct openings_place p[3] = {0};
    openings_init(&o, 1);
    assert_null(openings_add(&o, &p[0]));
    for (int i = 1; i < 3; i++) {
        assert_ptr_equal(openings_add(&o, &p[i]), &p[i - 1]);
        openings_remove(&p[i - 1]);
    }
    assert_int_equal(o.fresh.count, 1);
    openings_answered(&o, &p[2]);
    struct openings_place another = {0};
    assert_ptr_equal(openings_add(&o, &another), &p[2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_57_the_oldest_goes),
        cmocka_unit_test(test_who_has_left_does_not_count),
        cmocka_unit_test(test_57_who_has_been_answered_is_safe),
        cmocka_unit_test(test_57_those_answered_have_half_of_it),
        cmocka_unit_test(test_a_limit_of_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
