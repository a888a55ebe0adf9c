/* How many connections each route has. */
#include "route_slots.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_59_room(void **state)
{
    (void)state;
    struct route_slots_table list = ROUTE_SLOTS_TABLE_INIT;
    struct route_slots *a = NULL, *b = NULL, *more = NULL;
    assert_int_equal(route_slots_take(&list, "a", 2, &a), 0);
    assert_int_equal(route_slots_take(&list, "b", 1, &b), 0);
    assert_int_equal(route_slots_take(&list, "a", 2, &more), 0);
    assert_ptr_equal(more, a);
    assert_int_equal(route_slots_take(&list, "a", 2, &more), -EBUSY);
    assert_int_equal(route_slots_take(&list, "b", 1, &more), -EBUSY);
    assert_int_equal(route_slots_take(&list, "b", 0, &more), 0);
    route_slots_give(&list, a);
    assert_int_equal(route_slots_take(&list, "a", 2, &more), 0);
    route_slots_give(&list, a);
    route_slots_give(&list, a);
    route_slots_give(&list, NULL);
    assert_ptr_equal(list.first, b);
    assert_null(b->next);
    assert_int_equal(b->taken, 2);
    assert_int_equal(route_slots_take(&list, "a", 1, &a), 0);
    route_slots_give(&list, b);
    route_slots_give(&list, b);
    assert_ptr_equal(list.first, a);
    route_slots_give(&list, a);
    assert_null(list.first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_59_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
