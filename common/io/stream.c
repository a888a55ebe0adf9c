#include "stream.h"

#include "loop_internal.h"
#include "queue.h"
#include "stream_internal.h"
#include "stream_socket.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define READ_LEAST        16384   /* bytes one read may fill, until the owner has kept up with it */
#define READ_TURN         1048576 /* bytes read in one turn of the loop, before others get theirs */
#define WRITE_SPANS       16
#define USER_TIMEOUT_MS   60000
#define FLUSH_POLL_MS     5
#define FLUSH_POLL_MAX_MS 100
#define ACK_POLL_MS       100
#define ACK_POLL_MAX_MS   1000

enum stream_state {
    STREAM_OPEN,    /* has an owner */
    STREAM_ABORTED, /* was told abort(): waits until the peer has what was written, then resets */
    STREAM_CLOSING, /* was told close(): flushes, ends our side, discards input up to the peer's end
                     */
    STREAM_CLOSED,  /* uv_close is under way */
};

/* What the kernel would not take at once. Exists only while there is such. */
struct outbox {
    uv_write_t request;
    struct queue queue;
    size_t under_way; /* bytes that the request describes */
};

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
    struct outbox *outbox;
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

static void stream_start_reading(struct stream *s);

static struct stream *stream_of(struct duplex *d)
{
    return container_of(d, struct stream, duplex);
}

static int stream_fd(const struct stream *s)
{
    uv_os_fd_t fd;
    return uv_fileno(&s->uv.handle, &fd) == 0 ? fd : -1;
}

/* ---- The end of a stream ---- */

static void outbox_free(struct stream *s)
{
    if (s->outbox == NULL)
        return;
    queue_clear(&s->outbox->queue);
    free(s->outbox);
    s->outbox = NULL;
}

static void on_closed(uv_handle_t *handle)
{
    struct stream *s = container_of(handle, struct stream, uv.handle);
    loop_touch(s->loop);
    outbox_free(s); /* here, because libuv has called its request back only now */
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

static void stream_destroy(struct stream *s)
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
static void stream_reset(struct stream *s)
{
    stream_destroy(s);
}

/* Both sides are over: the kernel may take its time to get our end across. */
static void stream_end(struct stream *s)
{
    if (s->is_tcp)
        stream_socket_set_reset(stream_fd(s), false);
    stream_destroy(s);
}

static void stream_break(struct stream *s, int status)
{
    const struct duplex_events *events = s->duplex.events;
    void *owner = s->duplex.owner;
    stream_reset(s);
    events->on_abort(owner, cause_from_errno(status));
}

static void stream_linger(struct stream *s)
{
    s->linger_until_ms = s->loop->scheduler.now_ms + s->options->linger_ms;
    deadline_set(&s->loop->scheduler, &s->deadline, s->options->linger_ms);
}

/* ---- Writing ---- */

/* Writing is over, but what the peer had sent before can still be read: the owner hears of it
 * behind that. */
static void stream_write_failed(struct stream *s, int status)
{
    if (s->state != STREAM_OPEN) {
        stream_reset(s);
        return;
    }
    if (s->outbox != NULL && s->outbox->under_way == 0)
        outbox_free(s);
    s->failure = status;
    if (s->has_ended || status == UV_ENOMEM)
        s->is_broken = true;
    else
        stream_linger(s);
    task_defer(&s->loop->scheduler, &s->task);
}

/* Our side is finished once the peer's kernel has confirmed all of it: what was handed to our own
 * can still be lost. Nothing tells when; it is looked at when our side ends, when the peer's ends
 * (which confirms ours, as a rule), and now and then. */
static void stream_check_ack(struct stream *s)
{
    if (!s->awaits_ack)
        return;
    if (s->is_tcp && stream_socket_tail(stream_fd(s)) != STREAM_TAIL_ACKED) {
        deadline_set(&s->loop->scheduler, &s->deadline, s->flush_poll_ms);
        s->flush_poll_ms =
            s->flush_poll_ms * 2 < ACK_POLL_MAX_MS ? s->flush_poll_ms * 2 : ACK_POLL_MAX_MS;
        return;
    }
    s->awaits_ack = false;
    int status = stream_socket_error(stream_fd(s));
    if (status != 0) {
        stream_write_failed(s, status);
        return;
    }
    s->owes_finished = true;
    task_defer(&s->loop->scheduler, &s->task);
}

/* Ends our side, if that was asked for and nothing waits. */
static void stream_finish_if_flushed(struct stream *s)
{
    if (!s->is_finishing || s->is_finished || s->outbox != NULL || s->failure != 0)
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

/* Tells what the owner's calls, or the end of a write, brought about. */
static void on_tell(struct task *task)
{
    struct stream *s = container_of(task, struct stream, task);
    const struct duplex_events *events = s->duplex.events;
    if (s->is_full && s->outbox == NULL) {
        s->is_full = false;
        events->on_drain(s->duplex.owner);
    }
    if (s->state == STREAM_OPEN && s->owes_finished) {
        s->owes_finished = false;
        events->on_finished(s->duplex.owner);
    }
    if (s->state == STREAM_OPEN && s->is_broken)
        stream_break(s, s->failure);
}

static void on_written(uv_write_t *request, int status);

static void outbox_send(struct stream *s)
{
    struct outbox *o = s->outbox;
    struct span spans[WRITE_SPANS];
    uv_buf_t buffers[WRITE_SPANS];
    size_t count = queue_peek(&o->queue, spans, WRITE_SPANS);
    for (size_t i = 0; i < count; i++) {
        buffers[i] = (uv_buf_t){.base = (char *)spans[i].data, .len = spans[i].len};
        o->under_way += spans[i].len;
    }
    int status = uv_write(&o->request, &s->uv.stream, buffers, (unsigned)count, on_written);
    if (status != 0) {
        o->under_way = 0;
        stream_write_failed(s, status);
    }
}

static void stream_poll_flush(struct stream *s);

static void on_written(uv_write_t *request, int status)
{
    struct stream *s = container_of(request->handle, struct stream, uv.stream);
    loop_touch(s->loop);
    struct outbox *o = s->outbox;
    size_t written = o->under_way;
    o->under_way = 0;
    if (s->state == STREAM_CLOSED || s->failure != 0)
        return;
    if (status != 0) {
        stream_write_failed(s, status);
        return;
    }
    queue_drop(&o->queue, written);
    if (o->queue.size > 0) {
        outbox_send(s);
        return;
    }
    outbox_free(s);
    if (s->state == STREAM_ABORTED) {
        stream_poll_flush(s);
        return;
    }
    stream_finish_if_flushed(s);
    if (s->state == STREAM_OPEN)
        on_tell(&s->task);
}

/* Copies what is left of `spans` behind their first `taken` bytes. 0 or UV_ENOMEM. */
static int stream_keep(struct stream *s, const struct span *spans, size_t count, size_t taken)
{
    if (s->outbox == NULL)
        s->outbox = calloc(1, sizeof(*s->outbox));
    if (s->outbox == NULL)
        return UV_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        size_t skipped = taken < spans[i].len ? taken : spans[i].len;
        struct span rest = {spans[i].data + skipped, spans[i].len - skipped};
        taken -= skipped;
        if (queue_push(&s->outbox->queue, rest) != 0)
            return UV_ENOMEM;
    }
    return 0;
}

/* Bytes that the kernel takes at once, or an error. It need not take all. */
static int stream_try_write(struct stream *s, const struct span *spans, size_t count)
{
    uv_buf_t buffers[WRITE_SPANS];
    if (count > WRITE_SPANS)
        count = WRITE_SPANS;
    for (size_t i = 0; i < count; i++)
        buffers[i] = (uv_buf_t){.base = (char *)spans[i].data, .len = spans[i].len};
    int status = uv_try_write(&s->uv.stream, buffers, (unsigned)count);
    return status == UV_EAGAIN ? 0 : status;
}

static uint64_t stream_user_timeout_ms(const struct stream *s)
{
    return s->options->user_timeout_ms != 0 ? s->options->user_timeout_ms : USER_TIMEOUT_MS;
}

static void stream_arm_watch(struct stream *s)
{
    if (s->is_tcp && !s->deadline.is_set)
        deadline_set(&s->loop->scheduler, &s->deadline, stream_user_timeout_ms(s) / 3);
}

/* TCP_USER_TIMEOUT is there for a peer that is gone, but it also ends a connection whose peer
 * answers every probe of its closed window (measured on Linux 6): it is lifted as long as that is
 * how things are. */
static void stream_watch(struct stream *s)
{
    enum stream_socket_tail tail = stream_socket_tail(stream_fd(s));
    bool is_to_lift =
        tail == STREAM_TAIL_STALLED || (tail == STREAM_TAIL_UNKNOWN && s->is_user_timeout_lifted);
    if (is_to_lift != s->is_user_timeout_lifted) {
        s->is_user_timeout_lifted = is_to_lift;
        stream_socket_set_user_timeout(stream_fd(s), is_to_lift ? 0 : stream_user_timeout_ms(s));
    }
    if (tail != STREAM_TAIL_ACKED || s->outbox != NULL)
        stream_arm_watch(s);
}

/* The deadline of an open stream. */
static void stream_look(struct stream *s)
{
    stream_watch(s);
    stream_check_ack(s);
}

static bool stream_write(struct duplex *d, const struct span *spans, size_t count)
{
    struct stream *s = stream_of(d);
    assert(s->state == STREAM_OPEN && !s->is_finishing);
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += spans[i].len;
    if (s->failure != 0 || size == 0)
        return s->failure == 0 && s->is_full;

    int taken = s->outbox == NULL ? stream_try_write(s, spans, count) : 0;
    int status = taken;
    if (taken >= 0 && (size_t)taken < size)
        status = stream_keep(s, spans, count, (size_t)taken);
    if (status < 0) {
        stream_write_failed(s, status);
        return false;
    }
    stream_arm_watch(s);
    if (s->outbox == NULL)
        return false;
    s->is_full = true;
    if (s->outbox->under_way == 0)
        outbox_send(s);
    return s->failure == 0;
}

static uint64_t stream_pending(const struct duplex *d)
{
    const struct stream *s = container_of(d, const struct stream, duplex);
    uint64_t waiting = 0;
    if (s->outbox != NULL) /* what is under way has partly gone, as only libuv knows */
        waiting = s->outbox->queue.size - s->outbox->under_way +
                  uv_stream_get_write_queue_size(&s->uv.stream);
    return waiting + stream_socket_outstanding(stream_fd(s));
}

static void stream_finish(struct duplex *d)
{
    struct stream *s = stream_of(d);
    assert(s->state == STREAM_OPEN);
    s->is_finishing = true;
    stream_finish_if_flushed(s);
}

/* ---- Reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    (void)suggested;
    struct stream *s = container_of(handle, struct stream, uv.handle);
    if (s->turn != s->loop->turn) {
        s->turn = s->loop->turn;
        s->turn_bytes = 0;
    }
    /* libuv reads up to 32 times at a wake-up; without a buffer it stops there, and comes again. */
    bool has_had_its_turn = s->turn_bytes >= READ_TURN;
    buffer->base = has_had_its_turn ? NULL : (char *)s->loop->buffer;
    buffer->len = has_had_its_turn ? 0 : s->read_size;
}

static void stream_read_data(struct stream *s, size_t len)
{
    s->turn_bytes += (unsigned)len;
    if (s->state != STREAM_OPEN)
        return;
    bool has_filled = len == s->read_size;
    s->duplex.events->on_data(s->duplex.owner, (struct span){s->loop->buffer, len});
    if (has_filled && !s->is_paused && s->read_size < LOOP_BUFFER_SIZE)
        s->read_size *= 2;
}

static void stream_read_end(struct stream *s)
{
    if (s->state == STREAM_OPEN && s->failure != 0) {
        stream_break(s, s->failure);
        return;
    }
    s->has_ended = true;
    if (s->state == STREAM_OPEN) {
        stream_check_ack(s);
        s->duplex.events->on_end(s->duplex.owner);
    } else if (s->is_finished) {
        stream_end(s);
    }
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buffer)
{
    (void)buffer;
    struct stream *s = container_of(stream, struct stream, uv.stream);
    loop_touch(s->loop);
    if (nread == 0 || nread == UV_ENOBUFS)
        return;
    if (nread > 0) {
        stream_read_data(s, (size_t)nread);
        return;
    }
    /* libuv (1.44 to 1.50) takes POLLHUP behind a read that did not fill its buffer for the end,
     * without asking again: a reset behind the last bytes would look like an end. */
    int status = nread == UV_EOF ? stream_socket_end(stream_fd(s)) : (int)nread;
    if (status > 0)
        stream_start_reading(s);
    else if (status == 0)
        stream_read_end(s);
    else if (s->state == STREAM_OPEN)
        stream_break(s, s->failure != 0 ? s->failure : status);
    else
        stream_destroy(s);
}

static void stream_start_reading(struct stream *s)
{
    int status = uv_read_start(&s->uv.stream, on_alloc, on_read);
    if (status == 0 || status == UV_EALREADY || s->state != STREAM_OPEN)
        return;
    s->failure = status;
    s->is_broken = true;
    task_defer(&s->loop->scheduler, &s->task);
}

static void stream_pause(struct duplex *d)
{
    struct stream *s = stream_of(d);
    assert(s->state == STREAM_OPEN);
    s->is_paused = true;
    s->read_size = READ_LEAST;
    uv_read_stop(&s->uv.stream);
}

static void stream_resume(struct duplex *d)
{
    struct stream *s = stream_of(d);
    assert(s->state == STREAM_OPEN && d->events != NULL);
    s->is_paused = false;
    if (!s->has_ended && !s->is_broken)
        stream_start_reading(s);
}

/* ---- Leaving the owner ---- */

static void stream_poll_flush(struct stream *s)
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

static void stream_abort(struct duplex *d, struct cause cause)
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

static void stream_close(struct duplex *d)
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
static void stream_look_closing(struct stream *s)
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

static void on_deadline(struct deadline *deadline)
{
    struct stream *s = container_of(deadline, struct stream, deadline);
    if (s->state == STREAM_ABORTED)
        stream_poll_flush(s);
    else if (s->state == STREAM_CLOSING)
        stream_look_closing(s);
    else if (s->failure != 0)
        stream_break(s, s->failure);
    else
        stream_look(s);
}

struct stream *stream_discard(struct stream *s)
{
    struct stream *next = s->next;
    if (s->state != STREAM_CLOSED)
        stream_reset(s);
    return next;
}

/* ---- The beginning ---- */

static const struct duplex_ops stream_ops = {
    .write = stream_write,
    .finish = stream_finish,
    .abort = stream_abort,
    .pause = stream_pause,
    .resume = stream_resume,
    .close = stream_close,
    .pending = stream_pending,
};

struct duplex *stream_open(struct loop *l, int fd, enum stream_kind kind,
                           const struct stream_options *options)
{
    struct stream *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        close(fd);
        return NULL;
    }
    s->duplex.ops = &stream_ops;
    s->loop = l;
    s->options = options;
    s->is_tcp = kind == STREAM_TCP;
    s->is_paused = true;
    s->read_size = READ_LEAST;
    task_init(&s->task, on_tell);
    deadline_init(&s->deadline, on_deadline);
    int status = s->is_tcp ? uv_tcp_init(&l->uv, &s->uv.tcp) : uv_pipe_init(&l->uv, &s->uv.pipe, 0);
    if (status != 0) {
        free(s);
        close(fd);
        return NULL;
    }
    s->next = l->streams;
    s->link = &l->streams;
    if (s->next != NULL)
        s->next->link = &s->next;
    l->streams = s;
    l->stream_count++;
    status = s->is_tcp ? uv_tcp_open(&s->uv.tcp, fd) : uv_pipe_open(&s->uv.pipe, fd);
    if (status != 0) {
        stream_destroy(s);
        close(fd);
        return NULL;
    }
    if (s->is_tcp)
        stream_socket_tune(fd, stream_user_timeout_ms(s));
    return &s->duplex;
}

void stream_on_release(struct duplex *duplex, void (*fn)(void *arg), void *arg)
{
    struct stream *s = stream_of(duplex);
    s->on_release = fn;
    s->release_arg = arg;
}

void stream_keep_flags(struct duplex *duplex, int flags)
{
    struct stream *s = stream_of(duplex);
    s->old_flags = flags;
    s->has_old_flags = true;
}

char *stream_peer_name(const struct duplex *duplex, char *buffer, size_t size)
{
    const struct stream *s = container_of(duplex, const struct stream, duplex);
    stream_socket_peer_name(stream_fd(s), buffer, size);
    return buffer;
}
