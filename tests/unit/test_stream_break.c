/* Streams that break: abort, close, reset, failed writes; over real sockets, seen from both ends.
 */
#include "io_kit.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- Abort ---- */

static void test_abort_of_an_idle_stream_resets(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    app_resume(&w.app);
    app_abort(&w.app);
    kit_run_dry(w.l, 3000);
    assert_int_equal(w.app.releases, 1);
    peer_read(&w.peer);
    assert_int_equal(w.peer.read_error, ECONNRESET);
    world_end(&w);
}

static void test_abort_comes_behind_what_was_written(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    assert_false(app_write_pattern(&w.app, 100000));
    app_abort(&w.app);
    kit_run_dry(w.l, 2000);
    peer_read(&w.peer);
    assert_int_equal(w.peer.got, 100000);
    assert_int_equal(w.peer.read_error, ECONNRESET);
    world_end(&w);
}

static void test_abort_waits_for_a_slow_reader(void **state)
{
    (void)state;
    struct stream_options patient = {.linger_ms = 20000};
    struct world w;
    world_open(&w, STREAM_TCP, &patient);
    assert_true(app_write_pattern(&w.app, 24 * MIB));
    app_finish(&w.app); /* not carried out yet: the abort overrides it */
    app_abort(&w.app);
    w.peer.reads = true;
    w.peer.slow_us = 1000;
    peer_start(&w.peer);
    kit_run_dry(w.l, 20000);
    peer_join(&w.peer);
    assert_int_equal(w.peer.got, 24 * MIB);
    assert_int_equal(w.peer.read_error, ECONNRESET);
    world_end(&w);
}

static void test_abort_gives_up_after_the_linger_time(void **state)
{
    (void)state;
    struct stream_options hasty = {.linger_ms = 200};
    struct world w;
    uint64_t start_ms = kit_now_ms(); /* the loop's time stands still until it runs */
    world_open(&w, STREAM_TCP, &hasty);
    assert_true(app_write_pattern(&w.app, 24 * MIB));
    app_abort(&w.app);
    assert_int_equal(loop_open_streams(w.l), 1);
    kit_run_dry(w.l, 2000);
    assert_in_range(kit_now_ms() - start_ms, 190, 2000);
    peer_read(&w.peer);
    assert_in_range(w.peer.got, 1, 24 * MIB - 1);
    assert_int_equal(w.peer.read_error, ECONNRESET);
    world_end(&w);
}

static void test_abort_after_finish_resets_too(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    app_finish(&w.app);
    KIT_WAIT(w.l, w.app.finishes == 1);
    assert_int_equal(kit_tcp_state(w.peer.fd), TCP_CLOSE_WAIT);
    app_abort(&w.app);
    kit_run_dry(w.l, 2000);
    assert_int_equal(kit_tcp_state(w.peer.fd), TCP_CLOSE);
    world_end(&w);
}

static void test_abort_with_unread_input(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    peer_write(&w.peer, 100000);
    app_write_pattern(&w.app, 1000);
    app_abort(&w.app);
    kit_run_dry(w.l, 2000);
    peer_read(&w.peer);
    assert_int_equal(w.peer.got, 1000);
    assert_int_equal(w.peer.read_error, ECONNRESET);
    world_end(&w);
}

static void test_abort_of_a_dead_connection_does_not_linger(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    assert_true(app_write_pattern(&w.app, 24 * MIB));
    app_abort(&w.app);
    kit_turn(w.l);
    kit_reset(w.peer.fd);
    w.peer.fd = -1;
    kit_run_dry(w.l, 3000);
    world_end(&w);
}

/* Our queue is empty, but the kernel still holds bytes that the peer will never take. */
static void test_abort_notices_a_reset_while_it_waits_for_the_kernel(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    while (!app_write_pattern(&w.app, 16384)) {
    }
    uint8_t *data = test_malloc(65536);
    while (w.app.drains == 0) {
        recv(w.peer.fd, data, 65536, MSG_DONTWAIT);
        kit_turn(w.l);
    }
    test_free(data);
    app_abort(&w.app);
    assert_int_equal(loop_open_streams(w.l), 1);
    kit_turn(w.l);
    assert_int_equal(loop_open_streams(w.l), 1);
    kit_reset(w.peer.fd);
    w.peer.fd = -1;
    kit_run_dry(w.l, 3000);
    world_end(&w);
}

/* What a unix socket shows instead of a reset, as docs/half-close.md has it. */
static void test_abort_of_a_unix_stream(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_UNIX, &kit_options);
    app_write_pattern(&w.app, 1000);
    app_abort(&w.app);
    kit_run_dry(w.l, 3000);
    peer_read(&w.peer);
    assert_int_equal(w.peer.got, 1000);
    assert_int_equal(w.peer.read_error, 0);
    assert_int_equal(send(w.peer.fd, "x", 1, MSG_NOSIGNAL), -1);
    assert_int_equal(errno, EPIPE);
    world_end(&w);

    world_open(&w, STREAM_UNIX, &kit_options);
    peer_write(&w.peer, 10);
    app_write_pattern(&w.app, 1000);
    app_abort(&w.app);
    kit_run_dry(w.l, 3000);
    peer_read(&w.peer);
    assert_int_equal(w.peer.got, 1000);
    assert_int_equal(w.peer.read_error, ECONNRESET);
    world_end(&w);
}

static void test_abort_of_a_unix_stream_waits_for_a_slow_reader(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_UNIX, &kit_options);
    assert_true(app_write_pattern(&w.app, 4 * MIB));
    app_abort(&w.app);
    w.peer.reads = true;
    w.peer.slow_us = 1000;
    peer_start(&w.peer);
    kit_run_dry(w.l, 5000);
    peer_join(&w.peer);
    assert_int_equal(w.peer.got, 4 * MIB);
    world_end(&w);
}

/* ---- Close ---- */

/* A close(2) with input unread would reset, and destroy the tail of what we wrote. */
static void test_close_drains_the_peer(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    assert_true(app_write_pattern(&w.app, 12 * MIB));
    app_close(&w.app);
    w.peer.to_send = 12 * MIB;
    w.peer.ends_after_send = true;
    w.peer.reads = true;
    w.peer.slow_us = 500;
    peer_start(&w.peer);
    kit_run_dry(w.l, 5000);
    assert_int_equal(w.app.releases, 1);
    peer_join(&w.peer);
    assert_int_equal(w.peer.send_error, 0);
    assert_int_equal(w.peer.sent, 12 * MIB);
    assert_int_equal(w.peer.got, 12 * MIB);
    assert_int_equal(w.peer.read_error, 0);
    assert_int_equal(w.app.got, 0);
    world_end(&w);
}

static void test_close_gives_up_after_the_linger_time(void **state)
{
    (void)state;
    struct stream_options hasty = {.linger_ms = 200};
    uint64_t start_ms = kit_now_ms();
    struct world w;
    world_open(&w, STREAM_TCP, &hasty);
    app_resume(&w.app);
    app_finish(&w.app);
    KIT_WAIT(w.l, w.app.finishes == 1);
    app_close(&w.app);
    peer_write(&w.peer, 1000);
    kit_run_dry(w.l, 2000);
    assert_in_range(kit_now_ms() - start_ms, 190, 3000);
    assert_int_equal(kit_tcp_state(w.peer.fd),
                     TCP_CLOSE_WAIT); /* it has our end, and its own time */
    world_end(&w);
}

static void test_close_resets_a_peer_that_takes_nothing(void **state)
{
    (void)state;
    struct stream_options hasty = {.linger_ms = 200};
    struct world w;
    world_open(&w, STREAM_TCP, &hasty);
    app_resume(&w.app);
    assert_true(app_write_pattern(&w.app, 24 * MIB));
    app_close(&w.app);
    kit_run_dry(w.l, 2000);
    assert_int_equal(kit_tcp_state(w.peer.fd), TCP_CLOSE);
    world_end(&w);
}

static void test_close_waits_as_long_as_the_peer_takes_some(void **state)
{
    (void)state;
    struct stream_options hasty = {.linger_ms = 200};
    struct world w;
    world_open(&w, STREAM_TCP, &hasty);
    app_resume(&w.app);
    assert_true(app_write_pattern(&w.app, 24 * MIB));
    app_close(&w.app);
    w.peer.reads = true;
    w.peer.slow_us = 2000; /* about a second in all */
    peer_start(&w.peer);
    kit_run_dry(w.l, 20000);
    peer_join(&w.peer);
    assert_int_equal(w.peer.got, 24 * MIB);
    assert_int_equal(w.peer.read_error, 0);
    world_end(&w);
}

static void test_close_after_a_reset_is_quick(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    app_close(&w.app);
    kit_reset(w.peer.fd);
    w.peer.fd = -1;
    kit_run_dry(w.l, 3000);
    world_end(&w);
}

/* ---- Failures seen by reading ---- */

static void test_reset_is_an_abort(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    app_resume(&w.app);
    kit_turn(w.l);
    kit_reset(w.peer.fd);
    w.peer.fd = -1;
    KIT_WAIT(w.l, w.app.aborts == 1);
    assert_int_equal(w.app.cause.what, CAUSE_RESET);
    assert_int_equal(w.app.cause.native, -ECONNRESET);
    assert_int_equal(w.app.ends, 0);
    kit_run_dry(w.l, 3000);
    assert_int_equal(w.app.releases, 1);
    world_end(&w);
}

/* A short read and POLLHUP together are not the end of the stream. */
static void test_reset_behind_bytes_in_one_wake_up_is_no_end(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 16383, 16384, 16385, 100000};
    for (size_t i = 0; i < array_count(sizes); i++) {
        struct world w;
        world_open(&w, STREAM_TCP, &kit_options);
        peer_write(&w.peer, sizes[i]);
        kit_reset(w.peer.fd);
        w.peer.fd = -1;
        app_resume(&w.app);
        KIT_WAIT(w.l, w.app.aborts + w.app.ends > 0);
        assert_int_equal(w.app.got, sizes[i]);
        assert_int_equal(w.app.ends, 0);
        assert_int_equal(w.app.cause.what, CAUSE_RESET);
        world_end(&w);
    }
}

static void test_unix_peer_that_leaves_input_unread_is_an_abort(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_UNIX, &kit_options);
    app_write_pattern(&w.app, 10);
    peer_write(&w.peer, 20);
    close(w.peer.fd);
    w.peer.fd = -1;
    app_resume(&w.app);
    KIT_WAIT(w.l, w.app.aborts + w.app.ends > 0);
    assert_int_equal(w.app.got, 20);
    assert_int_equal(w.app.ends, 0);
    assert_int_equal(w.app.cause.what, CAUSE_RESET);
    world_end(&w);
}

/* ---- Failures seen by writing ---- */

static void test_failed_write_lets_the_peers_bytes_through_first(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    peer_write(&w.peer, 100000);
    kit_reset(w.peer.fd);
    w.peer.fd = -1;
    assert_false(app_write_pattern(&w.app, 10));
    assert_false(app_write_pattern(&w.app, 10)); /* goes nowhere */
    kit_turn(w.l);
    assert_int_equal(w.app.aborts, 0);
    w.app.pauses_in_data = true;
    app_resume(&w.app);
    KIT_WAIT(w.l, w.app.reads == 1);
    kit_turn(w.l);
    assert_int_equal(w.app.reads, 1);
    w.app.pauses_in_data = false;
    app_resume(&w.app);
    KIT_WAIT(w.l, w.app.aborts == 1);
    assert_int_equal(w.app.got, 100000);
    assert_int_equal(w.app.ends, 0);
    assert_int_equal(w.app.cause.what, CAUSE_RESET);
    world_end(&w);
}

static void test_failed_write_is_told_after_the_linger_time_at_the_latest(void **state)
{
    (void)state;
    struct stream_options hasty = {.linger_ms = 200};
    uint64_t start_ms = kit_now_ms();
    struct world w;
    world_open(&w, STREAM_TCP, &hasty);
    peer_write(&w.peer, 100000);
    kit_reset(w.peer.fd);
    w.peer.fd = -1;
    app_write_pattern(&w.app, 10);
    KIT_WAIT(w.l, w.app.aborts == 1);
    assert_in_range(kit_now_ms() - start_ms, 190, 3000);
    assert_int_equal(w.app.got, 0);
    world_end(&w);
}

static void test_failed_write_behind_the_peers_end_is_told_at_once(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    app_resume(&w.app);
    shutdown(w.peer.fd, SHUT_WR);
    KIT_WAIT(w.l, w.app.ends == 1);
    kit_reset(w.peer.fd);
    w.peer.fd = -1;
    app_write_pattern(&w.app, 10);
    assert_int_equal(w.app.aborts, 0); /* not from the call */
    uint64_t start_ms = kit_now_ms();
    KIT_WAIT(w.l, w.app.aborts == 1);
    assert_true(kit_now_ms() - start_ms < 3000);
    assert_int_equal(w.app.cause.what, CAUSE_RESET);
    world_end(&w);
}

static void test_full_stream_that_fails_drains_then_aborts(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    assert_true(app_write_pattern(&w.app, 24 * MIB));
    peer_write(&w.peer, 1000);
    kit_reset(w.peer.fd);
    w.peer.fd = -1;
    KIT_WAIT(w.l, w.app.drains == 1);
    assert_int_equal(w.app.aborts, 0);
    assert_false(app_write_pattern(&w.app, 10));
    app_resume(&w.app);
    KIT_WAIT(w.l, w.app.aborts == 1);
    assert_int_equal(w.app.got, 1000);
    assert_int_equal(w.app.ends, 0);
    assert_int_equal(w.app.drains, 1);
    world_end(&w);
}

static void test_finish_on_a_reset_connection_is_no_finish(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    peer_write(&w.peer, 1000);
    kit_reset(w.peer.fd);
    w.peer.fd = -1;
    app_finish(&w.app);
    app_resume(&w.app);
    KIT_WAIT(w.l, w.app.aborts == 1);
    assert_int_equal(w.app.got, 1000);
    assert_int_equal(w.app.finishes, 0);
    assert_int_equal(w.app.ends, 0);
    assert_int_equal(w.app.cause.what, CAUSE_RESET);
    world_end(&w);
}

static void test_abort_or_close_of_a_failed_stream_is_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world w;
        world_open(&w, STREAM_TCP, &kit_options);
        peer_write(&w.peer, 1000);
        kit_reset(w.peer.fd);
        w.peer.fd = -1;
        app_write_pattern(&w.app, 10);
        if (i == 0)
            app_abort(&w.app);
        else
            app_close(&w.app);
        kit_run_dry(w.l, 3000);
        assert_int_equal(w.app.releases, 1);
        world_end(&w);
    }
}

static void on_event_abort(struct app *a, const char *event)
{
    if (strcmp(event, "drain") == 0)
        app_abort(a);
}

static void test_owner_may_abort_in_the_drain_of_a_failed_stream(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    w.app.hook = on_event_abort;
    assert_true(app_write_pattern(&w.app, 24 * MIB));
    kit_reset(w.peer.fd);
    w.peer.fd = -1;
    kit_run_dry(w.l, 3000);
    assert_int_equal(w.app.drains, 1);
    assert_int_equal(w.app.aborts, 0);
    world_end(&w);
}

/* ---- Finished means that the peer's kernel has it ---- */

static void test_finished_is_told_when_the_peer_has_all(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    assert_false(
        app_write_pattern(&w.app, MIB)); /* our kernel has it, the peer's window is smaller */
    app_finish(&w.app);
    for (int i = 0; i < 3; i++)
        kit_turn(w.l);
    assert_int_equal(w.app.finishes, 0);
    w.peer.reads = true;
    peer_start(&w.peer);
    KIT_WAIT(w.l, w.app.finishes == 1);
    peer_join(&w.peer);
    assert_int_equal(w.peer.got, MIB);
    world_end(&w);
}

static void test_a_reset_before_the_peer_has_all_is_not_finished(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options); /* paused: nothing but the look at the end tells */
    assert_false(app_write_pattern(&w.app, MIB));
    app_finish(&w.app);
    kit_turn(w.l);
    kit_reset(w.peer.fd);
    w.peer.fd = -1;
    KIT_WAIT(w.l, w.app.aborts == 1);
    assert_int_equal(w.app.finishes, 0);
    assert_int_equal(w.app.cause.what, CAUSE_RESET);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_abort_of_an_idle_stream_resets),
        cmocka_unit_test(test_abort_comes_behind_what_was_written),
        cmocka_unit_test(test_abort_waits_for_a_slow_reader),
        cmocka_unit_test(test_abort_gives_up_after_the_linger_time),
        cmocka_unit_test(test_abort_after_finish_resets_too),
        cmocka_unit_test(test_abort_with_unread_input),
        cmocka_unit_test(test_abort_of_a_dead_connection_does_not_linger),
        cmocka_unit_test(test_abort_notices_a_reset_while_it_waits_for_the_kernel),
        cmocka_unit_test(test_abort_of_a_unix_stream),
        cmocka_unit_test(test_abort_of_a_unix_stream_waits_for_a_slow_reader),
        cmocka_unit_test(test_close_drains_the_peer),
        cmocka_unit_test(test_close_gives_up_after_the_linger_time),
        cmocka_unit_test(test_close_resets_a_peer_that_takes_nothing),
        cmocka_unit_test(test_close_waits_as_long_as_the_peer_takes_some),
        cmocka_unit_test(test_close_after_a_reset_is_quick),
        cmocka_unit_test(test_reset_is_an_abort),
        cmocka_unit_test(test_reset_behind_bytes_in_one_wake_up_is_no_end),
        cmocka_unit_test(test_unix_peer_that_leaves_input_unread_is_an_abort),
        cmocka_unit_test(test_failed_write_lets_the_peers_bytes_through_first),
        cmocka_unit_test(test_failed_write_is_told_after_the_linger_time_at_the_latest),
        cmocka_unit_test(test_failed_write_behind_the_peers_end_is_told_at_once),
        cmocka_unit_test(test_full_stream_that_fails_drains_then_aborts),
        cmocka_unit_test(test_finish_on_a_reset_connection_is_no_finish),
        cmocka_unit_test(test_abort_or_close_of_a_failed_stream_is_at_once),
        cmocka_unit_test(test_owner_may_abort_in_the_drain_of_a_failed_stream),
        cmocka_unit_test(test_finished_is_told_when_the_peer_has_all),
        cmocka_unit_test(test_a_reset_before_the_peer_has_all_is_not_finished),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
