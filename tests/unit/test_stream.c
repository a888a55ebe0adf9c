/* Streams over real sockets: each rule of flow/duplex.h and io/stream.h, seen from both ends. */
#include "io_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

struct world {
    struct loop *l;
    struct app app;
    struct peer peer;
};

static void world_open(struct world *w, enum stream_kind kind, const struct stream_options *options)
{
    *w = (struct world){.l = loop_new()};
    assert_non_null(w->l);
    int fds[2];
    if (kind == STREAM_TCP)
        kit_tcp_pair(fds);
    else
        kit_unix_pair(fds);
    w->peer.fd = fds[1];
    app_open(&w->app, w->l, fds[0], kind, options);
}

static void world_end(struct world *w)
{
    if (w->peer.fd >= 0)
        close(w->peer.fd);
    loop_free(w->l);
    assert_false(w->app.is_wrong);
    assert_false(w->peer.is_wrong);
}

static void peer_send_pattern(struct world *w, size_t len)
{
    uint8_t *data = test_malloc(len);
    kit_pattern(data, len, w->peer.sent);
    assert_int_equal(send(w->peer.fd, data, len, MSG_NOSIGNAL), len);
    w->peer.sent += len;
    test_free(data);
}

/* Until what the peer has sent, up to its end or reset, has reached our socket. */
static void wait_for_hup(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    assert_int_equal(poll(&p, 1, 10000), 1);
}

/* ---- Ends ---- */

static void ends_peer_first(enum stream_kind kind)
{
    struct world w;
    world_open(&w, kind, &kit_options);
    peer_send_pattern(&w, 100);
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
    assert_true(kit_run_dry(w.l, 1000) < 1000);
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

    peer_send_pattern(&w, 50000);
    KIT_WAIT(w.l, w.app.got == 50000);
    assert_int_equal(w.app.ends, 0);
    shutdown(w.peer.fd, SHUT_WR);
    KIT_WAIT(w.l, w.app.ends == 1);
    app_close(&w.app);
    kit_run_dry(w.l, 1000);
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

/* ---- Abort ---- */

static void test_abort_of_an_idle_stream_resets(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    app_resume(&w.app);
    app_abort(&w.app);
    assert_true(kit_run_dry(w.l, 1000) < 1000);
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
    world_open(&w, STREAM_TCP, &hasty);
    assert_true(app_write_pattern(&w.app, 24 * MIB));
    app_abort(&w.app);
    assert_int_equal(loop_open_streams(w.l), 1);
    uint64_t took_ms = kit_run_dry(w.l, 2000);
    assert_in_range(took_ms, 190, 1000);
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
    peer_send_pattern(&w, 100000);
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
    assert_true(kit_run_dry(w.l, 2000) < 2000);
    world_end(&w);
}

/* The last bytes are with the kernel, unread and so unacknowledged, when the peer resets. */
static void test_abort_notices_a_reset_while_it_waits_for_the_kernel(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, STREAM_TCP, &kit_options);
    while (app_write_pattern(&w.app, 16384) == false) {
    }
    peer_read_some : {
        uint8_t *data = test_malloc(MIB);
        while (w.app.drains == 0) {
            assert_true(recv(w.peer.fd, data, MIB, MSG_DONTWAIT) != 0);
            kit_turn(w.l);
        }
        test_free(data);
    }
    app_abort(&w.app);
    kit_turn(w.l);
    kit_reset(w.peer.fd);
    w.peer.fd = -1;
    assert_true(kit_run_dry(w.l, 2000) < 2000);
    world_end(&w);
}
