/* What a stream costs when nothing happens, and what it asks the kernel for: system calls are
 * counted by functions that stand in for those of the C library, also to shared ones. */
#include "io_kit.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static unsigned changes;  /* of the epoll set */
static unsigned wake_ups; /* and turns that did not sleep */

int epoll_ctl(int set, int operation, int fd, struct epoll_event *event)
{
    changes++;
    return (int)syscall(SYS_epoll_ctl, set, operation, fd, event);
}

int epoll_pwait(int set, struct epoll_event *events, int most, int timeout_ms, const sigset_t *mask)
{
    wake_ups++;
    return (int)syscall(SYS_epoll_pwait, set, events, most, timeout_ms, mask, _NSIG / 8);
}

int epoll_wait(int set, struct epoll_event *events, int most, int timeout_ms)
{
    return epoll_pwait(set, events, most, timeout_ms, NULL);
}

/* Three times 100 ms in which nothing is to be done: a loop that spins wakes up thousands of times.
 */
static void assert_is_quiet(struct loop *l)
{
    for (int i = 0; i < 2; i++) /* what is still to be seen, and is seen once */
        kit_turn(l);
    wake_ups = changes = 0;
    for (int i = 0; i < 3; i++)
        kit_turn(l);
    assert_true(wake_ups < 20);
    assert_int_equal(changes, 0);
}

static void fill(struct app *a)
{
    while (!app_write_pattern(a, 65536)) {
    }
}

static void reset_peer(struct world *w)
{
    kit_reset(w->peer.fd);
    w->peer.fd = -1;
}

/* ---- quiet ---- */

static void test_idle_stream_is_quiet(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    assert_is_quiet(w.l); /* paused */
    app_resume(&w.app);
    assert_is_quiet(w.l);
    world_end(&w);
}

static void test_paused_stream_with_bytes_behind_it_is_quiet(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    w.app.pauses_in_data = true;
    app_resume(&w.app);
    peer_write(&w.peer, 100000);
    KIT_WAIT(w.l, w.app.reads == 1);
    assert_is_quiet(w.l);
    shutdown(w.peer.fd, SHUT_WR);
    assert_is_quiet(w.l);
    w.app.pauses_in_data = false;
    app_resume(&w.app);
    KIT_WAIT(w.l, w.app.ends == 1);
    assert_int_equal(w.app.got, 100000);
    assert_is_quiet(w.l);
    world_end(&w);
}

/* An error is told whether it was asked for or not, and for ever, as long as the descriptor is in
 * the epoll set. */
static void paused_and_reset(enum stream_kind kind, bool was_read)
{
    struct world w;
    world_open(&w, kind, &kit_options);
    app_write_pattern(&w.app, 100); /* unread: a unix peer that leaves is a reset, too */
    if (was_read) {
        app_resume(&w.app);
        kit_turn(w.l);
        app_pause(&w.app);
    }
    reset_peer(&w);
    assert_is_quiet(w.l);
    assert_int_equal(w.app.aborts + w.app.ends, 0);
    app_resume(&w.app);
    KIT_WAIT(w.l, w.app.aborts == 1);
    assert_int_equal(w.app.cause.what, CAUSE_RESET);
    assert_is_quiet(w.l);
    world_end(&w);
}

static void test_paused_stream_whose_peer_resets_is_quiet(void **state)
{
    (void)state;
    for (int was_read = 0; was_read < 2; was_read++) {
        paused_and_reset(STREAM_TCP, was_read);
        paused_and_reset(STREAM_UNIX, was_read);
    }
}

static void half_closed(enum stream_kind kind, bool is_peer_first)
{
    struct world w;
    world_open(&w, kind, &kit_options);
    app_resume(&w.app);
    if (is_peer_first) {
        shutdown(w.peer.fd, SHUT_WR);
        KIT_WAIT(w.l, w.app.ends == 1);
    } else {
        app_finish(&w.app);
        KIT_WAIT(w.l, w.app.finishes == 1);
    }
    assert_is_quiet(w.l);
    if (is_peer_first) {
        app_finish(&w.app);
        KIT_WAIT(w.l, w.app.finishes == 1);
    } else {
        shutdown(w.peer.fd, SHUT_WR);
        KIT_WAIT(w.l, w.app.ends == 1);
    }
    assert_is_quiet(w.l); /* over on both sides, and not closed yet */
    app_close(&w.app);
    kit_run_dry(w.l, 1000);
    world_end(&w);
}

static void test_half_closed_stream_is_quiet(void **state)
{
    (void)state;
    for (int is_peer_first = 0; is_peer_first < 2; is_peer_first++) {
        half_closed(STREAM_TCP, is_peer_first);
        half_closed(STREAM_UNIX, is_peer_first);
    }
}

static void stalled(enum stream_kind kind, bool has_ended)
{
    struct world w;
    world_open(&w, kind, &kit_options);
    app_resume(&w.app);
    if (has_ended) {
        shutdown(w.peer.fd, SHUT_WR);
        KIT_WAIT(w.l, w.app.ends == 1);
    }
    fill(&w.app);
    assert_is_quiet(w.l);
    if (!has_ended) {
        w.app.pauses_in_data = true;
        peer_write(&w.peer, 100000);
        KIT_WAIT(w.l, w.app.reads == 1);
        assert_is_quiet(w.l);
    }
    app_abort(&w.app);
    assert_is_quiet(w.l); /* waits until the peer takes it */
    assert_int_equal(loop_open_streams(w.l), 1);
    reset_peer(&w);
    kit_run_dry(w.l, 1000);
    world_end(&w);
}

static void test_stalled_stream_is_quiet(void **state)
{
    (void)state;
    for (int has_ended = 0; has_ended < 2; has_ended++) {
        stalled(STREAM_TCP, has_ended);
        stalled(STREAM_UNIX, has_ended);
    }
}

static void test_closing_stream_is_quiet(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    fill(&w.app);
    app_close(&w.app);
    assert_is_quiet(w.l);
    shutdown(w.peer.fd, SHUT_WR);
    assert_is_quiet(w.l);
    assert_int_equal(loop_open_streams(w.l), 1);
    world_end(&w);
}

/* The end of writing is told by the task, that of the stream behind what the peer had sent: which
 * the owner has paused. */
static void test_failed_stream_is_quiet(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    fill(&w.app);
    peer_write(&w.peer, 1000);
    reset_peer(&w);
    KIT_WAIT(w.l, w.app.drains == 1);
    assert_int_equal(w.app.aborts, 0);
    assert_is_quiet(w.l);
    app_resume(&w.app);
    KIT_WAIT(w.l, w.app.aborts == 1);
    assert_int_equal(w.app.got, 1000);
    world_end(&w);
}

/* ---- a pause that is over before the loop sleeps ---- */

struct blinker {
    struct world w;
    struct task task;
};

static void blink(struct task *task)
{
    struct blinker *b = container_of(task, struct blinker, task);
    app_resume(&b->w.app);
}

static void on_blink(struct app *a, const char *event)
{
    struct blinker *b = container_of(a, struct blinker, w.app);
    (void)event;
    app_pause(a);
    task_defer(loop_scheduler(a->l), &b->task);
}

static void test_short_pause_costs_no_system_call(void **state)
{
    (void)state;
    struct blinker b;
    world_open(&b.w, STREAM_TCP, &kit_options);
    task_init(&b.task, blink);
    app_resume(&b.w.app);
    kit_turn(b.w.l);
    b.w.app.hook = on_blink;
    changes = 0;
    for (unsigned i = 1; i <= 10; i++) {
        peer_write(&b.w.peer, 1000);
        KIT_WAIT(b.w.l, b.w.app.reads == i);
    }
    kit_turn(b.w.l);
    assert_int_equal(changes, 0);
    b.w.app.hook = NULL;
    world_end(&b.w);
}

static void test_message_is_one_wake_up(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    app_resume(&w.app);
    kit_turn(w.l);
    wake_ups = changes = 0;
    for (unsigned i = 1; i <= 10; i++) {
        peer_write(&w.peer, 64);
        KIT_WAIT(w.l, w.app.reads == i); /* its event stops the loop */
    }
    assert_int_equal(wake_ups, 10);
    assert_int_equal(changes, 0);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idle_stream_is_quiet),
        cmocka_unit_test(test_paused_stream_with_bytes_behind_it_is_quiet),
        cmocka_unit_test(test_paused_stream_whose_peer_resets_is_quiet),
        cmocka_unit_test(test_half_closed_stream_is_quiet),
        cmocka_unit_test(test_stalled_stream_is_quiet),
        cmocka_unit_test(test_closing_stream_is_quiet),
        cmocka_unit_test(test_failed_stream_is_quiet),
        cmocka_unit_test(test_short_pause_costs_no_system_call),
        cmocka_unit_test(test_message_is_one_wake_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
