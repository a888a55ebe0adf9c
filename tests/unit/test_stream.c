/* Streams over real sockets: each rule of flow/duplex.h and io/stream.h, seen from both ends. */
#include "io_kit.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- Ends ---- */

static void ends_peer_first(enum stream_kind kind)
{
    struct world w;
    world_open(&w, kind, &kit_options);
    peer_write(&w.peer, 100);
    shutdown(w.peer.fd, SHUT_WR);
    app_resume(&w.app);
    KIT_WAIT(w.l, w.app.ends == 1);
    assert_int_equal(w.app.got, 100);
    assert_int_equal(w.app.finishes, 0);

    assert_false(app_write_pattern(&w.app, 1000));
    app_finish(&w.app);
    app_finish(&w.app);
    KIT_WAIT(w.l, w.app.finishes == 1);
    app_close(&w.app);
    kit_run_dry(w.l, 3000);
    assert_int_equal(w.app.releases, 1);
    peer_read(&w.peer);
    assert_int_equal(w.peer.got, 1000);
    assert_int_equal(w.peer.read_error, 0);
    world_end(&w);
}

static void test_peer_ends_first_and_our_side_goes_on(void **state)
{
    (void)state;
    ends_peer_first(STREAM_TCP);
    ends_peer_first(STREAM_UNIX);
}

static void ends_us_first(enum stream_kind kind)
{
    struct world w;
    world_open(&w, kind, &kit_options);
    app_resume(&w.app);
    app_write_pattern(&w.app, 1000);
    app_finish(&w.app);
    KIT_WAIT(w.l, w.app.finishes == 1);
    peer_read(&w.peer);
    assert_int_equal(w.peer.got, 1000);
    assert_int_equal(w.peer.read_error, 0);

    peer_write(&w.peer, 50000);
    KIT_WAIT(w.l, w.app.got == 50000);
    assert_int_equal(w.app.ends, 0);
    shutdown(w.peer.fd, SHUT_WR);
    KIT_WAIT(w.l, w.app.ends == 1);
    app_close(&w.app);
    kit_run_dry(w.l, 3000);
    assert_int_equal(w.app.releases, 1);
    world_end(&w);
}

static void test_we_end_first_and_the_peer_goes_on(void **state)
{
    (void)state;
    ends_us_first(STREAM_TCP);
    ends_us_first(STREAM_UNIX);
}

static void test_end_without_bytes_while_paused_waits_for_resume(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    shutdown(w.peer.fd, SHUT_WR);
    kit_turn(w.l);
    assert_int_equal(w.app.ends, 0);
    app_resume(&w.app);
    KIT_WAIT(w.l, w.app.ends == 1);
    app_resume(&w.app); /* harmless */
    app_pause(&w.app);
    app_resume(&w.app);
    kit_turn(w.l);
    world_end(&w);
}

/* ---- Flow ---- */

static void test_pause_in_on_data_stops_at_once(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    w.app.pauses_in_data = true;
    w.peer.to_send = MIB;
    w.peer.ends_after_send = true;
    peer_start(&w.peer);
    while (w.app.ends == 0) {
        unsigned reads = w.app.reads;
        app_resume(&w.app);
        KIT_WAIT(w.l, w.app.reads + w.app.ends > reads);
        assert_true(w.app.reads - reads <= 1);
    }
    peer_join(&w.peer);
    assert_int_equal(w.app.got, MIB);
    assert_int_equal(w.app.largest_read, 16320);
    world_end(&w);
}

static void test_reads_grow_while_the_owner_keeps_up(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    w.peer.to_send = 50 * MIB;
    w.peer.ends_after_send = true;
    w.app.pause_at = 25 * MIB;
    peer_start(&w.peer);
    app_resume(&w.app);
    KIT_WAIT(w.l, w.app.got >= 25 * MIB);
    assert_true(w.app.largest_read > 16320); /* how far depends on the peer, too */
    assert_true(w.app.largest_read <= 262144);
    w.app.pause_at = 0;
    w.app.largest_read = 0;
    app_resume(&w.app);
    unsigned reads = w.app.reads;
    KIT_WAIT(w.l, w.app.reads > reads);
    KIT_WAIT(w.l, w.app.ends == 1);
    peer_join(&w.peer);
    assert_int_equal(w.app.got, 50 * MIB);
    world_end(&w);
}

static void test_50_mib_through_a_slow_reader(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    w.app.to_write = 50 * MIB;
    w.app.finishes_at_end = true;
    w.peer.reads = true;
    w.peer.slow_us = 500;
    app_resume(&w.app);
    app_pump(&w.app);
    peer_start(&w.peer);
    KIT_WAIT(w.l, w.app.finishes == 1);
    assert_true(w.app.drains > 10);
    peer_join(&w.peer);
    assert_int_equal(w.peer.got, 50 * MIB);
    assert_int_equal(w.peer.read_error, 0);
    shutdown(w.peer.fd, SHUT_WR);
    KIT_WAIT(w.l, w.app.ends == 1);
    app_close(&w.app);
    kit_run_dry(w.l, 3000);
    world_end(&w);
}

static void both_ways_at_once(enum stream_kind kind)
{
    struct world w;
    world_open(&w, kind, &kit_options);
    w.app.to_write = w.peer.to_send = 30 * MIB;
    w.app.finishes_at_end = w.peer.ends_after_send = w.peer.reads = true;
    app_resume(&w.app);
    app_pump(&w.app);
    peer_start(&w.peer);
    KIT_WAIT(w.l, w.app.finishes == 1 && w.app.ends == 1);
    peer_join(&w.peer);
    assert_int_equal(w.peer.got, 30 * MIB);
    assert_int_equal(w.peer.read_error, 0);
    assert_int_equal(w.app.got, 30 * MIB);
    app_close(&w.app);
    kit_run_dry(w.l, 3000);
    world_end(&w);
}

static void test_30_mib_both_ways_at_once(void **state)
{
    (void)state;
    both_ways_at_once(STREAM_TCP);
    both_ways_at_once(STREAM_UNIX);
}

static void test_writes_behind_a_full_stream_are_kept_in_order(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    while (!app_write_pattern(&w.app, 99991)) {
    }
    for (size_t i = 1; i <= 300; i++)
        assert_true(app_write_pattern(&w.app, i * 37));
    assert_true(app_write_pattern(&w.app, 0));
    app_finish(&w.app);
    w.peer.reads = true;
    peer_start(&w.peer);
    KIT_WAIT(w.l, w.app.finishes == 1);
    assert_int_equal(w.app.drains, 1);
    peer_join(&w.peer);
    assert_int_equal(w.peer.got, w.app.written);
    assert_int_equal(w.peer.read_error, 0);
    world_end(&w);
}

static void test_write_of_many_spans(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    enum { COUNT = 40, LEN = 1000 };
    uint8_t *data = test_malloc(COUNT * LEN);
    kit_pattern(data, COUNT * LEN, 0);
    struct span spans[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        spans[i] = (struct span){data + i * LEN, LEN};
    duplex_write(w.app.d, spans, COUNT);
    test_free(data);
    app_finish(&w.app);
    KIT_WAIT(w.l, w.app.finishes == 1);
    peer_read(&w.peer);
    assert_int_equal(w.peer.got, COUNT * LEN);
    world_end(&w);
}

/* One that floods must not keep the loop from its deadlines and its other streams. */
static void on_event_count(struct app *a, const char *event)
{
    (void)event;
    loop_stop(a->l);
}

static void test_a_flood_is_read_in_turns(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_UNIX, &kit_options);
    int size = 16 << 20;
    setsockopt(w.peer.fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
    w.app.hook = on_event_count;
    w.peer.to_send = 64 * MIB;
    w.peer.ends_after_send = true;
    peer_start(&w.peer);
    app_resume(&w.app);
    while (w.app.ends == 0) {
        uint64_t before = w.app.got;
        loop_run(w.l); /* is stopped by the first read: ends with this turn */
        assert_true(w.app.got - before <= MIB + 262144);
    }
    peer_join(&w.peer);
    assert_int_equal(w.app.got, 64 * MIB);
    world_end(&w);
}

/* ---- Socket options ---- */

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof(value);
    assert_int_equal(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

static void test_socket_options(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    int fds[2];
    kit_tcp_pair(fds);
    struct app app = {0};
    app_open(&app, l, fds[0], STREAM_TCP, &kit_options);
    assert_int_equal(option(fds[0], IPPROTO_TCP, TCP_NODELAY), 1);
    KIT_WAIT(l, option(fds[0], IPPROTO_TCP, TCP_USER_TIMEOUT) != 0); /* not before it is needed */
    assert_int_equal(option(fds[0], SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(option(fds[0], IPPROTO_TCP, TCP_KEEPIDLE), 60);
    assert_int_equal(option(fds[0], IPPROTO_TCP, TCP_KEEPINTVL), 15);
    assert_int_equal(option(fds[0], IPPROTO_TCP, TCP_KEEPCNT), 4);
    assert_int_equal(option(fds[0], IPPROTO_TCP, TCP_USER_TIMEOUT), 60000);
    loop_free(l);
    close(fds[1]);
}

/* A peer that is alive but does not read, for longer than TCP_USER_TIMEOUT. The kernel alone would
 * end that connection: a plain socket beside ours shows it. */
static void test_stalled_reader_outlives_the_user_timeout(void **state)
{
    (void)state;
    struct stream_options options = {.linger_ms = 1000, .user_timeout_ms = 1500};
    struct loop *l = loop_new();
    int fds[2], plain[2];
    kit_tcp_pair(fds);
    kit_tcp_pair(plain);
    struct app app = {0};
    app_open(&app, l, fds[0], STREAM_TCP, &options);
    app_resume(&app);

    unsigned timeout = 1500;
    setsockopt(plain[0], IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
    uint8_t *data = test_malloc(65536);
    kit_pattern(data, 65536, 0);
    while (send(plain[0], data, 65536, MSG_NOSIGNAL) > 0) {
    }
    while (!app_write_pattern(&app, 65536)) {
    }
    uint64_t start_ms = kit_now_ms();
    KIT_WAIT(l, option(plain[0], SOL_SOCKET, SO_ERROR) == ETIMEDOUT);
    assert_true(kit_now_ms() - start_ms >= 1000);
    while (kit_now_ms() - start_ms < 4000)
        kit_turn(l);
    assert_int_equal(app.aborts, 0);
    assert_int_equal(option(fds[0], IPPROTO_TCP, TCP_USER_TIMEOUT), 0);

    struct peer peer = {.fd = fds[1], .reads = true};
    app_finish(&app);
    peer_start(&peer);
    KIT_WAIT(l, app.finishes == 1);
    peer_join(&peer);
    assert_int_equal(peer.got, app.written);
    assert_int_equal(peer.read_error, 0);
    /* and back, once nothing is stalled */
    KIT_WAIT(l, option(fds[0], IPPROTO_TCP, TCP_USER_TIMEOUT) == 1500);
    test_free(data);
    close(fds[1]);
    close(plain[0]);
    close(plain[1]);
    loop_free(l);
}

/* ---- Life ---- */

static void test_peer_names(void **state)
{
    (void)state;
    struct world w;
    char name[64], expected[64];
    world_open(&w, STREAM_TCP, &kit_options);
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    assert_int_equal(getsockname(w.peer.fd, (struct sockaddr *)&a, &len), 0);
    snprintf(expected, sizeof(expected), "127.0.0.1:%u", ntohs(a.sin_port));
    assert_string_equal(stream_peer_name(w.app.d, name, sizeof(name)), expected);
    world_end(&w);
    world_open(&w, STREAM_UNIX, &kit_options);
    assert_string_equal(stream_peer_name(w.app.d, name, sizeof(name)), "unix");
    world_end(&w);
}

static void test_descriptor_that_libuv_refuses(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    assert_null(stream_open(l, 999999, STREAM_TCP, &kit_options)); /* EBADF */
    kit_run_dry(l, 1000);
    loop_free(l);
}

static void test_loop_free_with_streams_in_every_state(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    enum { COUNT = 6 };
    int fds[COUNT][2];
    struct app apps[COUNT] = {0};
    for (size_t i = 0; i < COUNT; i++) {
        kit_tcp_pair(fds[i]);
        app_open(&apps[i], l, fds[i][0], STREAM_TCP, &kit_options);
    }
    app_resume(&apps[1]);
    app_write_pattern(&apps[2], 24 * MIB);
    app_write_pattern(&apps[3], 24 * MIB);
    app_abort(&apps[3]);
    app_write_pattern(&apps[4], 24 * MIB);
    app_close(&apps[4]);
    app_write_pattern(&apps[5], 10);
    app_finish(&apps[5]); /* on_finished is still owed */
    assert_int_equal(loop_open_streams(l), COUNT);
    loop_free(l);
    for (size_t i = 0; i < COUNT; i++) {
        struct peer peer = {.fd = fds[i][1]};
        peer_read(&peer);
        if (i != 5)
            assert_int_equal(peer.read_error, ECONNRESET);
        assert_int_equal(apps[i].releases, 0);
        assert_int_equal(apps[i].aborts + apps[i].finishes, 0);
        close(fds[i][1]);
    }
}

static void test_reset_streams_releases_without_events(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    app_resume(&w.app);
    app_write_pattern(&w.app, 10);
    loop_reset_streams(w.l);
    loop_reset_streams(w.l);
    kit_run_dry(w.l, 3000);
    assert_int_equal(w.app.releases, 1);
    assert_int_equal(w.app.aborts, 0);
    peer_read(&w.peer);
    assert_int_equal(w.peer.read_error, ECONNRESET);
    world_end(&w);
}

static void on_event_close_all(struct app *a, const char *event)
{
    if (strcmp(event, "data") == 0)
        app_abort(a);
    else
        app_close(a);
}

static void test_owner_may_leave_in_any_event(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world w;
        world_open(&w, STREAM_TCP, &kit_options);
        w.app.hook = on_event_close_all;
        if (i == 0)
            peer_write(&w.peer, 100000);
        else
            shutdown(w.peer.fd, SHUT_WR);
        app_resume(&w.app);
        kit_run_dry(w.l, 3000);
        assert_int_equal(w.app.releases, 1);
        assert_int_equal(w.app.reads, i == 0 ? 1 : 0);
        world_end(&w);
    }
}

/* ---- Packets ---- */

static unsigned segments_in(int fd)
{
    struct { /* struct tcp_info of <linux/tcp.h>, which goes on behind libc's */
        struct tcp_info known;
        uint64_t pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
        uint32_t segs_out, segs_in;
    } info = {0};
    socklen_t len = sizeof(info);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    return info.segs_in;
}

/* Three writes and the end: one packet. Without cork() as many as there are calls. */
static void test_last_words_share_a_packet_with_the_end(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct world w;
        world_open(&w, STREAM_TCP, &kit_options);
        unsigned before = segments_in(w.peer.fd);
        if (i > 0)
            duplex_cork(w.app.d);
        for (int k = 0; k < 3; k++)
            assert_false(app_write_pattern(&w.app, 100));
        if (i < 2)
            app_finish(&w.app);
        else
            app_close(&w.app);
        peer_read(&w.peer);
        assert_int_equal(w.peer.got, 300);
        assert_int_equal(w.peer.read_error, 0);
        assert_int_equal(segments_in(w.peer.fd) - before, i == 0 ? 4 : 1);
        world_end(&w);
    }
}

/* ---- Numbers ---- */

/* A number comes back with another socket: also at once, and beside more sockets than there are
 * poll handles kept. */
static void test_sockets_of_one_number_after_another(void **state)
{
    (void)state;
    enum { OTHERS = 300, TIMES = 1000 };
    struct loop *l = loop_new();
    int others[OTHERS][2];
    for (int i = 0; i < OTHERS; i++)
        kit_unix_pair(others[i]);
    for (int i = 0; i < TIMES; i++) {
        struct app app = {0};
        int fds[2];
        kit_unix_pair(fds);
        app_open(&app, l, fds[0], STREAM_UNIX, &kit_options);
        app_resume(&app);
        struct peer peer = {.fd = fds[1]};
        peer_write(&peer, 10);
        KIT_WAIT(l, app.got == 10);
        app_abort(&app);
        close(fds[1]);
        close(others[i % OTHERS][0]); /* so that the next number is another one */
        close(others[i % OTHERS][1]);
        if (i % 2 == 0)
            KIT_WAIT(l, app.releases == 1);
        kit_unix_pair(others[i % OTHERS]);
        KIT_WAIT(l, app.releases == 1);
        assert_false(app.is_wrong);
    }
    for (int i = 0; i < OTHERS; i++) {
        close(others[i][0]);
        close(others[i][1]);
    }
    loop_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peer_ends_first_and_our_side_goes_on),
        cmocka_unit_test(test_we_end_first_and_the_peer_goes_on),
        cmocka_unit_test(test_end_without_bytes_while_paused_waits_for_resume),
        cmocka_unit_test(test_pause_in_on_data_stops_at_once),
        cmocka_unit_test(test_reads_grow_while_the_owner_keeps_up),
        cmocka_unit_test(test_50_mib_through_a_slow_reader),
        cmocka_unit_test(test_30_mib_both_ways_at_once),
        cmocka_unit_test(test_writes_behind_a_full_stream_are_kept_in_order),
        cmocka_unit_test(test_write_of_many_spans),
        cmocka_unit_test(test_a_flood_is_read_in_turns),
        cmocka_unit_test(test_socket_options),
        cmocka_unit_test(test_stalled_reader_outlives_the_user_timeout),
        cmocka_unit_test(test_peer_names),
        cmocka_unit_test(test_descriptor_that_libuv_refuses),
        cmocka_unit_test(test_loop_free_with_streams_in_every_state),
        cmocka_unit_test(test_reset_streams_releases_without_events),
        cmocka_unit_test(test_owner_may_leave_in_any_event),
        cmocka_unit_test(test_last_words_share_a_packet_with_the_end),
        cmocka_unit_test(test_sockets_of_one_number_after_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
