/* A stream as its own files and the loop see it. Private to this floor: includes <uv.h>.
 *
 *   stream.c        the beginning, reading, and what is told from a task or a deadline
 *   stream_write.c  writing, the end of our side and its confirmation, the user timeout
 *   stream_leave.c  abort, close, lingering, the release
 */
#ifndef TIDEGATE_STREAM_INTERNAL_H
#define TIDEGATE_STREAM_INTERNAL_H

#include "loop_internal.h"
#include "queue.h"
#include "stream.h"
#include "watch_internal.h"

enum stream_state {
    STREAM_CONNECTING, /* belongs to connect.c */
    STREAM_OPEN,       /* has an owner */
    STREAM_ABORTED, /* was told abort(): waits until the peer has what was written, then resets */
    STREAM_CLOSING, /* was told close(): flushes, ends our side, discards input up to the peer's end
                     */
    STREAM_CLOSED,  /* its memory is freed at the end of the turn */
};

/* One for each of two connections at an idle WebSocket: what it holds is what that costs. Of what
 * is needed in one state only, the states share the room. */
struct stream {
    struct duplex duplex;
    uv_poll_t *poll; /* its data: this. A uv_poll_t of something else has no data. NULL: closed */
    const struct stream_options *options;
    struct queue outbox; /* what the kernel would not take at once */
    void (*on_release)(void *arg);
    void *release_arg;
    union {
        struct task task;         /* open: tells the owner what its own calls brought about */
        uint64_t linger_until_ms; /* aborted */
        uint64_t closing_pending; /* closing: bytes that the peer had not taken, at the last look */
        struct stream *next_gone; /* closed */
    };
    struct deadline deadline; /* open: the watch over the user timeout; later: the linger time */
    int16_t
        failure; /* negative errno of the first write that failed: nothing is written any more */
    uint16_t flush_poll_ms; /* until the next look at what the peer has */
    enum stream_state state : 8;
    unsigned read_shift : 3; /* how much the next read may fill: see READ_LEAST */
    unsigned polled : 2;     /* UV_READABLE, UV_WRITABLE: what libuv has been told to wait for */
    bool is_tcp : 1;
    bool is_paused : 1;
    bool has_ended : 1;     /* the peer's side is complete */
    bool is_finishing : 1;  /* our side shall end behind what was written */
    bool is_finished : 1;   /* it has: shutdown(2) is done */
    bool awaits_ack : 1;    /* ... but the peer's kernel has not confirmed it yet */
    bool is_acked : 1;      /* it has: TCP only */
    bool owes_finished : 1; /* on_finished is to be told */
    bool is_full : 1;       /* on_drain is to be told, once nothing waits */
    bool is_broken : 1;     /* on_abort is to be told by the task */
    bool has_timeouts : 1;  /* keepalive and TCP_USER_TIMEOUT are set, or need not be */
    bool is_user_timeout_lifted : 1;
    bool is_corked : 1;    /* what is written waits for the end of our side, which is next */
    bool was_blocking : 1; /* O_NONBLOCK is to be taken from the open file in the end */
};

static inline struct stream *stream_of(struct duplex *d)
{
    return container_of(d, struct stream, duplex);
}

static inline struct loop *stream_loop(const struct stream *s)
{
    return s->poll->loop->data;
}

static inline struct scheduler *stream_scheduler(const struct stream *s)
{
    return &stream_loop(s)->scheduler;
}

static inline int stream_fd(const struct stream *s)
{
    return watch_fd(s->poll);
}

/* The next look at what the peer has comes after twice the time. */
static inline void stream_look_rarer(struct stream *s, unsigned most_ms)
{
    unsigned next_ms = s->flush_poll_ms * 2U;
    s->flush_poll_ms = (uint16_t)(next_ms < most_ms ? next_ms : most_ms);
}

/* ---- stream.c ---- */

/* For connect.c: takes over the socket of a connect(2) that is done, or under way. In the latter
 * case connect_attempt_done comes from the loop, with `dial`, unless stream_give_up does before.
 * NULL: out of memory (or libuv refuses it), `fd` is then closed. */
struct stream *stream_connect(struct loop *l, int fd, bool is_tcp, bool is_connected,
                              const struct stream_options *options, void *dial);
void stream_give_up(struct stream *s);

/* Tells libuv what the stream waits for: more than before at once, less when what is not waited for
 * has come. A pause that is over by then has cost nothing. */
void stream_await(struct stream *s);

/* Tells the owner what its calls, or the end of a write, brought about. */
void stream_tell(struct stream *s);

/* ---- stream_write.c ---- */

/* Calls of the duplex. */
bool stream_write(struct duplex *d, const struct span *spans, size_t count);
void stream_finish(struct duplex *d);
uint64_t stream_pending(const struct duplex *d);
void stream_cork(struct duplex *d);

/* Whether something waits until it can be written. */
bool stream_wants_write(const struct stream *s);

/* Writes what waits, and tells what follows from it. From the loop. */
void stream_flush(struct stream *s);

/* Ends our side, if that was asked for and nothing waits. */
void stream_finish_if_flushed(struct stream *s);

/* Whether the peer's kernel has confirmed the end of our side: if so, on_finished will be told. */
void stream_check_ack(struct stream *s);

/* Sets the deadline of an open stream for the first time, if that is needed before it writes. */
void stream_begin_watch(struct stream *s);

/* It has come. */
void stream_look(struct stream *s);

/* ---- connect.c ---- */

/* `status` 0: the stream is open and paused, its owner is to be told; or a negative errno: it is to
 * be given up. */
void connect_attempt_done(void *dial, struct stream *s, int status);

/* ---- stream_leave.c ---- */

/* Calls of the duplex. */
void stream_abort(struct duplex *d, struct cause cause);
void stream_close(struct duplex *d);

/* Resets it; the owner hears nothing. */
void stream_reset(struct stream *s);

/* Closes the descriptor as it stands: stream_reset and stream_end say which way. */
void stream_destroy(struct stream *s);

/* Closes it when both sides are over. */
void stream_end(struct stream *s);

/* Resets it and tells the owner; `status` is a negative errno. */
void stream_break(struct stream *s, int status);

/* Sets the deadline to the linger time from now. */
void stream_linger(struct stream *s);

/* The deadline of an aborted stream, and the end of its last write. */
void stream_poll_flush(struct stream *s);

/* The deadline of a closing stream. */
void stream_look_closing(struct stream *s);

/* For the loop: frees those that are closed, and tells who waits for their descriptors. */
void stream_free_gone(struct loop *l);

/* For the loop: if that is a stream, resets it now, without any event to its owner. */
void stream_discard(uv_handle_t *handle);

#endif
