/* Leaving the owner: a reset or an orderly close, what is still waited for before it, and the
 * release. */
#include "loop_internal.h"
#include "stream_internal.h"
#include "stream_socket.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define LINGER_PART       8          /* of the linger time passes before the first look */
#define NOT_LOOKED        UINT64_MAX /* more than can wait */
#define FLUSH_POLL_MS     5
#define FLUSH_POLL_MAX_MS 100

/* ---- The end of a stream ---- */

void stream_free_gone(struct loop *l)
{
    while (l->gone != NULL) {
        struct stream *s = l->gone;
        l->gone = s->next_gone;
        l->stream_count--;
        void (*on_release)(void *arg) = l->is_ending ? NULL : s->on_release;
        void *arg = s->release_arg;
        free(s);
        if (on_release != NULL)
            on_release(arg);
    }
}

/* No event goes to the owner any more. */
static void stream_detach(struct stream *s, enum stream_state state)
{
    if (s->state == STREAM_OPEN)
        task_cancel(stream_scheduler(s), &s->task);
    deadline_clear(stream_scheduler(s), &s->deadline);
    s->state = state;
}

static void allow_blocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0)
        fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}

void stream_destroy(struct stream *s)
{
    struct loop *l = stream_loop(s);
    int fd = stream_fd(s);
    stream_detach(s, STREAM_CLOSED);
    queue_clear(&s->outbox);
    if (s->was_blocking)
        allow_blocking(fd);
    watch_close(s->poll);
    s->poll = NULL;
    close(fd);
    s->next_gone = l->gone;
    l->gone = s;
}

/* The socket resets when it is closed, from the beginning on (stream_socket_tune): whatever ends
 * the process, the peer does not take it for an end. So this is all there is to do;
 * uv_tcp_close_reset would refuse (EINVAL, libuv 1.44) after a shutdown.
 *
 * A unix socket has no reset. Measured on Linux 6: if input is left unread the peer reads what we
 * had sent and then gets ECONNRESET; if none is left it sees an end. What we had sent stays
 * readable either way. */
void stream_reset(struct stream *s)
{
    stream_destroy(s);
}

/* Both sides are over: the kernel may take its time to get our end across. If it has, and the
 * peer's end has come, the connection is closed already: there is nothing left to reset. */
void stream_end(struct stream *s)
{
    if (s->is_tcp && !(s->is_acked && s->has_ended))
        stream_socket_set_reset(stream_fd(s), false);
    stream_destroy(s);
}

void stream_break(struct stream *s, int status)
{
    const struct duplex_events *events = s->duplex.events;
    void *owner = s->duplex.owner;
    stream_reset(s);
    events->on_abort(owner, cause_from_errno(status));
}

void stream_linger(struct stream *s)
{
    deadline_set(stream_scheduler(s), &s->deadline, s->options->linger_ms);
}

/* ---- Leaving the owner ---- */

void stream_poll_flush(struct stream *s)
{
    uint64_t now_ms = stream_scheduler(s)->now_ms;
    bool is_flushed = queue_is_empty(&s->outbox) &&
                      (!s->is_tcp || !stream_socket_is_under_way(stream_socket_tail(stream_fd(s))));
    if (is_flushed || now_ms >= s->linger_until_ms) {
        stream_reset(s);
        return;
    }
    uint64_t delay_ms = s->linger_until_ms - now_ms;
    if (queue_is_empty(&s->outbox) && delay_ms > s->flush_poll_ms) {
        delay_ms = s->flush_poll_ms;
        stream_look_rarer(s, FLUSH_POLL_MAX_MS);
    }
    deadline_set(stream_scheduler(s), &s->deadline, delay_ms);
}

void stream_abort(struct duplex *d, struct cause cause)
{
    (void)cause; /* a reset carries no reason */
    struct stream *s = stream_of(d);
    assert(s->state == STREAM_OPEN);
    stream_detach(s, STREAM_ABORTED);
    if (s->failure != 0) {
        stream_reset(s);
        return;
    }
    s->linger_until_ms = stream_scheduler(s)->now_ms + s->options->linger_ms;
    s->flush_poll_ms = FLUSH_POLL_MS;
    stream_poll_flush(s);
}

void stream_close(struct duplex *d)
{
    struct stream *s = stream_of(d);
    assert(s->state == STREAM_OPEN);
    stream_detach(s, STREAM_CLOSING);
    if (s->failure != 0) {
        stream_reset(s);
        return;
    }
    s->is_finishing = true;
    stream_finish_if_flushed(s);
    if (s->state != STREAM_CLOSING)
        return;
    if (s->has_ended && s->is_finished) {
        stream_end(s);
        return;
    }
    s->closing_pending = NOT_LOOKED;
    deadline_set(stream_scheduler(s), &s->deadline, s->options->linger_ms / LINGER_PART);
    stream_await(s);
}

/* A peer that takes what waits for it has more time; one that has it all, and only does not end its
 * side, is left to the kernel; one that takes nothing is reset. The first look, early, only sees
 * how much waits: of most connections nothing is left by then. */
void stream_look_closing(struct stream *s)
{
    uint64_t pending = stream_pending(&s->duplex);
    uint64_t linger_ms = s->options->linger_ms;
    if (s->closing_pending == NOT_LOOKED) {
        s->closing_pending = pending;
        deadline_set(stream_scheduler(s), &s->deadline, linger_ms - linger_ms / LINGER_PART);
    } else if (pending == 0 && s->is_finished) {
        stream_end(s);
    } else if (pending < s->closing_pending) {
        s->closing_pending = pending;
        stream_linger(s);
    } else {
        stream_reset(s);
    }
}

void stream_discard(uv_handle_t *handle)
{
    if (handle->type != UV_POLL || handle->data == NULL)
        return;
    struct stream *s = handle->data;
    if (s->state != STREAM_CONNECTING)
        stream_reset(s);
}
