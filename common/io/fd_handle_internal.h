/* A descriptor of any kind under libuv: what epoll can watch (pipe, terminal, socket) is made
 * non-blocking and watched; what it cannot (a file, /dev/null) is read and written in libuv's
 * threads, one request at a time. Private to this floor. */
#ifndef TIDEGATE_FD_HANDLE_INTERNAL_H
#define TIDEGATE_FD_HANDLE_INTERNAL_H

#include "loop_internal.h"

struct fd_handle {
    struct loop *loop;
    int fd; /* -1: closed */
    int old_flags;
    bool is_watchable;
    bool is_watching; /* on_ready is wanted */
    bool is_busy;     /* a request is with a thread */
    bool is_closing;
    bool is_gone; /* libuv has forgotten it */
    int events;   /* UV_READABLE or UV_WRITABLE */
    uv_poll_t poll;
    uv_fs_t request;

    /* It can be read or written now. `has_failed`: or asking for it will tell an error. */
    void (*on_ready)(struct fd_handle *h, bool has_failed);
    /* What a request has done: bytes, 0 for the end, or a negative errno. */
    void (*on_done)(struct fd_handle *h, ssize_t result);
    /* After fd_handle_close: its memory may be given back. May come from within that call. */
    void (*on_gone)(struct fd_handle *h);
};

/* Takes `fd` over; in the end its flags become `old_flags` (another handle of the same open file
 * may have changed them by now). The three events are set by the caller. 0, or a negative errno:
 * `fd` is then as it was. */
int fd_handle_open(struct fd_handle *h, struct loop *l, int fd, int old_flags, int events);

void fd_handle_watch(struct fd_handle *h);
void fd_handle_ignore(struct fd_handle *h);

/* Starts a request; not while one is under way. The memory stays put until on_done. 0 or a negative
 * errno. */
int fd_handle_read(struct fd_handle *h, struct span into);
int fd_handle_write(struct fd_handle *h, const struct span *spans, size_t count);

/* Puts the flags back and closes: at once, or when the request under way is done. 0 or the negative
 * errno of close(2), which for some files is where a failed write is told. */
int fd_handle_close(struct fd_handle *h);

#endif
