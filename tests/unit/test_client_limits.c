/* What each client has, on a virtual clock; also where everything falls into one bucket, and
 * without memory. */
#include "client_limits.h"

#include "siphash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- what the linker puts in place of the real ones ---- */

static int allocations_left = -1; /* -1: as many as wanted */
static bool all_collide;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    if (allocations_left == 0)
        return NULL;
    if (allocations_left > 0)
        allocations_left--;
    return __real_calloc(count, size);
}

uint64_t __real_siphash(const uint8_t key[SIPHASH_KEY_SIZE], const void *data, size_t len);
uint64_t __wrap_siphash(const uint8_t key[SIPHASH_KEY_SIZE], const void *data, size_t len);
uint64_t __wrap_siphash(const uint8_t key[SIPHASH_KEY_SIZE], const void *data, size_t len)
{
    return all_collide ? 7 : __real_siphash(key, data, len);
}

/* ---- the table under test ---- */

static uint64_t now_ms;
static struct client_limits *limits;

static int set_up(void **state)
{
    (void)state;
    allocations_left = -1;
    all_collide = false;
    now_ms = 5000;
    limits = client_limits_new();
    return limits == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    allocations_left = -1;
    client_limits_free(limits); /* asserts that nothing is counted any more */
    return 0;
}

static void pass(uint64_t ms)
{
    now_ms += ms;
}

static struct ip ip_of(const char *text)
{
    struct ip ip;
    assert_true(ip_parse(text, strlen(text), &ip));
    return ip;
}

static struct ip numbered(unsigned n)
{
    char text[IP_TEXT_MAX];
    snprintf(text, sizeof(text), "10.%u.%u.%u", n >> 16 & 255, n >> 8 & 255, n & 255);
    return ip_of(text);
}

/* What is said to one more that leaves at once. */
static enum client_verdict judge_ip(const struct ip *ip, const struct client_bounds *bounds,
                                    bool *is_told)
{
    struct client_slot slot = {0};
    enum client_verdict verdict = client_limits_enter(limits, now_ms, ip, bounds, &slot, is_told);
    assert_int_equal(slot.client != NULL, verdict == CLIENT_IS_WELCOME);
    client_limits_leave(limits, now_ms, &slot);
    return verdict;
}

static bool enter_ip(const struct ip *ip, struct client_slot *slot)
{
    static const struct client_bounds none = {0};
    bool is_told;
    return client_limits_enter(limits, now_ms, ip, &none, slot, &is_told) == CLIENT_IS_WELCOME;
}

static enum client_verdict judge(const char *text, struct client_bounds bounds)
{
    struct ip ip = ip_of(text);
    bool is_told;
    return judge_ip(&ip, &bounds, &is_told);
}

static void enter(const char *text, struct client_slot *slot)
{
    struct ip ip = ip_of(text);
    assert_true(enter_ip(&ip, slot));
}

static const struct client_bounds two = {.connections = 2}, five_a_second = {.rate_per_s = 5};

static void test_59_connections(void **state)
{
    (void)state;
    struct client_slot s[3] = {0};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(judge("10.0.0.1", two), CLIENT_IS_WELCOME);
        enter("10.0.0.1", &s[i]);
    }
    assert_int_equal(judge("10.0.0.1", two), CLIENT_HAS_TOO_MANY);
    assert_int_equal(judge("10.0.0.2", two), CLIENT_IS_WELCOME);
    enter("10.0.0.2", &s[2]);
    assert_int_equal(judge("10.0.0.1", (struct client_bounds){0}), CLIENT_IS_WELCOME);
    client_limits_leave(limits, now_ms, &s[0]);
    client_limits_leave(limits, now_ms, &s[0]); /* harmless */
    assert_int_equal(judge("10.0.0.1", two), CLIENT_IS_WELCOME);
    enter("10.0.0.1", &s[0]); /* the slot may be used again */
    assert_int_equal(judge("10.0.0.1", two), CLIENT_HAS_TOO_MANY);
    for (int i = 0; i < 3; i++)
        client_limits_leave(limits, now_ms, &s[i]);
}

static void test_59_who_is_one_client(void **state)
{
    (void)state;
    static const struct {
        const char *one, *other;
        bool is_same;
    } cases[] = {
        {"10.0.0.1", "::ffff:10.0.0.1", true},
        {"10.0.0.1", "10.0.0.0", false},
        {"2001:db8::1", "2001:db8:0:0:ffff:ffff:ffff:ffff", true},
        {"2001:db8::1", "2001:db8:0:1::1", false},
        {"::1", "127.0.0.1", false},
        {"::", "0.0.0.0", false},
        {"::", "::fffe:0:1", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct client_slot s = {0};
        enter(cases[i].one, &s);
        assert_int_equal(judge(cases[i].other, (struct client_bounds){.connections = 1}),
                         cases[i].is_same ? CLIENT_HAS_TOO_MANY : CLIENT_IS_WELCOME);
        client_limits_leave(limits, now_ms, &s);
    }
}

static void test_rate(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) /* a second's worth at once */
        assert_int_equal(judge("10.0.0.1", five_a_second), CLIENT_IS_WELCOME);
    assert_int_equal(judge("10.0.0.1", five_a_second), CLIENT_IS_TOO_FAST);
    assert_int_equal(judge("10.0.0.2", five_a_second), CLIENT_IS_WELCOME);
    pass(199);
    assert_int_equal(judge("10.0.0.1", five_a_second), CLIENT_IS_TOO_FAST);
    pass(1);
    assert_int_equal(judge("10.0.0.1", five_a_second), CLIENT_IS_WELCOME);
    assert_int_equal(judge("10.0.0.1", five_a_second), CLIENT_IS_TOO_FAST);
    pass(3600 * 1000); /* no more than a second's worth is saved */
    for (int i = 0; i < 5; i++)
        assert_int_equal(judge("10.0.0.1", five_a_second), CLIENT_IS_WELCOME);
    assert_int_equal(judge("10.0.0.1", five_a_second), CLIENT_IS_TOO_FAST);
}

static void test_rate_of_extremes(void **state)
{
    (void)state;
    struct client_bounds one = {.rate_per_s = 1}, most = {.rate_per_s = UINT64_MAX};
    assert_int_equal(judge("10.0.0.1", one), CLIENT_IS_WELCOME);
    assert_int_equal(judge("10.0.0.1", one), CLIENT_IS_TOO_FAST);
    pass(999);
    assert_int_equal(judge("10.0.0.1", one), CLIENT_IS_TOO_FAST);
    pass(1);
    assert_int_equal(judge("10.0.0.1", one), CLIENT_IS_WELCOME);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(judge("10.0.0.2", most), CLIENT_IS_WELCOME);
    pass(1);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(judge("10.0.0.2", most), CLIENT_IS_WELCOME);
    /* a limit that has become smaller: what was saved beyond it is void */
    assert_int_equal(judge("10.0.0.2", one), CLIENT_IS_WELCOME);
    assert_int_equal(judge("10.0.0.2", one), CLIENT_IS_TOO_FAST);
}

/* Who is refused for the number of its connections pays nothing of its rate. */
static void test_rate_is_paid_by_who_gets_in(void **state)
{
    (void)state;
    struct client_bounds both = {.connections = 1, .rate_per_s = 2};
    struct client_slot s = {0};
    assert_int_equal(judge("10.0.0.1", both), CLIENT_IS_WELCOME);
    enter("10.0.0.1", &s);
    for (int i = 0; i < 5; i++)
        assert_int_equal(judge("10.0.0.1", both), CLIENT_HAS_TOO_MANY);
    client_limits_leave(limits, now_ms, &s);
    assert_int_equal(judge("10.0.0.1", both), CLIENT_IS_WELCOME);
    assert_int_equal(judge("10.0.0.1", both), CLIENT_IS_TOO_FAST);
}

static void test_some_are_told(void **state)
{
    (void)state;
    struct client_bounds one = {.connections = 1};
    struct ip ip = ip_of("10.0.0.1");
    struct client_slot s = {0};
    bool is_told;
    enter("10.0.0.1", &s);
    for (int second = 0; second < 3; second++) {
        for (int i = 0; i < 25; i++) {
            assert_int_equal(judge_ip(&ip, &one, &is_told), CLIENT_HAS_TOO_MANY);
            assert_int_equal(is_told, i < CLIENT_LIMITS_TOLD_A_SECOND);
        }
        pass(1000);
    }
    client_limits_leave(limits, now_ms, &s);
}

/* ---- half-closed ones ---- */

struct seen {
    const struct client_slot *slots;
    bool which[4];
    unsigned count;
};

static void look(void *arg, struct client_slot *slot)
{
    struct seen *seen = arg;
    seen->which[slot - seen->slots] = true;
    seen->count++;
}

static unsigned half_close(struct client_slot *slots, unsigned i, uint64_t most, struct seen *seen)
{
    *seen = (struct seen){.slots = slots};
    client_limits_half_close(limits, &slots[i], most, look, seen);
    return seen->count;
}

static void test_half_closed(void **state)
{
    (void)state;
    struct client_slot s[4] = {0}, stranger = {0};
    struct seen seen;
    for (int i = 0; i < 4; i++)
        enter("10.0.0.1", &s[i]);
    enter("10.0.0.2", &stranger);
    assert_int_equal(half_close(s, 0, 1, &seen), 0); /* not too many */
    assert_int_equal(half_close(s, 1, 0, &seen), 0); /* no limit */
    assert_int_equal(half_close(&stranger, 0, 1, &seen), 0);
    assert_int_equal(half_close(s, 2, 2, &seen), 3);
    assert_true(seen.which[0] && seen.which[1] && seen.which[2] && !seen.which[3]);
    client_limits_leave(limits, now_ms, &s[1]);
    assert_int_equal(half_close(s, 3, 3, &seen), 0);
    client_limits_leave(limits, now_ms, &s[3]);
    client_limits_leave(limits, now_ms, &s[0]);
    client_limits_leave(limits, now_ms, &stranger);
    enter("10.0.0.1", &s[0]);
    assert_int_equal(half_close(s, 0, 1, &seen), 2);
    assert_true(seen.which[0] && !seen.which[1] && seen.which[2] && !seen.which[3]);
    client_limits_leave(limits, now_ms, &s[2]);
    client_limits_leave(limits, now_ms, &s[0]);
    struct client_slot unknown = {0};
    assert_int_equal(half_close(&unknown, 0, 1, &seen), 0);
}

/* Loops are not told the time at the same time. */
static void test_time_does_not_go_back(void **state)
{
    (void)state;
    struct client_bounds one = {.rate_per_s = 1};
    assert_int_equal(judge("10.0.0.1", one), CLIENT_IS_WELCOME);
    now_ms -= 3;
    assert_int_equal(judge("10.0.0.1", one), CLIENT_IS_TOO_FAST);
    assert_int_equal(client_limits_known(limits), 1);
    now_ms += 3;
}

/* ---- memory ---- */

static void test_who_is_gone_is_forgotten(void **state)
{
    (void)state;
    struct client_slot s[2] = {0};
    enter("10.0.0.1", &s[0]);
    pass(5000);
    enter("10.0.0.2", &s[1]);
    assert_int_equal(client_limits_known(limits), 2);
    client_limits_leave(limits, now_ms, &s[0]);
    assert_int_equal(client_limits_known(limits), 2);
    pass(999);
    client_limits_leave(limits, now_ms, &s[1]);
    assert_int_equal(client_limits_known(limits), 2);
    pass(1);
    assert_int_equal(judge("10.0.0.3", two), CLIENT_IS_WELCOME);
    assert_int_equal(client_limits_known(limits), 2); /* the second, and this one */
    pass(1000);
    judge("10.0.0.4", two);
    assert_int_equal(client_limits_known(limits), 1);
}

static void test_a_flood_of_addresses_is_bounded(void **state)
{
    (void)state;
    struct client_slot s = {0};
    bool is_told;
    enter("192.0.2.1", &s);
    struct client_bounds one = {.connections = 1, .rate_per_s = 1};
    for (unsigned i = 0; i < 3 * CLIENT_LIMITS_IDLE_MAX; i++) {
        struct ip ip = numbered(i);
        assert_int_equal(judge_ip(&ip, &one, &is_told), CLIENT_IS_WELCOME);
        assert_true(client_limits_known(limits) <= CLIENT_LIMITS_IDLE_MAX + 1);
    }
    /* Who has a connection is not forgotten for it; nor are the youngest of the others. */
    assert_int_equal(judge("192.0.2.1", one), CLIENT_HAS_TOO_MANY);
    struct ip last = numbered(3 * CLIENT_LIMITS_IDLE_MAX - 1), first = numbered(0);
    assert_int_equal(judge_ip(&last, &one, &is_told), CLIENT_IS_TOO_FAST);
    assert_int_equal(judge_ip(&first, &one, &is_told), CLIENT_IS_WELCOME);
    client_limits_leave(limits, now_ms, &s);
    pass(1000);
    judge("10.0.0.1", one);
    assert_int_equal(client_limits_known(limits), 1);
}

/* Random comings and goings against a plain count. */
static void check_against_a_model(void)
{
    enum { CLIENTS = 40, SLOTS = 300 };
    static struct client_slot slots[SLOTS];
    unsigned owner[SLOTS] = {0}, expected[CLIENTS] = {0};
    uint32_t random = 12345;
    memset(slots, 0, sizeof(slots));
    for (int step = 0; step < 20000; step++) {
        random = random * 1664525 + 1013904223;
        unsigned slot = (random >> 8) % SLOTS, client = (random >> 20) % CLIENTS;
        struct ip ip = numbered(client * 7919);
        if (slots[slot].client != NULL) {
            client_limits_leave(limits, now_ms, &slots[slot]);
            expected[owner[slot]]--;
        } else {
            assert_true(enter_ip(&ip, &slots[slot]));
            owner[slot] = client;
            expected[client]++;
        }
        if (random % 5 == 0)
            pass(random % 700);
        for (uint64_t more = 0; more < 2; more++) {
            struct client_bounds b = {.connections = expected[client] + more};
            bool is_told;
            if (b.connections != 0)
                assert_int_equal(judge_ip(&ip, &b, &is_told),
                                 more == 0 ? CLIENT_HAS_TOO_MANY : CLIENT_IS_WELCOME);
        }
    }
    for (int i = 0; i < SLOTS; i++)
        client_limits_leave(limits, now_ms, &slots[i]);
}

static void test_59_any_order(void **state)
{
    (void)state;
    check_against_a_model();
}

static void test_59_any_order_in_one_bucket(void **state)
{
    (void)state;
    all_collide = true;
    check_against_a_model();
}

static void test_out_of_memory(void **state)
{
    (void)state;
    struct ip ip = ip_of("10.0.0.1");
    struct client_slot slots[200] = {0}, none = {0};
    bool is_told;
    for (allocations_left = 0; allocations_left < 2;) {
        int before = allocations_left;
        assert_null(client_limits_new());
        allocations_left = before + 1;
    }
    allocations_left = 0;
    assert_int_equal(judge_ip(&ip, &two, &is_told), CLIENT_NO_MEMORY);
    assert_false(enter_ip(&ip, &none));
    assert_null(none.client);
    client_limits_leave(limits, now_ms, &none);
    /* Without memory for more buckets (the 65th client wants them) it goes on with those it has. */
    for (unsigned i = 0; i < 200; i++) {
        struct ip one = numbered(i);
        allocations_left = 1;
        assert_true(enter_ip(&one, &slots[i]));
    }
    for (unsigned i = 0; i < 200; i++) {
        struct ip one = numbered(i);
        struct client_bounds bound = {.connections = 1};
        assert_int_equal(judge_ip(&one, &bound, &is_told), CLIENT_HAS_TOO_MANY);
        client_limits_leave(limits, now_ms, &slots[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_59_connections, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_59_who_is_one_client, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rate_of_extremes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rate_is_paid_by_who_gets_in, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_some_are_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_half_closed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_time_does_not_go_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_is_gone_is_forgotten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_flood_of_addresses_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_59_any_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_59_any_order_in_one_bucket, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_out_of_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
