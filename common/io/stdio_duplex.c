#include "stdio_duplex.h"

#include "fd_handle_internal.h"
#include "queue.h"
#include "stream_socket.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILE_READ_SIZE 65536
#define FILE_KEPT_MAX  262144 /* a file is full with so much waiting for a thread */
#define WRITE_SPANS    16

enum output_kind { OUTPUT_CLOSES, OUTPUT_SOCKET, OUTPUT_TERMINAL };

enum stdio_state {
    STDIO_OPEN,    /* has an owner */
    STDIO_LEAVING, /* was told abort(): flushes within the linger time */
    STDIO_CLOSED,  /* waits for libuv, then is freed */
};

struct stdio {
    struct duplex duplex;
    struct loop_item item;
    struct loop *loop;
    const struct stream_options *options;
    struct fd_handle in, out;
    uint8_t *file_buffer; /* for an input that is read in threads */
    struct queue queue;   /* not written yet */
    struct task task;     /* tells the owner what its own calls brought about */
    uv_idle_t release;    /* does nothing; its close callback is where the memory is given back */
    struct deadline linger;
    enum output_kind output_kind;
    enum stdio_state state;
    int failure; /* negative errno: on_abort is to be told */
    bool is_paused;
    bool has_ended;    /* input */
    bool is_terminal;  /* input */
    bool is_full;      /* on_drain is to be told */
    bool is_finishing; /* output shall end behind the queue */
    bool is_finished;
    bool owes_finished; /* on_finished is to be told */
    bool is_shutting;   /* in stdio_shut */
};

static struct stdio *stdio_of(struct duplex *d)
{
    return container_of(d, struct stdio, duplex);
}

/* ---- the end of it ---- */

static bool is_gone(const struct fd_handle *h)
{
    return h->fd < 0 && h->is_gone;
}

static void on_released(uv_handle_t *handle)
{
    struct stdio *s = container_of(handle, struct stdio, release);

    s->loop->closing--;
    queue_clear(&s->queue);
    free(s->file_buffer);
    free(s);
}

static void free_if_gone(struct stdio *s)
{
    if (s->state != STDIO_CLOSED || s->is_shutting || !is_gone(&s->in) || !is_gone(&s->out))
        return;
    loop_remove_item(&s->item);
    s->loop->closing++;
    uv_close((uv_handle_t *)&s->release, on_released); /* callers still look at it */
}

static void on_in_gone(struct fd_handle *h)
{
    free_if_gone(container_of(h, struct stdio, in));
}

static void on_out_gone(struct fd_handle *h)
{
    free_if_gone(container_of(h, struct stdio, out));
}

static void stdio_shut(struct stdio *s)
{
    deadline_clear(&s->loop->scheduler, &s->linger);
    task_cancel(&s->loop->scheduler, &s->task);
    s->state = STDIO_CLOSED;
    s->is_shutting = true;
    fd_handle_close(&s->in);
    fd_handle_close(&s->out);
    s->is_shutting = false;
    free_if_gone(s);
}

/* Does nothing to what is no TCP socket. */
static void set_reset(int fd)
{
    struct linger linger = {.l_onoff = 1};

    if (fd >= 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

/* Nobody is to take it for an end, where the descriptor can say so. */
static void stdio_reset(struct stdio *s)
{
    set_reset(s->in.fd);
    set_reset(s->out.fd);
    stdio_shut(s);
}

static void stdio_break(struct stdio *s, int status)
{
    const struct duplex_events *events = s->duplex.events;
    void *owner = s->duplex.owner;

    stdio_reset(s);
    events->on_abort(owner, cause_from_errno(status));
}

static void end_item(struct loop_item *item)
{
    struct stdio *s = container_of(item, struct stdio, item);

    loop_remove_item(item);
    if (s->state != STDIO_CLOSED)
        stdio_reset(s);
}

/* ---- writing ---- */

static bool is_busy(const struct stdio *s)
{
    return !queue_is_empty(&s->queue) || s->out.is_busy;
}

static void write_failed(struct stdio *s, int status)
{
    if (s->state != STDIO_OPEN) {
        stdio_reset(s);
        return;
    }
    fd_handle_ignore(&s->out);
    queue_clear(&s->queue);
    s->failure = status;
    task_defer(&s->loop->scheduler, &s->task);
}

/* Ends output, if that was asked for and nothing waits. */
static void finish_if_flushed(struct stdio *s)
{
    int status = 0;

    if (!s->is_finishing || s->is_finished || is_busy(s) || s->failure != 0)
        return;
    switch (s->output_kind) {
    case OUTPUT_SOCKET:
        status = stream_socket_finish(s->out.fd);
        break;
    case OUTPUT_CLOSES:
        status = fd_handle_close(&s->out);
        break;
    case OUTPUT_TERMINAL:
        break;
    }
    if (status != 0) {
        write_failed(s, status);
        return;
    }
    s->is_finished = s->owes_finished = true;
    task_defer(&s->loop->scheduler, &s->task);
}

/* Bytes that it takes at once, or a negative errno. */
static ssize_t try_write(struct stdio *s, const struct span *spans, size_t count)
{
    struct iovec pieces[WRITE_SPANS];
    ssize_t n;

    if (count > WRITE_SPANS)
        count = WRITE_SPANS;
    for (size_t i = 0; i < count; i++)
        pieces[i] = (struct iovec){.iov_base = spans[i].data, .iov_len = spans[i].len};
    do
        n = writev(s->out.fd, pieces, (int)count);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return n;
    return errno == EAGAIN ? 0 : -errno;
}

/* Hands what waits to whoever writes it. */
static void send_queue(struct stdio *s)
{
    struct span spans[WRITE_SPANS];
    int status = 0;

    if (queue_is_empty(&s->queue) || s->out.is_busy)
        return;
    if (s->out.is_watchable) {
        fd_handle_watch(&s->out);
        return;
    }
    size_t count = queue_peek(&s->queue, spans, WRITE_SPANS);
    status = fd_handle_write(&s->out, spans, count);
    if (status != 0)
        write_failed(s, status);
}

static void sent(struct stdio *s, ssize_t result)
{
    if (result < 0) {
        write_failed(s, (int)result);
        return;
    }
    queue_drop(&s->queue, (size_t)result);
    send_queue(s);
    if (s->state == STDIO_LEAVING) {
        if (!is_busy(s))
            stdio_reset(s);
        return;
    }
    finish_if_flushed(s);
    if (s->is_full && queue_is_empty(&s->queue))
        task_defer(&s->loop->scheduler, &s->task);
}

static void on_out_ready(struct fd_handle *h, bool has_failed)
{
    struct stdio *s = container_of(h, struct stdio, out);
    struct span spans[WRITE_SPANS];
    size_t count = queue_peek(&s->queue, spans, WRITE_SPANS);
    ssize_t n = try_write(s, spans, count);

    if (n == 0 && has_failed)
        n = -EIO; /* it would be told for ever */
    if (n >= 0 && (size_t)n == queue_size(&s->queue))
        fd_handle_ignore(h);
    sent(s, n);
}

static void on_out_done(struct fd_handle *h, ssize_t result)
{
    sent(container_of(h, struct stdio, out), result);
}

static int keep(struct stdio *s, const struct span *spans, size_t count, size_t taken)
{
    for (size_t i = 0; i < count; i++) {
        size_t skipped = taken < spans[i].len ? taken : spans[i].len;
        struct span rest = {spans[i].data + skipped, spans[i].len - skipped};
        taken -= skipped;
        if (rest.len > 0 && queue_push(&s->queue, rest) != 0)
            return -ENOMEM;
    }
    return 0;
}

static bool stdio_write(struct duplex *d, const struct span *spans, size_t count)
{
    struct stdio *s = stdio_of(d);
    ssize_t taken = 0;

    assert(s->state == STDIO_OPEN && !s->is_finishing);
    if (s->failure != 0)
        return false;
    if (s->out.is_watchable && queue_is_empty(&s->queue))
        taken = try_write(s, spans, count);
    int status = taken < 0 ? (int)taken : keep(s, spans, count, (size_t)taken);
    if (status != 0) {
        write_failed(s, status);
        return false;
    }
    send_queue(s);
    if (s->failure == 0 && queue_size(&s->queue) > (s->out.is_watchable ? 0 : FILE_KEPT_MAX))
        s->is_full = true;
    return s->failure == 0 && s->is_full;
}

/* What the reader of a pipe or socket, or a terminal, has not taken yet, too. */
static uint64_t stdio_pending(const struct duplex *d)
{
    const struct stdio *s = container_of(d, const struct stdio, duplex);
    int below = 0;

    if (s->out.is_watchable && s->out.fd >= 0 && ioctl(s->out.fd, TIOCOUTQ, &below) != 0)
        (void)ioctl(s->out.fd, FIONREAD, &below); /* a pipe counts for both ends */
    return queue_size(&s->queue) + (unsigned)below;
}

static void stdio_finish(struct duplex *d)
{
    struct stdio *s = stdio_of(d);

    assert(s->state == STDIO_OPEN);
    s->is_finishing = true;
    finish_if_flushed(s);
}

/* ---- reading ---- */

static void go_on_reading(struct stdio *s)
{
    if (s->state != STDIO_OPEN || s->is_paused || s->has_ended || s->failure != 0)
        return;
    if (s->in.is_watchable) {
        fd_handle_watch(&s->in);
        return;
    }
    if (s->in.is_busy)
        return;
    int status = fd_handle_read(&s->in, (struct span){s->file_buffer, FILE_READ_SIZE});
    if (status != 0) {
        s->failure = status;
        task_defer(&s->loop->scheduler, &s->task);
    }
}

static void has_read(struct stdio *s, uint8_t *data, ssize_t result)
{
    if (s->failure != 0)
        return;
    if (result > 0) {
        s->duplex.events->on_data(s->duplex.owner, (struct span){data, (size_t)result});
        go_on_reading(s);
    } else if (result == 0) {
        s->has_ended = true;
        fd_handle_ignore(&s->in);
        s->duplex.events->on_end(s->duplex.owner);
    } else {
        stdio_break(s, (int)result);
    }
}

/* A terminal that is gone reads as ended (Linux), as one does whose user typed ^D. */
static bool has_hung_up(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, 0) > 0 && (p.revents & POLLHUP);
}

static void on_in_ready(struct fd_handle *h, bool has_failed)
{
    struct stdio *s = container_of(h, struct stdio, in);
    ssize_t n = read(h->fd, s->loop->buffer, LOOP_BUFFER_SIZE);

    if (n < 0 && (errno == EINTR || (errno == EAGAIN && !has_failed)))
        return;
    if (n == 0 && s->is_terminal && has_hung_up(h->fd))
        has_read(s, NULL, -EIO);
    else
        has_read(s, s->loop->buffer, n < 0 ? -errno : n);
}

static void on_in_done(struct fd_handle *h, ssize_t result)
{
    struct stdio *s = container_of(h, struct stdio, in);

    has_read(s, s->file_buffer, result);
}

static void stdio_pause(struct duplex *d)
{
    struct stdio *s = stdio_of(d);

    assert(s->state == STDIO_OPEN);
    s->is_paused = true;
    fd_handle_ignore(&s->in);
}

static void stdio_resume(struct duplex *d)
{
    struct stdio *s = stdio_of(d);

    assert(s->state == STDIO_OPEN);
    s->is_paused = false;
    go_on_reading(s);
}

/* ---- telling, and leaving ---- */

static void run_task(struct task *task)
{
    struct stdio *s = container_of(task, struct stdio, task);

    if (s->failure != 0) {
        stdio_break(s, s->failure);
        return;
    }
    if (s->is_full && queue_is_empty(&s->queue)) {
        s->is_full = false;
        s->duplex.events->on_drain(s->duplex.owner);
    }
    if (s->state == STDIO_OPEN && s->owes_finished) {
        s->owes_finished = false;
        s->duplex.events->on_finished(s->duplex.owner);
    }
}

static void fire_linger(struct deadline *d)
{
    stdio_reset(container_of(d, struct stdio, linger));
}

static void stdio_abort(struct duplex *d, struct cause cause)
{
    struct stdio *s = stdio_of(d);

    (void)cause; /* there is nobody to be told it */
    assert(s->state == STDIO_OPEN);
    s->state = STDIO_LEAVING;
    task_cancel(&s->loop->scheduler, &s->task);
    fd_handle_close(&s->in);
    if (s->failure != 0 || !is_busy(s))
        stdio_reset(s);
    else
        deadline_set(&s->loop->scheduler, &s->linger, s->options->linger_ms);
}

static void stdio_close(struct duplex *d)
{
    struct stdio *s = stdio_of(d);

    assert(s->state == STDIO_OPEN);
    stdio_shut(s);
}

static const struct duplex_ops stdio_ops = {
    .write = stdio_write,
    .finish = stdio_finish,
    .abort = stdio_abort,
    .pause = stdio_pause,
    .resume = stdio_resume,
    .close = stdio_close,
    .pending = stdio_pending,
};

/* ---- the beginning ---- */

static bool is_socket(int fd)
{
    struct stat info;

    return fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode);
}

static bool is_same_socket(int a, int b)
{
    struct stat x, y;

    return is_socket(a) && fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

static enum stream_kind kind_of_socket(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);

    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        address.ss_family = AF_UNIX;
    return address.ss_family == AF_UNIX ? STREAM_UNIX : STREAM_TCP;
}

static int open_stream(struct loop *l, int in, int out, const struct stream_options *options,
                       struct duplex **out_duplex)
{
    int old_flags = fcntl(in, F_GETFL);

    if (fcntl(in, F_SETFL, old_flags | O_NONBLOCK) != 0)
        return -errno;
    *out_duplex = stream_open(l, in, kind_of_socket(in), options);
    if (*out_duplex == NULL)
        return -ENOMEM;
    stream_keep_flags(*out_duplex, old_flags);
    if (out != in)
        close(out);
    return 0;
}

static int open_out(struct stdio *s, int fd, int old_flags)
{
    s->output_kind = is_socket(fd) ? OUTPUT_SOCKET : isatty(fd) ? OUTPUT_TERMINAL : OUTPUT_CLOSES;
    s->out.on_ready = on_out_ready;
    s->out.on_done = on_out_done;
    s->out.on_gone = on_out_gone;
    return fd_handle_open(&s->out, s->loop, fd, old_flags, UV_WRITABLE);
}

static int open_in(struct stdio *s, int fd, int old_flags)
{
    s->is_terminal = isatty(fd);
    s->in.on_ready = on_in_ready;
    s->in.on_done = on_in_done;
    s->in.on_gone = on_in_gone;
    int status = fd_handle_open(&s->in, s->loop, fd, old_flags, UV_READABLE);
    if (status != 0 || s->in.is_watchable)
        return status;
    s->file_buffer = malloc(FILE_READ_SIZE);
    return s->file_buffer == NULL ? -ENOMEM : 0;
}

int stdio_duplex_open(struct loop *l, int in, int out, const struct stream_options *options,
                      struct duplex **out_duplex)
{
    int in_flags = fcntl(in, F_GETFL), out_flags = fcntl(out, F_GETFL);
    if (in_flags < 0 || out_flags < 0)
        return -EBADF;
    if (is_same_socket(in, out))
        return open_stream(l, in, out, options, out_duplex);
    struct stdio *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return -ENOMEM;
    s->duplex.ops = &stdio_ops;
    s->loop = l;
    s->options = options;
    s->is_paused = true;
    s->in.fd = s->out.fd = -1;
    s->in.is_gone = s->out.is_gone = true;
    queue_init(&s->queue);
    task_init(&s->task, run_task);
    uv_idle_init(&l->uv, &s->release);
    deadline_init(&s->linger, fire_linger);
    loop_add_item(l, &s->item, end_item);
    int status = open_in(s, in, in_flags);
    if (status == 0)
        status = open_out(s, out, out_flags);
    if (status != 0) {
        stdio_shut(s);
        return status;
    }
    *out_duplex = &s->duplex;
    return 0;
}
