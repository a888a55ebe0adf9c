#include "stream.h"

#include "loop_internal.h"
#include "stream_internal.h"
#include "stream_socket.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define READ_LEAST     16320   /* bytes one read may fill, until the owner has kept up with it */
#define READ_SHIFT_MAX 4       /* then twice as many, so often: the whole buffer */
#define READ_TURN      1048576 /* bytes read at one wake-up, before others get theirs */

_Static_assert(READ_LEAST << READ_SHIFT_MAX == LOOP_BUFFER_SIZE, "reads grow up to the buffer");

/* What malloc(3) gives for it is as large: a multiple of 16 and 8 more. */
_Static_assert(sizeof(void *) != 8 || sizeof(struct stream) <= 136, "a stream has grown");

/* ---- Reading ---- */

static bool stream_wants_read(const struct stream *s)
{
    if (s->state == STREAM_OPEN)
        return !s->is_paused && !s->has_ended && !s->is_broken;
    return s->state == STREAM_CLOSING && !s->has_ended;
}

static void stream_read_data(struct stream *s, size_t len, bool has_filled)
{
    if (s->state != STREAM_OPEN)
        return;
    s->duplex.events->on_data(s->duplex.owner, (struct span){stream_loop(s)->buffer, len});
    if (has_filled && !s->is_paused && s->read_shift < READ_SHIFT_MAX)
        s->read_shift++;
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

static void stream_read_failed(struct stream *s, int status)
{
    if (s->state == STREAM_OPEN)
        stream_break(s, s->failure != 0 ? s->failure : status);
    else
        stream_destroy(s);
}

/* A read that does not fill the buffer has had all there is; what comes then is told again. Unless
 * something `has_failed`: reading finds out what, behind the last bytes. */
static void stream_read(struct stream *s, bool has_failed)
{
    struct loop *l = stream_loop(s);
    size_t turn_bytes = 0;
    while (stream_wants_read(s) && turn_bytes < READ_TURN) {
        size_t room = (size_t)READ_LEAST << s->read_shift;
        ssize_t n = read(stream_fd(s), l->buffer, room);
        if (n > 0) {
            turn_bytes += (size_t)n;
            stream_read_data(s, (size_t)n, (size_t)n == room);
            if ((size_t)n < room && !has_failed)
                return;
        } else if (n == 0) {
            stream_read_end(s);
            return;
        } else if (errno == EAGAIN) {
            /* Asking for it clears it: it is not told for ever. */
            int status = has_failed ? stream_socket_error(stream_fd(s)) : 0;
            if (status != 0)
                stream_read_failed(s, status);
            return;
        } else if (errno != EINTR) {
            stream_read_failed(s, -errno);
            return;
        }
    }
}

/* ---- Waiting ---- */

static void on_ready(uv_poll_t *poll, int status, int events);

/* Waits for writing, still: that may be over when the owner has set itself. */
static void stream_connected(struct stream *s, bool has_failed)
{
    void *dial = s->duplex.owner;
    int status = has_failed ? stream_socket_error(stream_fd(s)) : 0;
    if (has_failed)
        s->polled = 0;
    if (status == 0) {
        s->duplex.owner = NULL;
        s->state = STREAM_OPEN;
        stream_begin_watch(s);
    }
    connect_attempt_done(dial, s, status);
}

static unsigned stream_wanted(const struct stream *s)
{
    return (stream_wants_read(s) ? UV_READABLE : 0U) | (stream_wants_write(s) ? UV_WRITABLE : 0U);
}

/* Each time this is two system calls: libuv takes the descriptor out of the epoll set, and puts it
 * in again before it sleeps. */
static void stream_set_polled(struct stream *s, unsigned events)
{
    s->polled = events & (UV_READABLE | UV_WRITABLE);
    uv_poll_start(s->poll, (int)events, on_ready);
}

void stream_await(struct stream *s)
{
    unsigned wanted = stream_wanted(s);
    if ((wanted & ~s->polled) != 0)
        stream_set_polled(s, wanted);
}

/* libuv (1.44 to 1.50) says EBADF, and stops, for whatever poll(2) calls an error: the socket knows
 * better. */
static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct stream *s = poll->data;
    loop_touch(stream_loop(s));
    bool has_failed = status < 0;
    if (s->state == STREAM_CONNECTING) {
        stream_connected(s, has_failed);
        return;
    }
    if (has_failed) {
        s->polled = 0;
        events = UV_READABLE | UV_WRITABLE;
    }
    bool was_reading = stream_wants_read(s);
    if ((events & UV_READABLE) != 0)
        stream_read(s, has_failed);
    if ((events & UV_WRITABLE) != 0 && stream_wants_write(s))
        stream_flush(s);
    if (s->state == STREAM_CLOSED)
        return;
    unsigned wanted = stream_wanted(s);
    unsigned kept = wanted | (was_reading ? UV_READABLE : 0U);
    if (((unsigned)events & s->polled & ~kept) != 0 || (wanted & ~s->polled) != 0)
        stream_set_polled(s, wanted);
}

static void stream_pause(struct duplex *d)
{
    struct stream *s = stream_of(d);
    assert(s->state == STREAM_OPEN);
    s->is_paused = true;
    s->read_shift = 0;
}

static void stream_resume(struct duplex *d)
{
    struct stream *s = stream_of(d);
    assert(s->state == STREAM_OPEN && d->events != NULL);
    s->is_paused = false;
    stream_await(s);
}

/* ---- Tasks and deadlines ---- */

void stream_tell(struct stream *s)
{
    const struct duplex_events *events = s->duplex.events;
    if (s->is_full && queue_is_empty(&s->outbox)) {
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

static void on_tell(struct task *task)
{
    stream_tell(container_of(task, struct stream, task));
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

/* ---- The beginning ---- */

static const struct duplex_ops stream_ops = {
    .write = stream_write,
    .finish = stream_finish,
    .abort = stream_abort,
    .pause = stream_pause,
    .resume = stream_resume,
    .close = stream_close,
    .pending = stream_pending,
    .cork = stream_cork,
};

/* Its peer has a connection, and must not take this for its end. */
static void close_unopened(int fd, enum stream_kind kind)
{
    if (kind == STREAM_TCP)
        stream_socket_set_reset(fd, true);
    close(fd);
}

static struct stream *stream_new(struct loop *l, int fd, enum stream_kind kind,
                                 const struct stream_options *options)
{
    struct stream *s = calloc(1, sizeof(*s));
    if (s == NULL || (s->poll = watch_open(l, fd, s)) == NULL) {
        free(s);
        close_unopened(fd, kind);
        return NULL;
    }
    s->duplex.ops = &stream_ops;
    s->options = options;
    s->state = STREAM_OPEN;
    s->is_tcp = kind != STREAM_UNIX;
    s->has_timeouts =
        kind == STREAM_UNIX || (kind == STREAM_ACCEPTED && options->user_timeout_ms == 0);
    s->is_paused = true;
    task_init(&s->task, on_tell);
    deadline_init(&s->deadline, on_deadline);
    l->stream_count++;
    return s;
}

struct duplex *stream_open(struct loop *l, int fd, enum stream_kind kind,
                           const struct stream_options *options)
{
    struct stream *s = stream_new(l, fd, kind, options);
    if (s == NULL)
        return NULL;
    if (kind == STREAM_TCP)
        stream_socket_tune(fd);
    stream_begin_watch(s);
    return &s->duplex;
}

struct stream *stream_connect(struct loop *l, int fd, bool is_tcp, bool is_connected,
                              const struct stream_options *options, void *dial)
{
    struct stream *s = stream_new(l, fd, is_tcp ? STREAM_TCP : STREAM_UNIX, options);
    if (s == NULL)
        return NULL;
    if (is_connected) {
        stream_begin_watch(s);
        return s;
    }
    s->state = STREAM_CONNECTING;
    s->duplex.owner = dial;
    stream_set_polled(s, UV_WRITABLE);
    return s;
}

void stream_give_up(struct stream *s)
{
    stream_destroy(s);
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
    s->was_blocking = (flags & O_NONBLOCK) == 0;
}

bool stream_local(const struct duplex *duplex, struct ip_endpoint *out)
{
    const struct stream *s = container_of(duplex, const struct stream, duplex);
    return stream_socket_local(stream_fd(s), out);
}

char *stream_peer_name(const struct duplex *duplex, char *buffer, size_t size)
{
    const struct stream *s = container_of(duplex, const struct stream, duplex);
    stream_socket_peer_name(stream_fd(s), buffer, size);
    return buffer;
}
