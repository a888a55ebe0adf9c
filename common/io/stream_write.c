/* Writing: what the kernel does not take at once, the end of our side, and how the peer's kernel
 * takes it. */
#include "loop_internal.h"
#include "queue.h"
#include "stream_internal.h"
#include "stream_socket.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define WRITE_SPANS     16
#define TIMEOUTS_MS     2000 /* until keepalive and TCP_USER_TIMEOUT are set */
#define ACK_POLL_MS     100
#define ACK_POLL_MAX_MS 1000

static size_t span_total(const struct span *spans, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += spans[i].len;
    return total;
}

bool stream_wants_write(const struct stream *s)
{
    return !queue_is_empty(&s->outbox);
}

/* Writing is over, but what the peer had sent before can still be read: the owner hears of it
 * behind that. */
static void stream_write_failed(struct stream *s, int status)
{
    if (s->state != STREAM_OPEN) {
        stream_reset(s);
        return;
    }
    queue_clear(&s->outbox);
    s->failure = (int16_t)status;
    if (s->has_ended || status == UV_ENOMEM)
        s->is_broken = true;
    else
        stream_linger(s);
    task_defer(stream_scheduler(s), &s->task);
}

/* ---- The end of our side ---- */

/* Our side is finished once the peer's kernel has confirmed all of it: what was handed to our own
 * can still be lost. Nothing tells when; it is looked at when our side ends, when the peer's ends
 * (which confirms ours, as a rule), and now and then. */
static void stream_settle_ack(struct stream *s, enum stream_socket_tail tail)
{
    if (stream_socket_is_under_way(tail)) {
        deadline_set(stream_scheduler(s), &s->deadline, s->flush_poll_ms);
        stream_look_rarer(s, ACK_POLL_MAX_MS);
        return;
    }
    s->awaits_ack = false;
    s->is_acked = s->is_tcp && tail == STREAM_TAIL_ACKED;
    /* Of a break behind that, reading tells, if it goes on. */
    int status = s->is_acked && !s->has_ended ? 0 : stream_socket_error(stream_fd(s));
    if (status != 0) {
        stream_write_failed(s, status);
        return;
    }
    s->owes_finished = true;
    task_defer(stream_scheduler(s), &s->task);
}

void stream_check_ack(struct stream *s)
{
    if (s->awaits_ack)
        stream_settle_ack(s, s->is_tcp ? stream_socket_tail(stream_fd(s)) : STREAM_TAIL_ACKED);
}

void stream_finish_if_flushed(struct stream *s)
{
    if (!s->is_finishing || s->is_finished || !queue_is_empty(&s->outbox) || s->failure != 0)
        return;
    int status = stream_socket_finish(stream_fd(s));
    if (status != 0) {
        stream_write_failed(s, status);
        return;
    }
    s->is_finished = true;
    if (s->state == STREAM_OPEN) {
        s->awaits_ack = true;
        s->flush_poll_ms = ACK_POLL_MS;
        stream_check_ack(s);
    } else if (s->has_ended) {
        stream_end(s);
    }
}

/* ---- To the kernel, now or later ---- */

/* Bytes that the kernel takes at once, or a negative errno. */
static ssize_t stream_try_write(struct stream *s, const struct span *spans, size_t count)
{
    struct iovec pieces[WRITE_SPANS];
    int fd = stream_fd(s);
    ssize_t n;
    if (count > WRITE_SPANS)
        count = WRITE_SPANS;
    for (size_t i = 0; i < count; i++)
        pieces[i] = (struct iovec){.iov_base = spans[i].data, .iov_len = spans[i].len};
    const struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
    do
        n = s->is_corked ? sendmsg(fd, &message, MSG_MORE | MSG_NOSIGNAL)
            : count == 1 ? write(fd, spans[0].data, spans[0].len)
                         : writev(fd, pieces, (int)count);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return n;
    return errno == EAGAIN ? 0 : -errno;
}

/* Copies what is left of `spans` behind their first `taken` bytes. 0 or UV_ENOMEM. */
static int stream_keep(struct stream *s, const struct span *spans, size_t count, size_t taken)
{
    for (size_t i = 0; i < count; i++) {
        size_t skipped = taken < spans[i].len ? taken : spans[i].len;
        struct span rest = {spans[i].data + skipped, spans[i].len - skipped};
        taken -= skipped;
        if (queue_push(&s->outbox, rest) != 0)
            return UV_ENOMEM;
    }
    return 0;
}

static void stream_flushed(struct stream *s)
{
    if (s->state == STREAM_ABORTED) {
        stream_poll_flush(s);
        return;
    }
    stream_finish_if_flushed(s);
    if (s->state == STREAM_OPEN)
        stream_tell(s);
}

void stream_flush(struct stream *s)
{
    struct queue *queue = &s->outbox;
    size_t asked = 0;
    ssize_t written;
    do {
        struct span spans[WRITE_SPANS];
        size_t count = queue_peek(queue, spans, WRITE_SPANS);
        asked = span_total(spans, count);
        written = stream_try_write(s, spans, count);
        if (written < 0) {
            stream_write_failed(s, (int)written);
            return;
        }
        queue_drop(queue, (size_t)written);
    } while ((size_t)written == asked && !queue_is_empty(queue));
    if (queue_is_empty(queue))
        stream_flushed(s);
}

/* ---- The user timeout ---- */

static uint64_t user_timeout_ms(const struct stream *s)
{
    uint64_t timeout_ms = s->options->user_timeout_ms;
    return timeout_ms != 0 ? timeout_ms : STREAM_SOCKET_USER_TIMEOUT_MS;
}

static void stream_arm_watch(struct stream *s)
{
    if (s->is_tcp && !deadline_is_set(&s->deadline))
        deadline_set(stream_scheduler(s), &s->deadline, user_timeout_ms(s) / 3);
}

void stream_begin_watch(struct stream *s)
{
    if (s->has_timeouts)
        return;
    uint64_t first_ms = user_timeout_ms(s) / 3;
    deadline_set(stream_scheduler(s), &s->deadline,
                 first_ms < TIMEOUTS_MS ? first_ms : TIMEOUTS_MS);
}

/* TCP_USER_TIMEOUT is there for a peer that is gone, but it also ends a connection whose peer
 * answers every probe of its closed window (measured on Linux 6): it is lifted as long as that is
 * how things are. */
static void stream_watch(struct stream *s, enum stream_socket_tail tail)
{
    bool is_to_lift =
        tail == STREAM_TAIL_STALLED || (tail == STREAM_TAIL_UNKNOWN && s->is_user_timeout_lifted);
    if (is_to_lift != s->is_user_timeout_lifted) {
        s->is_user_timeout_lifted = is_to_lift;
        stream_socket_set_user_timeout(stream_fd(s), is_to_lift ? 0 : user_timeout_ms(s));
    }
    if (stream_socket_is_under_way(tail) || !queue_is_empty(&s->outbox))
        stream_arm_watch(s);
}

void stream_look(struct stream *s)
{
    if (!s->has_timeouts) {
        s->has_timeouts = true;
        stream_socket_set_timeouts(stream_fd(s), user_timeout_ms(s));
    }
    enum stream_socket_tail tail = stream_socket_tail(stream_fd(s));
    stream_watch(s, tail);
    if (s->awaits_ack)
        stream_settle_ack(s, tail);
}

/* ---- The calls ---- */

bool stream_write(struct duplex *d, const struct span *spans, size_t count)
{
    struct stream *s = stream_of(d);
    assert(s->state == STREAM_OPEN && !s->is_finishing);
    size_t size = span_total(spans, count);
    if (s->failure != 0 || size == 0)
        return s->failure == 0 && s->is_full;

    ssize_t taken = queue_is_empty(&s->outbox) ? stream_try_write(s, spans, count) : 0;
    int status = (int)taken;
    if (taken >= 0 && (size_t)taken < size)
        status = stream_keep(s, spans, count, (size_t)taken);
    if (status < 0) {
        stream_write_failed(s, status);
        return false;
    }
    stream_arm_watch(s);
    if (queue_is_empty(&s->outbox))
        return false;
    s->is_full = true;
    stream_await(s);
    return true;
}

uint64_t stream_pending(const struct duplex *d)
{
    const struct stream *s = container_of(d, const struct stream, duplex);
    uint64_t waiting = queue_size(&s->outbox);
    return waiting + stream_socket_outstanding(stream_fd(s));
}

void stream_cork(struct duplex *d)
{
    struct stream *s = stream_of(d);
    s->is_corked = s->is_tcp;
}

void stream_finish(struct duplex *d)
{
    struct stream *s = stream_of(d);
    assert(s->state == STREAM_OPEN);
    s->is_finishing = true;
    stream_finish_if_flushed(s);
}
