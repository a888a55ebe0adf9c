/* A stream as its own files and the loop see it. Private to this floor: includes <uv.h>.
 *
 *   stream.c        the beginning, reading, and what is told from a task or a deadline
 *   stream_write.c  writing, the end of our side and its confirmation, the user timeout
 *   stream_leave.c  abort, close, lingering, the release
 */
#ifndef TIDEGATE_STREAM_INTERNAL_H
#define TIDEGATE_STREAM_INTERNAL_H

#include "loop_internal.h"
#include "stream.h"

enum stream_state {
    STREAM_OPEN,    /* has an owner */
    STREAM_ABORTED, /* was told abort(): waits until the peer has what was written, then resets */
    STREAM_CLOSING, /* was told close(): flushes, ends our side, discards input up to the peer's end
                     */
    STREAM_CLOSED,  /* uv_close is under way */
};

struct outbox; /* stream_write.c's */

struct stream {
    struct duplex duplex;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct loop *loop;
    struct stream *next, **link;
    const struct stream_options *options;
    struct outbox *outbox; /* what the kernel would not take at once, or NULL */
    void (*on_release)(void *arg);
    void *release_arg;
    struct task task;         /* tells the owner what its own calls brought about */
    struct deadline deadline; /* open: the watch over the user timeout; later: the linger time */
    uint64_t linger_until_ms;
    uint64_t closing_pending; /* closing: bytes that the peer had not taken, at the last look */
    int failure; /* negative errno of the first write that failed: nothing is written any more */
    unsigned read_size; /* how much the next read may fill */
    unsigned turn;      /* of the loop, in which turn_bytes were read */
    unsigned turn_bytes;
    unsigned flush_poll_ms; /* aborted: until the next look at what the peer has */
    enum stream_state state : 8;
    bool is_tcp : 1;
    bool is_paused : 1;
    bool has_ended : 1;     /* the peer's side is complete */
    bool is_finishing : 1;  /* our side shall end behind what was written */
    bool is_finished : 1;   /* it has: shutdown(2) is done */
    bool awaits_ack : 1;    /* ... but the peer's kernel has not confirmed it yet */
    bool owes_finished : 1; /* on_finished is to be told */
    bool is_full : 1;       /* on_drain is to be told, once nothing waits */
    bool is_broken : 1;     /* on_abort is to be told by the task */
    bool is_user_timeout_lifted : 1;
    bool has_old_flags : 1;
    int old_flags; /* of the open file, to be put back */
};

static inline struct stream *stream_of(struct duplex *d)
{
    return container_of(d, struct stream, duplex);
}

static inline int stream_fd(const struct stream *s)
{
    uv_os_fd_t fd;
    return uv_fileno(&s->uv.handle, &fd) == 0 ? fd : -1;
}

/* ---- stream.c ---- */

/* A failure is told by the task. */
void stream_start_reading(struct stream *s);

/* Tells the owner what its calls, or the end of a write, brought about. */
void stream_tell(struct stream *s);

/* ---- stream_write.c ---- */

/* Calls of the duplex. */
bool stream_write(struct duplex *d, const struct span *spans, size_t count);
void stream_finish(struct duplex *d);
uint64_t stream_pending(const struct duplex *d);

/* Ends our side, if that was asked for and nothing waits. */
void stream_finish_if_flushed(struct stream *s);

/* Whether the peer's kernel has confirmed the end of our side: if so, on_finished will be told. */
void stream_check_ack(struct stream *s);

/* The deadline of an open stream. */
void stream_look(struct stream *s);

/* TCP_USER_TIMEOUT, where it is not lifted. */
uint64_t stream_user_timeout_ms(const struct stream *s);

/* Only while libuv has no request of it. Harmless if there is none. */
void stream_free_outbox(struct stream *s);

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

/* For the loop: resets it now, without any event to its owner. Returns the next one of the loop. */
struct stream *stream_discard(struct stream *s);

#endif
