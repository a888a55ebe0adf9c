#include "fd_handle_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define SPANS_MAX 16

int fd_handle_open(struct fd_handle *h, struct loop *l, int fd, int old_flags, int events)
{
    h->loop = l;
    h->events = events;
    h->old_flags = old_flags;
    /* Refuses (EPERM) what epoll does, and else sets O_NONBLOCK. */
    int status = uv_poll_init(&l->uv, &h->poll, fd);
    h->is_watchable = status == 0;
    if (status != 0 && status != UV_EPERM)
        return status;
    h->fd = fd;
    h->is_gone = !h->is_watchable;
    return 0;
}

/* ---- watched ---- */

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct fd_handle *h = container_of(poll, struct fd_handle, poll);

    (void)events;
    loop_touch(h->loop);
    h->on_ready(h, status < 0);
    /* libuv stops watching at what it takes for an error. */
    if (status < 0 && h->is_watching)
        uv_poll_start(&h->poll, h->events, on_poll);
}

void fd_handle_watch(struct fd_handle *h)
{
    assert(h->is_watchable && !h->is_closing);
    if (h->is_watching)
        return;
    h->is_watching = true;
    uv_poll_start(&h->poll, h->events, on_poll);
}

void fd_handle_ignore(struct fd_handle *h)
{
    if (!h->is_watching)
        return;
    h->is_watching = false;
    uv_poll_stop(&h->poll);
}

/* ---- requests ---- */

static int handle_release(struct fd_handle *h)
{
    int fd = h->fd;

    h->fd = -1;
    fcntl(fd, F_SETFL, h->old_flags);
    return close(fd) == 0 || errno == EINTR ? 0 : -errno;
}

static void on_request(uv_fs_t *request)
{
    struct fd_handle *h = container_of(request, struct fd_handle, request);
    ssize_t result = request->result;

    loop_touch(h->loop);
    uv_fs_req_cleanup(request);
    h->is_busy = false;
    h->loop->closing--;
    if (!h->is_closing) {
        h->on_done(h, result);
        return;
    }
    handle_release(h);
    h->on_gone(h);
}

static int handle_started(struct fd_handle *h, int status)
{
    if (status != 0)
        return status;
    h->is_busy = true;
    h->loop->closing++; /* nothing else tells the loop that something is under way */
    return 0;
}

int fd_handle_read(struct fd_handle *h, struct span into)
{
    uv_buf_t buffer = {.base = (char *)into.data, .len = into.len};

    assert(!h->is_watchable && !h->is_busy && !h->is_closing);
    return handle_started(h,
                          uv_fs_read(&h->loop->uv, &h->request, h->fd, &buffer, 1, -1, on_request));
}

int fd_handle_write(struct fd_handle *h, const struct span *spans, size_t count)
{
    uv_buf_t buffers[SPANS_MAX];

    assert(!h->is_watchable && !h->is_busy && !h->is_closing);
    if (count > SPANS_MAX)
        count = SPANS_MAX;
    for (size_t i = 0; i < count; i++)
        buffers[i] = (uv_buf_t){.base = (char *)spans[i].data, .len = spans[i].len};
    return handle_started(
        h, uv_fs_write(&h->loop->uv, &h->request, h->fd, buffers, (unsigned)count, -1, on_request));
}

/* ---- the end ---- */

static void on_closed(uv_handle_t *handle)
{
    struct fd_handle *h = container_of(handle, struct fd_handle, poll);

    h->loop->closing--;
    h->is_gone = true;
    h->on_gone(h);
}

int fd_handle_close(struct fd_handle *h)
{
    if (h->is_closing || h->fd < 0)
        return 0;
    h->is_closing = true;
    h->is_watching = false;
    if (h->is_busy)
        return 0; /* on_request goes on */
    if (h->is_watchable) {
        h->loop->closing++;
        uv_close((uv_handle_t *)&h->poll, on_closed);
        return handle_release(h);
    }
    int status = handle_release(h);
    h->on_gone(h);
    return status;
}
