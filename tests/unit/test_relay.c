/* The half-close rules of docs/half-close.md, each by its title, on two programs and one relay in
 * memory. */
#include "memory_pipe.h"
#include "model_app.h"
#include "relay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct bench {
    struct scheduler scheduler;
    struct memory_pipe client, backend; /* end 0: the program; end 1: the relay's */
    struct model_app a, b;
    struct relay relay;
    struct relay_limits limits;
    struct relay_report report;
    int done;
};

static struct bench bench;

static int first_ends;

static void on_first_end(struct relay *r)
{
    assert_ptr_equal(r, &bench.relay);
    first_ends++;
}

static void on_done(struct relay *r, const struct relay_report *report)
{
    assert_ptr_equal(r, &bench.relay);
    bench.done++;
    bench.report = *report;
}

static int setup_with(struct relay_limits limits)
{
    bench = (struct bench){.limits = limits};
    scheduler_init(&bench.scheduler, 5000);
    memory_pipe_init(&bench.client, 1000);
    memory_pipe_init(&bench.backend, 1000);
    static const struct relay_handler handler = {on_done, on_first_end};
    relay_start(&bench.relay, &bench.scheduler, &bench.client.end[1].duplex,
                &bench.backend.end[1].duplex, &bench.limits, &handler);
    model_app_init(&bench.a, &bench.client.end[0].duplex, 1, 2);
    model_app_init(&bench.b, &bench.backend.end[0].duplex, 2, 1);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return setup_with((struct relay_limits){.idle_ms = 0, .half_closed_ms = 3600000});
}

static int setup_idle(void **state)
{
    (void)state;
    return setup_with((struct relay_limits){.idle_ms = 500, .half_closed_ms = 0});
}

static int setup_lifetime(void **state)
{
    (void)state;
    return setup_with((struct relay_limits){.lifetime_ms = 10000});
}

static int teardown(void **state)
{
    (void)state;
    assert_false(bench.a.has_seen_wrong);
    assert_false(bench.b.has_seen_wrong);
    memory_pipe_break(&bench.client, CAUSE_LOST);
    memory_pipe_break(&bench.backend, CAUSE_LOST);
    scheduler_run_tasks(&bench.scheduler);
    assert_int_equal(bench.done, 1);
    memory_pipe_clear(&bench.client);
    memory_pipe_clear(&bench.backend);
    return 0;
}

/* Lets everything arrive that can. */
static void flow(void)
{
    bool is_moving = true;
    while (is_moving) {
        is_moving = false;
        for (int from = 0; from < 2; from++) {
            is_moving |= memory_pipe_step(&bench.client, from, SIZE_MAX);
            is_moving |= memory_pipe_step(&bench.backend, from, SIZE_MAX);
        }
        scheduler_run_tasks(&bench.scheduler);
    }
    model_app_close_if_complete(&bench.a);
    model_app_close_if_complete(&bench.b);
}

static void wait_ms(uint64_t ms)
{
    scheduler_advance(&bench.scheduler, bench.scheduler.now_ms + ms);
    flow();
}

static void test_rule_1_directions_are_independent(void **state)
{
    (void)state;
    model_app_send(&bench.a, 100);
    model_app_end(&bench.a);
    flow();
    assert_true(bench.b.has_seen_end);
    assert_int_equal(bench.b.received, 100);
    assert_false(bench.a.has_seen_end);
    for (int i = 0; i < 50; i++) {
        model_app_send(&bench.b, 1000);
        flow();
    }
    assert_int_equal(bench.a.received, 50000);
    assert_int_equal(bench.done, 0);
    wait_ms(1500);
    model_app_end(&bench.b);
    flow();
    assert_true(bench.a.has_seen_end);
    assert_int_equal(bench.done, 1);
    assert_int_equal(bench.report.cause.what, CAUSE_OK);
    assert_int_equal(bench.report.first_end, RELAY_CLIENT);
    assert_int_equal(bench.report.half_closed_ms, 1500);
    assert_int_equal(bench.report.bytes[RELAY_CLIENT], 100);
    assert_int_equal(bench.report.bytes[RELAY_BACKEND], 50000);
}

static void test_rule_1_backend_may_end_first(void **state)
{
    (void)state;
    model_app_send(&bench.b, 10);
    model_app_end(&bench.b);
    flow();
    assert_true(bench.a.has_seen_end);
    model_app_send(&bench.a, 1000);
    flow();
    model_app_end(&bench.a);
    flow();
    assert_int_equal(bench.b.received, 1000);
    assert_true(bench.b.has_seen_end);
    assert_int_equal(bench.report.cause.what, CAUSE_OK);
    assert_int_equal(bench.report.first_end, RELAY_BACKEND);
}

static void test_rule_2_an_end_travels_behind_the_bytes(void **state)
{
    (void)state;
    duplex_pause(bench.b.duplex);
    for (int i = 0; i < 5; i++)
        model_app_send(&bench.a, 1000);
    model_app_end(&bench.a);
    flow();
    assert_int_equal(bench.b.received, 0);
    assert_false(bench.b.has_seen_end);
    duplex_resume(bench.b.duplex);
    while (bench.b.received < bench.a.sent) {
        assert_false(bench.b.has_seen_end);
        flow();
    }
    assert_true(bench.b.has_seen_end);
}

static void test_rule_3_a_failure_is_never_an_end(void **state)
{
    (void)state;
    model_app_send(&bench.a, 10);
    model_app_abort(&bench.a);
    flow();
    assert_int_equal(bench.b.received, 10); /* rule 4: the bytes before it arrive */
    assert_true(bench.b.has_seen_break);
    assert_false(bench.b.has_seen_end);
    assert_int_equal(bench.report.cause.what, CAUSE_RESET);
    assert_int_equal(bench.report.cause.where, CAUSE_AT_CLIENT);
}

static void test_rule_3_a_failure_behind_an_end_is_still_a_failure(void **state)
{
    (void)state;
    model_app_end(&bench.a);
    flow();
    model_app_send(&bench.b, 10);
    model_app_abort(&bench.b);
    flow();
    assert_int_equal(bench.a.received, 10);
    assert_true(bench.a.has_seen_break);
    assert_false(bench.a.has_seen_end);
    assert_int_equal(bench.report.cause.where, CAUSE_AT_BACKEND);
}

static void
test_rule_6_half_closed_is_bounded_by_an_idle_timer_that_every_byte_restarts(void **state)
{
    (void)state;
    bench.limits.half_closed_ms = 1000;
    wait_ms(100000); /* both open: not counted */
    model_app_end(&bench.a);
    flow();
    for (int i = 0; i < 10; i++) {
        wait_ms(900);
        model_app_send(&bench.b, 1);
        flow();
    }
    assert_int_equal(bench.done, 0);
    wait_ms(999);
    assert_int_equal(bench.done, 0);
    wait_ms(1);
    assert_int_equal(bench.done, 1);
    assert_int_equal(bench.report.cause.what, CAUSE_HALF_CLOSED);
    assert_int_equal(bench.report.cause.where, CAUSE_AT_PROXY);
    assert_true(bench.a.has_seen_break);
    assert_false(bench.a.has_seen_end);
}

static void test_41_a_slow_reader_is_not_idle(void **state)
{
    (void)state;
    bench.limits.half_closed_ms = 1000;
    model_app_end(&bench.b);
    flow();
    duplex_pause(bench.b.duplex);
    model_app_send(&bench.a, 1000);
    flow();
    for (int i = 0; i < 20; i++) { /* no byte comes, but one leaves every 900 ms */
        wait_ms(900);
        duplex_resume(bench.b.duplex);
        memory_pipe_step(&bench.backend, 1, 1);
        duplex_pause(bench.b.duplex);
    }
    assert_int_equal(bench.done, 0);
    wait_ms(200); /* sees the last one leave */
    wait_ms(1000);
    assert_int_equal(bench.report.cause.what, CAUSE_HALF_CLOSED);
}

static void test_idle_timer_counts_while_both_are_open(void **state)
{
    (void)state;
    wait_ms(400);
    model_app_send(&bench.a, 1);
    flow();
    wait_ms(499);
    assert_int_equal(bench.done, 0);
    wait_ms(1);
    assert_int_equal(bench.done, 1);
    assert_int_equal(bench.report.cause.what, CAUSE_IDLE);
}

/* Whatever goes on: bytes, an end of one side. It is a break of both, never an end. */
static void test_lifetime_breaks_both(void **state)
{
    (void)state;
    model_app_send(&bench.a, 10);
    model_app_end(&bench.a);
    flow();
    for (int i = 0; i < 8; i++) {
        wait_ms(1000);
        model_app_send(&bench.b, 100);
        flow();
    }
    wait_ms(999);
    assert_int_equal(bench.done, 0);
    wait_ms(1001); /* 10 s by now */
    assert_int_equal(bench.done, 1);
    assert_int_equal(bench.report.cause.what, CAUSE_LIFETIME);
    assert_int_equal(bench.report.cause.where, CAUSE_AT_PROXY);
    assert_int_equal(bench.report.bytes[RELAY_BACKEND], 800);
    assert_false(bench.a.has_seen_end);
    assert_true(bench.a.has_seen_break && bench.b.has_seen_break);
    assert_int_equal(bench.client.end[1].abort_cause.what, CAUSE_LIFETIME);
    assert_int_equal(bench.backend.end[1].abort_cause.what, CAUSE_LIFETIME);
}

/* What came together does not go together: a tenth of the time is by chance, and all of it is used.
 */
static void test_lifetimes_are_spread(void **state)
{
    uint64_t least = UINT64_MAX, most = 0;
    for (int i = 0; i < 300; i++) {
        uint64_t at_ms;
        assert_true(scheduler_next(&bench.scheduler, &at_ms));
        uint64_t life_ms = at_ms - bench.scheduler.now_ms;
        assert_true(life_ms >= 9000 && life_ms <= 10000);
        least = life_ms < least ? life_ms : least;
        most = life_ms > most ? life_ms : most;
        teardown(state);
        setup_lifetime(state);
    }
    assert_true(least < 9300 && most > 9700);
}

static void test_without_a_lifetime_there_is_none(void **state)
{
    (void)state;
    uint64_t at_ms;
    assert_false(scheduler_next(&bench.scheduler, &at_ms)); /* setup has no limit for open ones */
}

static void test_rule_7_clean_close_only_when_both_ends_have_been_applied(void **state)
{
    (void)state;
    duplex_pause(bench.b.duplex);
    model_app_send(&bench.a, 500);
    model_app_end(&bench.a);
    model_app_end(&bench.b);
    flow();
    assert_true(bench.a.has_seen_end);
    assert_int_equal(bench.done, 0); /* the backend has not taken the end yet */
    assert_false(memory_end_is_released(&bench.client.end[1]));
    duplex_resume(bench.b.duplex);
    flow();
    assert_int_equal(bench.done, 1);
    assert_true(bench.client.end[1].is_closed);
    assert_true(bench.backend.end[1].is_closed);
}

static void test_full_out_pause_in(void **state)
{
    (void)state;
    duplex_pause(bench.b.duplex);
    for (int i = 0; i < 20; i++) {
        model_app_send(&bench.a, 1000);
        flow();
    }
    assert_true(bench.a.sent < 5000); /* two pipes of 1,000 and one write over each */
    assert_true(bench.client.end[1].is_paused);
    model_app_send(&bench.b, 100); /* the other direction goes on */
    flow();
    assert_int_equal(bench.a.received, 100);
    duplex_resume(bench.b.duplex);
    flow();
    assert_int_equal(bench.b.received, bench.a.sent);
    assert_false(bench.client.end[1].is_paused);
}

static void test_rule_10_the_first_cause_wins(void **state)
{
    (void)state;
    relay_abort(&bench.relay, (struct cause){.what = CAUSE_SHUTDOWN});
    relay_abort(&bench.relay, (struct cause){.what = CAUSE_INTERNAL});
    model_app_abort(&bench.a);
    flow();
    assert_int_equal(bench.done, 1);
    assert_int_equal(bench.report.cause.what, CAUSE_SHUTDOWN);
    assert_int_equal(bench.client.end[1].abort_cause.what, CAUSE_SHUTDOWN);
    assert_int_equal(bench.backend.end[1].abort_cause.what, CAUSE_SHUTDOWN);
    assert_true(bench.b.has_seen_break);
}

static void test_36_crossing_ends_close_once(void **state)
{
    (void)state;
    model_app_send(&bench.a, 5);
    model_app_send(&bench.b, 6);
    model_app_end(&bench.a);
    model_app_end(&bench.b);
    flow();
    assert_int_equal(bench.done, 1);
    assert_int_equal(bench.report.cause.what, CAUSE_OK);
    assert_true(bench.a.has_seen_end && bench.b.has_seen_end);
}

static void test_who_watches_is_told_of_the_first_end(void **state)
{
    (void)state;
    first_ends = 0;
    model_app_send(&bench.b, 10);
    flow();
    assert_int_equal(first_ends, 0);
    model_app_end(&bench.b);
    flow();
    assert_int_equal(first_ends, 1);
    model_app_end(&bench.a);
    flow();
    assert_int_equal(first_ends, 1);
    assert_int_equal(bench.done, 1);
}

#define rule_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        rule_test(test_rule_1_directions_are_independent),
        rule_test(test_rule_1_backend_may_end_first),
        rule_test(test_rule_2_an_end_travels_behind_the_bytes),
        rule_test(test_rule_3_a_failure_is_never_an_end),
        rule_test(test_rule_3_a_failure_behind_an_end_is_still_a_failure),
        rule_test(test_rule_6_half_closed_is_bounded_by_an_idle_timer_that_every_byte_restarts),
        rule_test(test_41_a_slow_reader_is_not_idle),
        cmocka_unit_test_setup_teardown(test_idle_timer_counts_while_both_are_open, setup_idle,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_lifetime_breaks_both, setup_lifetime, teardown),
        cmocka_unit_test_setup_teardown(test_lifetimes_are_spread, setup_lifetime, teardown),
        rule_test(test_without_a_lifetime_there_is_none),
        rule_test(test_rule_7_clean_close_only_when_both_ends_have_been_applied),
        rule_test(test_full_out_pause_in),
        rule_test(test_who_watches_is_told_of_the_first_end),
        rule_test(test_rule_10_the_first_cause_wins),
        rule_test(test_36_crossing_ends_close_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
