#include "stream.h"

#include "loop_internal.h"
#include "stream_internal.h"
#include "stream_socket.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#define READ_LEAST 16384   /* bytes one read may fill, until the owner has kept up with it */
#define READ_TURN  1048576 /* bytes read in one turn of the loop, before others get theirs */

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

void stream_start_reading(struct stream *s)
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

/* ---- Tasks and deadlines ---- */

void stream_tell(struct stream *s)
{
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
};

/* Its peer has a connection, and must not take this for its end. */
static void close_unopened(int fd, enum stream_kind kind)
{
    if (kind == STREAM_TCP)
        stream_socket_set_reset(fd, true);
    close(fd);
}

struct duplex *stream_open(struct loop *l, int fd, enum stream_kind kind,
                           const struct stream_options *options)
{
    struct stream *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        close_unopened(fd, kind);
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
        close_unopened(fd, kind);
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
        close_unopened(fd, kind);
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
