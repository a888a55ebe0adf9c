/* Leaving the owner: a reset or an orderly close, what is still waited for before it, and the
 * release. */
#include "loop_internal.h"
#include "stream_internal.h"
#include "stream_socket.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>

#define FLUSH_POLL_MS     5
#define FLUSH_POLL_MAX_MS 100

/* ---- The end of a stream ---- */

static void on_closed(uv_handle_t *handle)
{
    struct stream *s = container_of(handle, struct stream, uv.handle);
    loop_touch(s->loop);
    stream_free_outbox(s); /* here, because libuv has called its request back only now */
    *s->link = s->next;
    if (s->next != NULL)
        s->next->link = s->link;
    s->loop->stream_count--;
    void (*on_release)(void *arg) = s->loop->is_ending ? NULL : s->on_release;
    void *arg = s->release_arg;
    free(s);
    if (on_release != NULL)
        on_release(arg);
}

/* No event goes to the owner any more. */
static void stream_detach(struct stream *s, enum stream_state state)
{
    s->state = state;
    task_cancel(&s->loop->scheduler, &s->task);
    deadline_clear(&s->loop->scheduler, &s->deadline);
}

void stream_destroy(struct stream *s)
{
    stream_detach(s, STREAM_CLOSED);
    if (s->has_old_flags)
        fcntl(stream_fd(s), F_SETFL, s->old_flags);
    uv_close(&s->uv.handle, on_closed);
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

/* Both sides are over: the kernel may take its time to get our end across. */
void stream_end(struct stream *s)
{
    if (s->is_tcp)
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
    s->linger_until_ms = s->loop->scheduler.now_ms + s->options->linger_ms;
    deadline_set(&s->loop->scheduler, &s->deadline, s->options->linger_ms);
}

/* ---- Leaving the owner ---- */

void stream_poll_flush(struct stream *s)
{
    uint64_t now_ms = s->loop->scheduler.now_ms;
    bool is_flushed =
        s->outbox == NULL && (!s->is_tcp || stream_socket_tail(stream_fd(s)) == STREAM_TAIL_ACKED);
    if (is_flushed || now_ms >= s->linger_until_ms) {
        stream_reset(s);
        return;
    }
    uint64_t delay_ms = s->linger_until_ms - now_ms;
    if (s->outbox == NULL && delay_ms > s->flush_poll_ms) {
        delay_ms = s->flush_poll_ms;
        s->flush_poll_ms =
            s->flush_poll_ms * 2 < FLUSH_POLL_MAX_MS ? s->flush_poll_ms * 2 : FLUSH_POLL_MAX_MS;
    }
    deadline_set(&s->loop->scheduler, &s->deadline, delay_ms);
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
    uv_read_stop(&s->uv.stream);
    s->linger_until_ms = s->loop->scheduler.now_ms + s->options->linger_ms;
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
    s->closing_pending = stream_pending(d);
    stream_linger(s);
    s->is_finishing = true;
    stream_finish_if_flushed(s);
    if (s->state != STREAM_CLOSING)
        return;
    if (!s->has_ended)
        stream_start_reading(s);
    else if (s->is_finished)
        stream_end(s);
}

/* A peer that takes what waits for it has more time; one that has it all, and only does not end its
 * side, is left to the kernel; one that takes nothing is reset. */
void stream_look_closing(struct stream *s)
{
    uint64_t pending = stream_pending(&s->duplex);
    if (pending == 0 && s->is_finished) {
        stream_end(s);
    } else if (pending < s->closing_pending) {
        s->closing_pending = pending;
        stream_linger(s);
    } else {
        stream_reset(s);
    }
}

struct stream *stream_discard(struct stream *s)
{
    struct stream *next = s->next;
    if (s->state != STREAM_CLOSED)
        stream_reset(s);
    return next;
}
