/* What is counted, by whom, and how it is added up. */
#include "counters.h"
#include "span.h"
#include "text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_a_route_has_one_row(void **state)
{
    struct counters *c = counters_new();

    (void)state;
    assert_non_null(c);
    struct route_counts *a = counters_route(c, "a"), *b = counters_route(c, "b");
    assert_ptr_not_equal(a, b);
    assert_ptr_equal(counters_route(c, "a"), a);
    assert_ptr_equal(counters_route(c, "b"), b);
    assert_ptr_equal(counters_route(c, NULL), &c->unrouted.counts);
    const struct route_row *row = counters_first(c);
    assert_string_equal(row->name, "");
    row = counters_next(row);
    assert_string_equal(row->name, "a");
    row = counters_next(row);
    assert_string_equal(row->name, "b");
    assert_null(counters_next(row));
    counters_free(c);
}

/* Names come from a file that may be changed for ever. */
static void test_rows_are_bounded(void **state)
{
    struct counters *c = counters_new();
    char name[ROUTE_NAME_MAX + 1];
    struct text t;
    unsigned rows = 0;

    (void)state;
    assert_non_null(c);
    for (unsigned i = 0; i < COUNTERS_ROUTES_MAX + 50; i++) {
        text_init(&t, name, sizeof(name));
        text_addf(&t, "route-%u", i);
        counter_add(&counters_route(c, name)->opened[0], 1);
    }
    for (const struct route_row *row = counters_first(c); row != NULL; row = counters_next(row))
        rows++;
    assert_int_equal(rows, 1 + COUNTERS_ROUTES_MAX + 1);
    assert_string_equal(c->last->name, "(others)");
    assert_int_equal(c->others.counts.opened[0], 50);
    assert_int_equal(counters_route(c, "route-7")->opened[0], 1);
    counters_free(c);
    counters_free(NULL);
}

static void test_histogram(void **state)
{
    static const struct histogram_scale scale = {3, {10, 20, 30}};
    struct histogram h = {0};

    (void)state;
    for (uint64_t ms = 0; ms <= 100; ms += 10)
        histogram_add(&h, &scale, ms);
    assert_int_equal(h.buckets[0], 2); /* 0, 10 */
    assert_int_equal(h.buckets[1], 1);
    assert_int_equal(h.buckets[2], 1);
    assert_int_equal(h.buckets[3], 7);
    assert_int_equal(h.sum_ms, 550);
}

static void check_scale(const struct histogram_scale *scale)
{
    assert_in_range(scale->count, 1, HISTOGRAM_BOUNDS_MAX);
    for (unsigned i = 1; i < scale->count; i++)
        assert_true(scale->upper_ms[i - 1] < scale->upper_ms[i]);
}

static void test_scales_ascend(void **state)
{
    (void)state;
    check_scale(&counters_scale_age);
    check_scale(&counters_scale_half_closed);
    check_scale(&counters_scale_connect);
    check_scale(&counters_scale_lag);
}

/* Of several loops: rows stand in another order, or are missing; a gauge may have been raised by
 * one and lowered by none. */
static void test_blocks_are_added_up(void **state)
{
    struct counters *a = counters_new(), *b = counters_new(), *empty = counters_new();
    const struct counters *blocks[] = {a, b, empty};
    struct route_counts sum;
    struct loop_counts loop;

    (void)state;
    assert_true(a != NULL && b != NULL && empty != NULL);
    counter_add(&counters_route(a, "x")->bytes[0], 5);
    counter_add(&counters_route(a, "y")->active, 3);
    counter_add(&counters_route(b, "y")->active, 4);
    counter_add(&counters_route(b, "y")->active, UINT64_MAX);
    histogram_add(&counters_route(b, "y")->age, &counters_scale_age, 70);
    counter_add(&counters_route(b, "x")->bytes[0], 7);
    counter_add(&a->loop.limits[LIMIT_HANDSHAKES], 2);
    counter_add(&b->loop.limits[LIMIT_HANDSHAKES], 1);
    const struct route_row *x = counters_next(counters_first(a)), *y = counters_next(x);
    counters_sum_route(blocks, array_count(blocks), x, &sum);
    assert_int_equal(sum.bytes[0], 12);
    assert_int_equal(sum.active, 0);
    counters_sum_route(blocks, array_count(blocks), y, &sum);
    assert_int_equal(sum.active, 6);
    assert_int_equal(sum.age.buckets[0], 1);
    assert_int_equal(sum.age.sum_ms, 70);
    counters_sum_loop(blocks, array_count(blocks), &loop);
    assert_int_equal(loop.limits[LIMIT_HANDSHAKES], 3);
    counters_free(a);
    counters_free(b);
    counters_free(empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_route_has_one_row), cmocka_unit_test(test_rows_are_bounded),
        cmocka_unit_test(test_histogram),           cmocka_unit_test(test_scales_ascend),
        cmocka_unit_test(test_blocks_are_added_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
