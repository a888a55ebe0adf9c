/* libuv's poll handle for a socket. Private to this floor: includes <uv.h>.
 *
 * To make one is three system calls (libuv tries epoll_ctl(2), takes that back, and sets
 * O_NONBLOCK), and it belongs to a number, not to a socket. So the handles of sockets that are
 * closed are kept, some of them, for the next ones that the kernel gives the same numbers: as long
 * as connections come and go, all do with these. */
#ifndef TIDEGATE_WATCH_INTERNAL_H
#define TIDEGATE_WATCH_INTERNAL_H

#include "loop_internal.h"

/* For `fd`, a non-blocking socket, with `owner` for its data; nothing is waited for yet. NULL when
 * out of memory, or if libuv refuses it. */
uv_poll_t *watch_open(struct loop *l, int fd, void *owner);

/* Before close(2). No callback comes any more; the handle is not the caller's any more. */
void watch_close(uv_poll_t *poll);

static inline int watch_fd(const uv_poll_t *poll)
{
    uv_os_fd_t fd;
    return uv_fileno((const uv_handle_t *)poll, &fd) == 0 ? fd : -1;
}

/* Those that are kept, when the loop ends. */
void watch_free_kept(struct loop *l);

#endif
