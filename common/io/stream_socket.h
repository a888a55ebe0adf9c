/* What a stream asks and tells the kernel about its socket beyond reading and writing. Private to
 * this floor. */
#ifndef TIDEGATE_STREAM_SOCKET_H
#define TIDEGATE_STREAM_SOCKET_H

#include "ip.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define STREAM_SOCKET_USER_TIMEOUT_MS 60000

bool stream_socket_is_loopback(const struct sockaddr_storage *address);

/* Before listen(2) at `address`, or connect(2) to it. On a loopback address nothing is congested,
 * but a system whose default is BBR paces such a connection too, with a timer for each burst
 * (docs/performance.md): it gets Reno, which every kernel has and which does not. */
void stream_socket_tune_local(int fd, const struct sockaddr_storage *address);

/* What a connection needs from its first byte on: reset on close, TCP_NODELAY. A kernel that
 * refuses one of these, or of those below, is lived with. */
void stream_socket_tune(int fd);

/* What finds a peer that has gone, a minute or so later: keepalive, TCP_USER_TIMEOUT. */
void stream_socket_set_timeouts(int fd, uint64_t user_timeout_ms);
void stream_socket_set_user_timeout(int fd,
                                    uint64_t user_timeout_ms); /* 0: the kernel's own limits */

/* Whether close(2), also that of a process that dies, sends RST and drops what the peer has not
 * acknowledged (SO_LINGER 0). TCP only. */
void stream_socket_set_reset(int fd, bool resets);

/* shutdown(SHUT_WR). 0 or the negative errno that the connection broke with. */
int stream_socket_finish(int fd);

/* What broke the connection, as a negative errno, told once (SO_ERROR); 0 if nothing has. */
int stream_socket_error(int fd);

/* "address:port" or "unix". */
void stream_socket_peer_name(int fd, char *buffer, size_t size);

/* Our end's address. False: a unix socket, or it is gone. */
bool stream_socket_local(int fd, struct ip_endpoint *out);
/* The peer's. The same. */
bool stream_socket_peer(int fd, struct ip_endpoint *out);

/* Bytes handed to the kernel that the peer's has not acknowledged (unix: has not read). */
size_t stream_socket_outstanding(int fd);

enum stream_socket_tail {
    STREAM_TAIL_ACKED,   /* the peer's kernel has all that was written */
    STREAM_TAIL_DEAD,    /* it has not, and the connection is no more */
    STREAM_TAIL_MOVING,  /* bytes are under way, or unanswered */
    STREAM_TAIL_STALLED, /* the peer's window is closed, and it answers the probes */
    STREAM_TAIL_UNKNOWN, /* the window is closed, and probes are unanswered: as before */
};

static inline bool stream_socket_is_under_way(enum stream_socket_tail tail)
{
    return tail != STREAM_TAIL_ACKED && tail != STREAM_TAIL_DEAD;
}

/* How the bytes that the kernel has taken fare. TCP only. Two system calls if there are such. */
enum stream_socket_tail stream_socket_tail(int fd);

#endif
