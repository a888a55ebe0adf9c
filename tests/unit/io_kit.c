#include "io_kit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK 65536

const struct stream_options kit_options = {.linger_ms = 5000};

uint64_t kit_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

struct alarm {
    struct deadline deadline;
    struct loop *loop;
    bool has_fired;
};

static void on_alarm(struct deadline *d)
{
    struct alarm *a = container_of(d, struct alarm, deadline);
    a->has_fired = true;
    loop_stop(a->loop);
}

bool kit_run_for(struct loop *l, uint64_t ms)
{
    struct alarm a = {.loop = l};
    deadline_init(&a.deadline, on_alarm);
    deadline_set(loop_scheduler(l), &a.deadline, ms);
    loop_run(l);
    deadline_clear(loop_scheduler(l), &a.deadline);
    return a.has_fired;
}

void kit_turn(struct loop *l)
{
    kit_run_for(l, 100);
}

uint64_t kit_run_dry(struct loop *l, uint64_t limit_ms)
{
    uint64_t start_ms = kit_now_ms();
    while (loop_open_streams(l) > 0) {
        if (kit_now_ms() - start_ms > limit_ms)
            fail_msg("%u streams still open after %u ms", loop_open_streams(l), (unsigned)limit_ms);
        kit_run_for(l, 1000);
    }
    return kit_now_ms() - start_ms;
}

int kit_listen(const char *ip, uint16_t *port, int backlog)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(*port)};
    assert_int_equal(inet_pton(AF_INET, ip, &a.sin_addr), 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, backlog), 0);
    socklen_t len = sizeof(a);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

static void make_ours(int fd)
{
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
}

/* A peer that waits in vain shall fail the test, not hang it. */
static void make_theirs(int fd)
{
    struct timeval limit = {.tv_sec = 20};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

void kit_tcp_pair(int fds[2])
{
    uint16_t port = 0;
    int listener = kit_listen("127.0.0.1", &port, 1);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fds[1], (struct sockaddr *)&a, sizeof(a)), 0);
    fds[0] = accept(listener, NULL, NULL);
    assert_true(fds[0] >= 0);
    close(listener);
    make_ours(fds[0]);
    make_theirs(fds[1]);
}

void kit_unix_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    make_ours(fds[0]);
    make_theirs(fds[1]);
}

void kit_reset(int fd)
{
    struct linger linger = {.l_onoff = 1};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
    close(fd);
}

int kit_tcp_state(int fd)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    return info.tcpi_state;
}

static uint8_t pattern_byte(uint64_t i)
{
    return (uint8_t)((i * 31) ^ (i >> 8) ^ (i >> 16) ^ (i >> 24));
}

void kit_pattern(uint8_t *data, size_t len, uint64_t offset)
{
    for (size_t i = 0; i < len; i++)
        data[i] = pattern_byte(offset + i);
}

bool kit_is_pattern(const uint8_t *data, size_t len, uint64_t offset)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] != pattern_byte(offset + i))
            return false;
    }
    return true;
}

/* ---- An owner ---- */

static void app_note(struct app *a, const char *event)
{
    assert_false(a->is_in_call);
    assert_int_equal(a->aborts, 0); /* nothing comes after it */
    assert_non_null(a->d);
    if (a->hook != NULL)
        a->hook(a, event);
    loop_stop(a->l);
}

static void app_on_data(void *owner, struct span data)
{
    struct app *a = owner;
    assert_true(data.len > 0);
    assert_int_equal(a->ends, 0);
    if (!kit_is_pattern(data.data, data.len, a->got))
        a->is_wrong = true;
    memset(data.data, 0xee, data.len); /* it is ours to change */
    a->got += data.len;
    a->reads++;
    if (data.len > a->largest_read)
        a->largest_read = data.len;
    if (a->pauses_in_data || (a->pause_at != 0 && a->got >= a->pause_at))
        app_pause(a);
    app_note(a, "data");
}

static void app_on_end(void *owner)
{
    struct app *a = owner;
    assert_int_equal(a->ends, 0);
    a->ends++;
    app_note(a, "end");
}

static void app_on_abort(void *owner, struct cause cause)
{
    struct app *a = owner;
    app_note(a, "abort");
    a->aborts++;
    a->cause = cause;
    a->d = NULL;
}

static void app_on_drain(void *owner)
{
    struct app *a = owner;
    a->drains++;
    app_note(a, "drain");
    if (a->d != NULL && a->written < a->to_write)
        app_pump(a);
}

static void app_on_finished(void *owner)
{
    struct app *a = owner;
    assert_int_equal(a->finishes, 0);
    a->finishes++;
    app_note(a, "finished");
}

static const struct duplex_events app_events = {
    .on_data = app_on_data,
    .on_end = app_on_end,
    .on_abort = app_on_abort,
    .on_drain = app_on_drain,
    .on_finished = app_on_finished,
};

static void app_on_release(void *arg)
{
    struct app *a = arg;
    a->releases++;
    loop_stop(a->l);
}

void app_adopt(struct app *a, struct loop *l, struct duplex *d)
{
    assert_non_null(d);
    a->d = d;
    a->l = l;
    duplex_own(d, &app_events, a);
}

void app_own(struct app *a, struct loop *l, struct duplex *d)
{
    app_adopt(a, l, d);
    stream_on_release(d, app_on_release, a);
}

void app_open(struct app *a, struct loop *l, int fd, enum stream_kind kind,
              const struct stream_options *options)
{
    app_own(a, l, stream_open(l, fd, kind, options));
}

bool app_write(struct app *a, const void *data, size_t len)
{
    /* in two spans, from memory that is gone afterwards */
    uint8_t *copy = malloc(len + 1);
    assert_non_null(copy);
    memcpy(copy, data, len);
    struct span spans[2] = {{copy, len / 3}, {copy + len / 3, len - len / 3}};
    a->is_in_call = true;
    bool is_full = duplex_write(a->d, spans, 2);
    a->is_in_call = false;
    free(copy);
    return is_full;
}

bool app_write_pattern(struct app *a, size_t len)
{
    uint8_t *data = malloc(len);
    assert_non_null(data);
    kit_pattern(data, len, a->written);
    a->written += len;
    bool is_full = app_write(a, data, len);
    free(data);
    return is_full;
}

void app_pump(struct app *a)
{
    bool is_full = false;
    while (!is_full && a->written < a->to_write) {
        uint64_t left = a->to_write - a->written;
        is_full = app_write_pattern(a, left < CHUNK ? (size_t)left : CHUNK);
    }
    if (a->written == a->to_write && a->finishes_at_end)
        app_finish(a);
}

#define APP_CALL(a, call)                                                                          \
    do {                                                                                           \
        (a)->is_in_call = true;                                                                    \
        call;                                                                                      \
        (a)->is_in_call = false;                                                                   \
    } while (0)

void app_finish(struct app *a)
{
    APP_CALL(a, duplex_finish(a->d));
}

void app_abort(struct app *a)
{
    struct cause cause = {.what = CAUSE_CLOSED};
    APP_CALL(a, duplex_abort(a->d, cause));
    a->d = NULL;
}

void app_pause(struct app *a)
{
    APP_CALL(a, duplex_pause(a->d));
}

void app_resume(struct app *a)
{
    APP_CALL(a, duplex_resume(a->d));
}

void app_close(struct app *a)
{
    APP_CALL(a, duplex_close(a->d));
    a->d = NULL;
}

/* ---- A peer ---- */

void peer_read(struct peer *p)
{
    uint8_t *data = malloc(CHUNK);
    for (;;) {
        if (p->slow_us > 0)
            usleep(p->slow_us);
        ssize_t n = recv(p->fd, data, CHUNK, 0);
        if (n <= 0) {
            p->read_error = n < 0 ? errno : 0;
            break;
        }
        if (!kit_is_pattern(data, (size_t)n, p->got))
            p->is_wrong = true;
        p->got += (uint64_t)n;
    }
    free(data);
}

static void *peer_send(void *arg)
{
    struct peer *p = arg;
    uint8_t *data = malloc(CHUNK);
    while (p->sent < p->to_send) {
        uint64_t left = p->to_send - p->sent;
        size_t len = left < CHUNK ? (size_t)left : CHUNK;
        kit_pattern(data, len, p->sent);
        ssize_t n = send(p->fd, data, len, MSG_NOSIGNAL);
        if (n < 0) {
            p->send_error = errno;
            break;
        }
        p->sent += (uint64_t)n;
    }
    free(data);
    if (p->ends_after_send)
        shutdown(p->fd, SHUT_WR);
    return NULL;
}

static void *peer_run(void *arg)
{
    struct peer *p = arg;
    pthread_t sender;
    bool sends = p->to_send > 0 || p->ends_after_send;
    if (sends && pthread_create(&sender, NULL, peer_send, p) != 0)
        abort();
    if (p->reads)
        peer_read(p);
    if (sends)
        pthread_join(sender, NULL);
    return NULL;
}

void peer_start(struct peer *p)
{
    assert_int_equal(pthread_create(&p->thread, NULL, peer_run, p), 0);
}

void peer_join(struct peer *p)
{
    pthread_join(p->thread, NULL);
}

void peer_write(struct peer *p, size_t len)
{
    uint8_t *data = malloc(len);
    assert_non_null(data);
    kit_pattern(data, len, p->sent);
    assert_int_equal(send(p->fd, data, len, MSG_NOSIGNAL), len);
    p->sent += len;
    free(data);
}

void world_open(struct world *w, enum stream_kind kind, const struct stream_options *options)
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

void world_end(struct world *w)
{
    if (w->peer.fd >= 0)
        close(w->peer.fd);
    loop_free(w->l);
    assert_false(w->app.is_wrong);
    assert_false(w->peer.is_wrong);
}
