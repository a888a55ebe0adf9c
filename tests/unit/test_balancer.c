/* Which backend is tried first, and which after it. */
#include "balancer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct backend_pool pool = BACKEND_POOL_INIT;
static struct backend_state *states[4];
static _Atomic unsigned turn;

static int begin(void **state)
{
    static const char *const names[] = {"a", "b", "c", "d"};

    (void)state;
    turn = 0;
    for (size_t i = 0; i < 4; i++) {
        states[i] = backend_pool_take(&pool, names[i]);
        if (states[i] == NULL)
            return -1;
    }
    return 0;
}

static int end(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++)
        backend_pool_give(&pool, states[i]);
    return pool.first == NULL ? 0 : -1;
}

static void check_order(enum balance how, size_t count, uint64_t now_ms, const char *expected)
{
    uint8_t order[4];
    char text[5] = "";

    balancer_order(how, states, count, &turn, now_ms, order);
    for (size_t i = 0; i < count; i++)
        text[i] = states[order[i]]->name[0];
    assert_string_equal(text, expected);
}

static void test_in_turn(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        check_order(BALANCE_ROUNDROBIN, 3, 0, "abc");
        check_order(BALANCE_ROUNDROBIN, 3, 0, "bca");
        check_order(BALANCE_ROUNDROBIN, 3, 0, "cab");
    }
    check_order(BALANCE_ROUNDROBIN, 1, 0, "a");
    check_order(BALANCE_ROUNDROBIN, 1, 0, "a");
    check_order(BALANCE_ROUNDROBIN, 0, 0, "");
}

static void test_connections_do_not_matter_in_turn(void **state)
{
    (void)state;
    states[0]->connections = 100;
    check_order(BALANCE_ROUNDROBIN, 3, 0, "abc");
}

static void test_least_connections(void **state)
{
    (void)state;
    states[0]->connections = 3;
    states[1]->connections = 1;
    states[2]->connections = 2;
    check_order(BALANCE_LEASTCONN, 4, 0, "dbca");
    states[3]->connections = 1;
    check_order(BALANCE_LEASTCONN, 4, 0, "bdca"); /* equal ones in turn */
    check_order(BALANCE_LEASTCONN, 4, 0, "dbca");
}

static void test_who_failed_is_behind_for_a_while(void **state)
{
    (void)state;
    assert_true(backend_state_failed(states[0], 5000));
    states[1]->connections = 9;
    check_order(BALANCE_LEASTCONN, 3, 5000, "cba");
    turn = 0;
    check_order(BALANCE_ROUNDROBIN, 3, 5000, "bca");
    turn = 0;
    check_order(BALANCE_ROUNDROBIN, 3, 5000 + BACKEND_REST_MS - 1, "bca");
    turn = 0;
    check_order(BALANCE_ROUNDROBIN, 3, 5000 + BACKEND_REST_MS, "abc");
}

static void test_failing_is_news_once(void **state)
{
    (void)state;
    assert_true(backend_state_failed(states[0], 1));
    assert_false(backend_state_failed(states[0], 2));
    assert_false(backend_state_failed(states[0], 2 + BACKEND_REST_MS)); /* still not back */
    backend_state_connected(states[0]);
    check_order(BALANCE_ROUNDROBIN, 2, 3, "ab");
    assert_true(backend_state_failed(states[0], 4));
}

static void test_all_of_them_failed(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++)
        assert_true(backend_state_failed(states[i], 1));
    check_order(BALANCE_ROUNDROBIN, 3, 2, "abc");
    check_order(BALANCE_ROUNDROBIN, 3, 2, "bca");
}

static void test_one_name_is_one_backend(void **state)
{
    struct backend_state *again = backend_pool_take(&pool, "b");

    (void)state;
    assert_ptr_equal(again, states[1]);
    states[1]->connections = 7;
    backend_pool_give(&pool, states[1]);
    assert_int_equal(backend_pool_take(&pool, "b")->connections, 7);
    backend_pool_give(&pool, again);
    backend_pool_give(&pool, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_in_turn, begin, end),
        cmocka_unit_test_setup_teardown(test_connections_do_not_matter_in_turn, begin, end),
        cmocka_unit_test_setup_teardown(test_least_connections, begin, end),
        cmocka_unit_test_setup_teardown(test_who_failed_is_behind_for_a_while, begin, end),
        cmocka_unit_test_setup_teardown(test_failing_is_news_once, begin, end),
        cmocka_unit_test_setup_teardown(test_all_of_them_failed, begin, end),
        cmocka_unit_test_setup_teardown(test_one_name_is_one_backend, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
