/* The loop: when it runs, when it returns, and whether its time is right. */
#include "io_kit.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

struct note {
    struct deadline deadline;
    struct task task;
    struct loop *l;
    unsigned fired, ran;
    uint64_t fired_ms;
    unsigned again; /* so many times more */
};

static void on_fire(struct deadline *d)
{
    struct note *n = container_of(d, struct note, deadline);
    n->fired++;
    n->fired_ms = kit_now_ms();
    loop_stop(n->l);
}

static void on_run(struct task *t)
{
    struct note *n = container_of(t, struct note, task);
    n->ran++;
    if (n->again > 0) {
        n->again--;
        task_defer(loop_scheduler(n->l), t);
    }
}

static void note_init(struct note *n, struct loop *l)
{
    *n = (struct note){.l = l};
    deadline_init(&n->deadline, on_fire);
    task_init(&n->task, on_run);
}

static void test_returns_when_nothing_is_open(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    loop_run(l);
    struct note n;
    note_init(&n, l);
    n.again = 3;
    task_defer(loop_scheduler(l), &n.task);
    deadline_set(loop_scheduler(l), &n.deadline, 100000); /* does not count */
    loop_run(l);
    assert_int_equal(n.ran, 4);
    assert_int_equal(n.fired, 0);
    assert_int_equal(loop_open_streams(l), 0);
    loop_free(l);
    loop_free(NULL);
}

static void test_paused_stream_keeps_it_running(void **state)
{
    (void)state;
    struct world w;
    uint64_t start_ms = kit_now_ms(); /* the loop's time stands still until it runs */
    world_open(&w, STREAM_TCP, &kit_options);
    struct note n;
    note_init(&n, w.l);
    deadline_set(loop_scheduler(w.l), &n.deadline, 100);
    loop_run(w.l);
    assert_int_equal(n.fired, 1);
    assert_in_range(n.fired_ms - start_ms, 98, 2000);
    world_end(&w);
}

static void test_deadlines_fire_in_order_and_can_move(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    struct scheduler *s = loop_scheduler(w.l);
    struct note first, second, moved, cleared;
    note_init(&first, w.l);
    note_init(&second, w.l);
    note_init(&moved, w.l);
    note_init(&cleared, w.l);
    deadline_set(s, &second.deadline, 60);
    deadline_set(s, &first.deadline, 30);
    deadline_set(s, &moved.deadline, 10);
    deadline_set(s, &cleared.deadline, 20);
    deadline_set(s, &moved.deadline, 90);
    deadline_clear(s, &cleared.deadline);
    loop_run(w.l);
    assert_int_equal(first.fired, 1);
    assert_int_equal(second.fired + moved.fired, 0);
    loop_run(w.l);
    assert_int_equal(second.fired, 1);
    loop_run(w.l);
    assert_int_equal(moved.fired, 1);
    assert_int_equal(cleared.fired, 0);
    world_end(&w);
}

static void *send_later(void *arg)
{
    const int *fd = arg;
    usleep(300000); /* the loop shall have slept */
    uint8_t byte;
    kit_pattern(&byte, 1, 0);
    send(*fd, &byte, 1, MSG_NOSIGNAL);
    return NULL;
}

static struct note late;
static uint64_t woke_ms;

static void on_event_set(struct app *a, const char *event)
{
    (void)event;
    woke_ms = kit_now_ms();
    assert_int_equal(loop_scheduler(a->l)->now_ms, loop_now_ms(a->l));
    deadline_set(loop_scheduler(a->l), &late.deadline, 200);
}

/* A deadline set when the loop wakes up counts from then, not from when it fell asleep. */
static void test_time_is_fresh_in_events(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    note_init(&late, w.l);
    w.app.hook = on_event_set;
    app_resume(&w.app);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, send_later, &w.peer.fd), 0);
    while (w.app.got == 0)
        loop_run(w.l);
    while (late.fired == 0)
        loop_run(w.l);
    assert_in_range(late.fired_ms - woke_ms, 100, 5000);
    pthread_join(thread, NULL);
    world_end(&w);
}

static unsigned signals;
static int last_signal;

static void on_signal(void *arg, int signum)
{
    signals++;
    last_signal = signum;
    loop_stop(arg);
}

static void on_other_signal(void *arg, int signum)
{
    (void)signum;
    signals += 100;
    loop_stop(arg);
}

static void test_signals(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    signals = 0;
    assert_int_equal(loop_on_signal(w.l, SIGUSR1, on_signal, w.l), 0);
    assert_int_equal(loop_on_signal(w.l, SIGTERM, on_signal, w.l), 0);
    assert_true(loop_on_signal(w.l, SIGKILL, on_signal, w.l) < 0);
    raise(SIGUSR1);
    KIT_WAIT(w.l, signals == 1);
    raise(SIGTERM);
    KIT_WAIT(w.l, signals == 2);
    assert_int_equal(last_signal, SIGTERM);
    assert_int_equal(loop_on_signal(w.l, SIGUSR1, on_other_signal, w.l), 0);
    raise(SIGUSR1);
    KIT_WAIT(w.l, signals == 102);
    /* watches alone do not keep it running */
    app_abort(&w.app);
    kit_run_dry(w.l, 1000);
    loop_run(w.l);
    world_end(&w);
}

static void test_sigpipe_is_ignored(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_DFL);
    struct loop *l = loop_new();
    int fds[2];
    kit_unix_pair(fds);
    close(fds[1]);
    assert_int_equal(write(fds[0], "x", 1), -1);
    close(fds[0]);
    loop_free(l);
}

static void on_run_abort(struct task *t)
{
    struct note *n = container_of(t, struct note, task);
    n->ran++;
    loop_reset_streams(n->l);
}

/* The last stream ends in a task, right before the loop would sleep. */
static void test_returns_when_a_task_ends_the_last_stream(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    struct note n;
    note_init(&n, w.l);
    task_init(&n.task, on_run_abort);
    task_defer(loop_scheduler(w.l), &n.task);
    w.app.releases = 0;
    while (w.app.releases == 0)
        loop_run(w.l);
    loop_run(w.l);
    assert_int_equal(n.ran, 1);
    world_end(&w);
}

/* Nothing may spin: a second of one paused and one reading stream costs next to no processor time.
 */
static void test_idle_streams_cost_no_time(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    int fds[2];
    kit_tcp_pair(fds);
    struct app reading = {0};
    app_open(&reading, w.l, fds[0], STREAM_TCP, &kit_options);
    app_resume(&reading);
    shutdown(fds[1], SHUT_WR);
    KIT_WAIT(w.l, reading.ends == 1);
    kit_reset(w.peer.fd); /* unseen, because it is paused */
    w.peer.fd = -1;
    struct note n;
    note_init(&n, w.l);
    deadline_set(loop_scheduler(w.l), &n.deadline, 1000);
    clock_t start = clock();
    loop_run(w.l);
    assert_int_equal(n.fired, 1);
    assert_true(clock() - start < CLOCKS_PER_SEC / 20);
    close(fds[1]);
    world_end(&w);
}

struct step {
    struct task task;
    struct world *w;
    uint64_t got; /* by the stream, when this one ran */
    bool is_last;
};

static void on_step(struct task *t)
{
    struct step *step = container_of(t, struct step, task);

    step->got = step->w->app.got;
    peer_write(&step->w->peer, 1);
    if (step->is_last)
        loop_stop(step->w->l);
}

/* What a stream brings is told before the next costly task runs; and the loop does not sleep while
 * there is one, although nothing else would wake it. */
static void test_costly_tasks_let_streams_through(void **state)
{
    (void)state;
    struct world w;
    struct step steps[20];
    world_open(&w, STREAM_UNIX, &kit_options);
    app_resume(&w.app);
    for (size_t i = 0; i < array_count(steps); i++) {
        steps[i] = (struct step){.w = &w, .is_last = i + 1 == array_count(steps)};
        task_init(&steps[i].task, on_step);
        task_defer_costly(loop_scheduler(w.l), &steps[i].task);
    }
    while (scheduler_has_tasks(loop_scheduler(w.l)))
        loop_run(w.l);
    for (size_t i = 0; i < array_count(steps); i++)
        assert_int_equal(steps[i].got, i);
    world_end(&w);

    world_open(&w, STREAM_UNIX, &kit_options); /* paused */
    for (size_t i = 0; i < array_count(steps); i++)
        task_defer_costly(loop_scheduler(w.l), &steps[i].task);
    loop_run(w.l);
    assert_int_equal(w.app.got, 0);
    assert_false(scheduler_has_tasks(loop_scheduler(w.l)));
    world_end(&w);
}

/* ---- calls from other threads ---- */

#define CALLERS 4
#define CALLS   2000

struct caller {
    struct loop *l;
    pthread_t thread;
    struct call {
        struct loop_call call;
        struct caller *caller;
        unsigned number;
    } calls[CALLS];
    unsigned expected; /* the number of the next one */
    bool is_wrong;
};

static pthread_t loop_thread;

static void on_numbered_call(struct loop_call *c)
{
    struct call *call = container_of(c, struct call, call);
    struct caller *caller = call->caller;
    if (call->number != caller->expected++ || !pthread_equal(pthread_self(), loop_thread))
        caller->is_wrong = true;
    if (call->number == CALLS - 1)
        loop_release(caller->l);
}

static void *send_all(void *arg)
{
    struct caller *caller = arg;
    for (unsigned i = 0; i < CALLS; i++)
        loop_send(caller->l, &caller->calls[i].call);
    return NULL;
}

static void test_calls_of_threads_come_in_order(void **state)
{
    (void)state;
    static struct caller callers[CALLERS];
    struct loop *l = loop_new();
    loop_thread = pthread_self();
    for (unsigned i = 0; i < CALLERS; i++) {
        struct caller *caller = &callers[i];
        caller->l = l;
        loop_hold(l);
        for (unsigned n = 0; n < CALLS; n++) {
            caller->calls[n].caller = caller;
            caller->calls[n].number = n;
            loop_call_init(&caller->calls[n].call, on_numbered_call);
        }
        assert_int_equal(pthread_create(&caller->thread, NULL, send_all, caller), 0);
    }
    loop_run(l);
    for (unsigned i = 0; i < CALLERS; i++) {
        pthread_join(callers[i].thread, NULL);
        assert_false(callers[i].is_wrong);
        assert_int_equal(callers[i].expected, CALLS);
    }
    loop_free(l);
}

struct repeater {
    struct loop_call call;
    struct loop *l;
    unsigned runs;
};

static void on_repeated_call(struct loop_call *c)
{
    struct repeater *r = container_of(c, struct repeater, call);
    if (++r->runs == 3)
        loop_release(r->l);
    else
        loop_send(r->l, c);
}

static void test_a_call_can_be_sent_again(void **state)
{
    (void)state;
    struct repeater r = {.l = loop_new()};
    loop_call_init(&r.call, on_repeated_call);
    loop_send(r.l, &r.call);
    loop_send(r.l, &r.call); /* is under way already */
    loop_hold(r.l);
    loop_run(r.l);
    assert_int_equal(r.runs, 3);
    loop_send(r.l, &r.call);
    loop_free(r.l); /* does not run it any more */
    assert_int_equal(r.runs, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_returns_when_nothing_is_open),
        cmocka_unit_test(test_paused_stream_keeps_it_running),
        cmocka_unit_test(test_deadlines_fire_in_order_and_can_move),
        cmocka_unit_test(test_time_is_fresh_in_events),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_sigpipe_is_ignored),
        cmocka_unit_test(test_returns_when_a_task_ends_the_last_stream),
        cmocka_unit_test(test_idle_streams_cost_no_time),
        cmocka_unit_test(test_costly_tasks_let_streams_through),
        cmocka_unit_test(test_calls_of_threads_come_in_order),
        cmocka_unit_test(test_a_call_can_be_sent_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
