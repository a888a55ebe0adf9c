#include "scheduler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "span.h"

#define COUNT 500

struct probe {
    struct deadline deadline;
    struct task task;
    struct scheduler *scheduler;
    int fired, ran;
    uint64_t again_ms;    /* set anew when it fires */
    struct probe *victim; /* cleared when it fires */
    bool is_eager;        /* when run: defers its task again, as a costly one */
};

static uint64_t last_at_ms;
static const struct probe *ran_last;

static void fire(struct deadline *d)
{
    struct probe *p = container_of(d, struct probe, deadline);
    assert_false(deadline_is_set(d));
    assert_true(d->at_ms >= last_at_ms);
    last_at_ms = d->at_ms;
    p->fired++;
    if (p->victim != NULL)
        deadline_clear(p->scheduler, &p->victim->deadline);
    if (p->again_ms > 0)
        deadline_set(p->scheduler, d, p->again_ms);
}

static void run(struct task *t)
{
    struct probe *p = container_of(t, struct probe, task);
    p->ran++;
    ran_last = p;
    if (p->victim != NULL)
        task_defer(p->scheduler, &p->victim->task);
    if (p->is_eager)
        task_defer_costly(p->scheduler, t);
}

static void probe_init(struct probe *p, struct scheduler *s)
{
    *p = (struct probe){.scheduler = s};
    deadline_init(&p->deadline, fire);
    task_init(&p->task, run);
}

static void test_deadlines_fire_in_order_and_when_due(void **state)
{
    (void)state;
    struct scheduler s;
    scheduler_init(&s, 100);
    struct probe *p = calloc(COUNT, sizeof *p);
    assert_non_null(p);
    last_at_ms = 0;
    srand(1);
    for (int i = 0; i < COUNT; i++) {
        probe_init(&p[i], &s);
        deadline_set(&s, &p[i].deadline, (uint64_t)(rand() % 1000));
    }
    /* Every third is taken out again, every fifth moved. */
    for (int i = 0; i < COUNT; i++) {
        if (i % 3 == 0)
            deadline_clear(&s, &p[i].deadline);
        else if (i % 5 == 0)
            deadline_set(&s, &p[i].deadline, (uint64_t)(rand() % 2000));
    }
    for (uint64_t now_ms = 100; now_ms <= 2200; now_ms += 7) {
        scheduler_advance(&s, now_ms);
        uint64_t next_ms;
        if (scheduler_next(&s, &next_ms))
            assert_true(next_ms > now_ms);
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(p[i].fired, i % 3 != 0 && p[i].deadline.at_ms <= now_ms);
    }
    uint64_t none;
    assert_false(scheduler_next(&s, &none));
    assert_int_equal(s.armed, 0);
    free(p);
}

static void test_a_deadline_may_set_itself_again_and_clear_another_that_is_due(void **state)
{
    (void)state;
    struct scheduler s;
    scheduler_init(&s, 0);
    struct probe a, b, c;
    probe_init(&a, &s);
    probe_init(&b, &s);
    probe_init(&c, &s);
    last_at_ms = 0;
    a.victim = &b;
    c.again_ms = 1;
    deadline_set(&s, &a.deadline, 10);
    deadline_set(&s, &b.deadline, 20);
    deadline_set(&s, &c.deadline, 30);
    scheduler_advance(&s, 50);
    assert_int_equal(a.fired, 1);
    assert_int_equal(b.fired, 0);
    assert_int_equal(c.fired, 1);
    assert_true(deadline_is_set(&c.deadline));
    scheduler_advance(&s, 51);
    assert_int_equal(c.fired, 2);
    deadline_clear(&s, &c.deadline);
    deadline_clear(&s, &c.deadline);
}

/* Seen from inside: the one that fires is not set any more, those that are due still are. */
struct census {
    struct deadline deadline;
    const struct scheduler *scheduler;
    size_t armed;
};

static void take_census(struct deadline *d)
{
    struct census *c = container_of(d, struct census, deadline);
    c->armed = c->scheduler->armed;
}

static void test_armed_deadlines_are_counted(void **state)
{
    (void)state;
    struct scheduler s;
    struct census c[4];
    scheduler_init(&s, 0);
    assert_int_equal(s.armed, 0);
    for (unsigned i = 0; i < 4; i++) {
        c[i].scheduler = &s;
        deadline_init(&c[i].deadline, take_census);
        deadline_clear(&s, &c[i].deadline);
        deadline_set(&s, &c[i].deadline, 10 + i);
        assert_int_equal(s.armed, i + 1);
    }
    deadline_set(&s, &c[3].deadline, 1000);
    assert_int_equal(s.armed, 4);
    scheduler_advance(&s, 100);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(c[i].armed, 3 - i);
    assert_int_equal(s.armed, 1);
    deadline_clear(&s, &c[3].deadline);
    deadline_clear(&s, &c[3].deadline);
    assert_int_equal(s.armed, 0);

    struct probe a, b; /* one that fires clears another that is due */
    probe_init(&a, &s);
    probe_init(&b, &s);
    last_at_ms = 0;
    a.victim = &b;
    deadline_set(&s, &a.deadline, 1);
    deadline_set(&s, &b.deadline, 2);
    scheduler_advance(&s, 200);
    assert_int_equal(s.armed, 0);
}

static void test_time_never_goes_back_and_huge_delays_do_not_wrap(void **state)
{
    (void)state;
    struct scheduler s;
    scheduler_init(&s, 1000);
    struct probe a;
    probe_init(&a, &s);
    scheduler_advance(&s, 500);
    assert_int_equal(s.now_ms, 1000);
    deadline_set(&s, &a.deadline, UINT64_MAX);
    scheduler_advance(&s, 1001);
    assert_int_equal(a.fired, 0);
    deadline_clear(&s, &a.deadline);
}

static void test_time_may_be_ahead_of_what_fires(void **state)
{
    (void)state;
    struct scheduler s;
    scheduler_init(&s, 0);
    struct probe a, b;
    probe_init(&a, &s);
    probe_init(&b, &s);
    last_at_ms = 0;
    a.again_ms = 10;
    deadline_set(&s, &a.deadline, 10);
    deadline_set(&s, &b.deadline, 20);
    scheduler_set_now(&s, 100);
    scheduler_fire(&s, 19);
    assert_int_equal(a.fired, 1);
    assert_int_equal(b.fired, 0);
    assert_int_equal(a.deadline.at_ms, 110); /* counted from the time, not from what was due */
    scheduler_set_now(&s, 99);
    assert_int_equal(s.now_ms, 100);
    scheduler_fire(&s, 109);
    assert_int_equal(b.fired, 1);
    deadline_clear(&s, &a.deadline);
}

static void test_tasks_run_once_in_order_also_those_deferred_by_tasks(void **state)
{
    (void)state;
    struct scheduler s;
    scheduler_init(&s, 0);
    struct probe a, b, c;
    probe_init(&a, &s);
    probe_init(&b, &s);
    probe_init(&c, &s);
    a.victim = &c;
    task_defer(&s, &a.task);
    task_defer(&s, &b.task);
    task_defer(&s, &b.task);
    assert_true(scheduler_has_tasks(&s));
    scheduler_run_tasks(&s);
    assert_int_equal(a.ran, 1);
    assert_int_equal(b.ran, 1);
    assert_int_equal(c.ran, 1);
    assert_false(scheduler_has_tasks(&s));
    task_defer(&s, &a.task);
    task_defer(&s, &b.task);
    task_cancel(&s, &b.task);
    task_defer(&s, &c.task);
    task_cancel(&s, &a.task);
    scheduler_run_tasks(&s);
    assert_int_equal(a.ran, 1);
    assert_int_equal(b.ran, 1);
    assert_int_equal(c.ran, 2);
}

static void test_one_costly_task_a_turn_in_order(void **state)
{
    (void)state;
    struct scheduler s;
    scheduler_init(&s, 0);
    struct probe costly[4], before, after;
    for (int i = 0; i < 4; i++) {
        probe_init(&costly[i], &s);
        task_defer_costly(&s, &costly[i].task);
        task_defer_costly(&s, &costly[i].task);
    }
    probe_init(&before, &s);
    probe_init(&after, &s);
    task_defer(&s, &before.task);
    costly[0].victim = &after;
    costly[0].is_eager = true; /* behind the others, then */
    for (int turn = 0; turn < 4; turn++) {
        assert_true(scheduler_has_tasks(&s));
        scheduler_run_tasks(&s);
        assert_int_equal(before.ran, 1);
        assert_int_equal(after.ran, 1);
        for (int i = 0; i < 4; i++)
            assert_int_equal(costly[i].ran, i <= turn);
        assert_ptr_equal(ran_last, turn == 0 ? &after : &costly[turn]);
    }
    costly[0].is_eager = false;
    scheduler_run_tasks(&s);
    assert_int_equal(costly[0].ran, 2);
    assert_false(scheduler_has_tasks(&s));
}

static void test_a_costly_task_can_be_cancelled(void **state)
{
    (void)state;
    struct scheduler s;
    for (int gone = 0; gone < 3; gone++) {
        scheduler_init(&s, 0);
        struct probe costly[3], usual;
        probe_init(&usual, &s);
        task_defer(&s, &usual.task);
        for (int i = 0; i < 3; i++) {
            probe_init(&costly[i], &s);
            task_defer_costly(&s, &costly[i].task);
        }
        task_cancel(&s, &costly[gone].task);
        task_cancel(&s, &costly[gone].task);
        task_cancel(&s, &usual.task);
        assert_false(task_is_queued(&costly[gone].task));
        task_defer(&s, &usual.task);
        task_defer_costly(&s, &costly[gone].task); /* the last now */
        scheduler_run_tasks(&s);
        scheduler_run_tasks(&s);
        assert_int_equal(costly[gone].ran, 0);
        assert_int_equal(usual.ran, 1);
        scheduler_run_tasks(&s);
        for (int i = 0; i < 3; i++)
            assert_int_equal(costly[i].ran, 1);
        assert_false(scheduler_has_tasks(&s));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deadlines_fire_in_order_and_when_due),
        cmocka_unit_test(test_a_deadline_may_set_itself_again_and_clear_another_that_is_due),
        cmocka_unit_test(test_armed_deadlines_are_counted),
        cmocka_unit_test(test_time_never_goes_back_and_huge_delays_do_not_wrap),
        cmocka_unit_test(test_time_may_be_ahead_of_what_fires),
        cmocka_unit_test(test_tasks_run_once_in_order_also_those_deferred_by_tasks),
        cmocka_unit_test(test_one_costly_task_a_turn_in_order),
        cmocka_unit_test(test_a_costly_task_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
