/* Writing: what the kernel does not take at once, the end of our side, and how the peer's kernel
 * takes it. */
#include "loop_internal.h"
#include "queue.h"
#include "stream_internal.h"
#include "stream_socket.h"

#include <assert.h>
#include <stdlib.h>

#define WRITE_SPANS     16
#define USER_TIMEOUT_MS 60000
#define ACK_POLL_MS     100
#define ACK_POLL_MAX_MS 1000

/* What the kernel would not take at once. Exists only while there is such. */
struct outbox {
    uv_write_t request;
    struct queue queue;
    size_t under_way; /* bytes that the request describes */
};

void stream_free_outbox(struct stream *s)
{
    if (s->outbox == NULL)
        return;
    queue_clear(&s->outbox->queue);
    free(s->outbox);
    s->outbox = NULL;
}

/* Writing is over, but what the peer had sent before can still be read: the owner hears of it
 * behind that. */
static void stream_write_failed(struct stream *s, int status)
{
    if (s->state != STREAM_OPEN) {
        stream_reset(s);
        return;
    }
    if (s->outbox != NULL && s->outbox->under_way == 0)
        stream_free_outbox(s);
    s->failure = status;
    if (s->has_ended || status == UV_ENOMEM)
        s->is_broken = true;
    else
        stream_linger(s);
    task_defer(&s->loop->scheduler, &s->task);
}

/* ---- The end of our side ---- */

/* Our side is finished once the peer's kernel has confirmed all of it: what was handed to our own
 * can still be lost. Nothing tells when; it is looked at when our side ends, when the peer's ends
 * (which confirms ours, as a rule), and now and then. */
void stream_check_ack(struct stream *s)
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

void stream_finish_if_flushed(struct stream *s)
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

/* ---- To the kernel, now or later ---- */

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
    if (!queue_is_empty(&o->queue)) {
        outbox_send(s);
        return;
    }
    stream_free_outbox(s);
    if (s->state == STREAM_ABORTED) {
        stream_poll_flush(s);
        return;
    }
    stream_finish_if_flushed(s);
    if (s->state == STREAM_OPEN)
        stream_tell(s);
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

/* ---- The user timeout ---- */

uint64_t stream_user_timeout_ms(const struct stream *s)
{
    return s->options->user_timeout_ms != 0 ? s->options->user_timeout_ms : USER_TIMEOUT_MS;
}

static void stream_arm_watch(struct stream *s)
{
    if (s->is_tcp && !deadline_is_set(&s->deadline))
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

void stream_look(struct stream *s)
{
    stream_watch(s);
    stream_check_ack(s);
}

/* ---- The calls ---- */

bool stream_write(struct duplex *d, const struct span *spans, size_t count)
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

uint64_t stream_pending(const struct duplex *d)
{
    const struct stream *s = container_of(d, const struct stream, duplex);
    uint64_t waiting = 0;
    if (s->outbox != NULL) /* what is under way has partly gone, as only libuv knows */
        waiting = queue_size(&s->outbox->queue) - s->outbox->under_way +
                  uv_stream_get_write_queue_size(&s->uv.stream);
    return waiting + stream_socket_outstanding(stream_fd(s));
}

void stream_finish(struct duplex *d)
{
    struct stream *s = stream_of(d);
    assert(s->state == STREAM_OPEN);
    s->is_finishing = true;
    stream_finish_if_flushed(s);
}
