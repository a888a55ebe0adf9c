/* A connected TCP or unix-domain stream socket as a duplex (flow/duplex.h).
 *
 *   write   tries the kernel at once; what it refuses is copied and sent later, the stream is full
 * meanwhile finish  shutdown(SHUT_WR) behind everything written abort   waits until the peer's
 * kernel has what was written (linger time at most), then SO_LINGER 0 and close(2): RST. A unix
 * socket has no reset: see docs/half-close.md close   drains the peer to its end (linger time at
 * most), then close(2) a write that fails (EPIPE, ECONNRESET) is told as on_abort behind what the
 * peer had already sent
 *
 * Sets TCP_NODELAY at once; keepalive and TCP_USER_TIMEOUT when it has lived for two seconds,
 * because a short connection does not need them. The last one is lifted while the peer is alive but
 * does not read (measured: it kills a peer whose window is closed, although every probe is
 * answered). */
#ifndef TIDEGATE_STREAM_H
#define TIDEGATE_STREAM_H

#include "duplex.h"
#include "ip.h"
#include "loop.h"

struct stream_options {
    uint64_t linger_ms;
    uint64_t user_timeout_ms; /* TCP_USER_TIMEOUT; 0: 60 s */
};

enum stream_kind {
    STREAM_TCP,
    STREAM_ACCEPTED, /* TCP, by a socket of a listener's own: has all these options from there */
    STREAM_UNIX,
};

/* Takes over a connected, non-blocking descriptor. `options` outlives the stream. NULL when out of
 * memory (or libuv refuses it): `fd` is then closed. The stream is paused. */
struct duplex *stream_open(struct loop *l, int fd, enum stream_kind kind,
                           const struct stream_options *options);

/* Calls `fn` once, when the descriptor has been closed, whoever ended the stream: to give back a
 * slot of a limit. Comes after the last event. Not called for streams that loop_free closes. */
void stream_on_release(struct duplex *duplex, void (*fn)(void *arg), void *arg);

/* The descriptor shares its open file with others (standard input): before it is closed, its file
 * status flags become `flags` again. */
void stream_keep_flags(struct duplex *duplex, int flags);

/* The address that the peer connected to, or that we connected from. False: it has no number (a
 * unix socket), or is gone. */
bool stream_local(const struct duplex *duplex, struct ip_endpoint *out);

/* Numeric "address:port" or "unix" of the peer, terminated; returns `buffer`. 64 bytes do. */
char *stream_peer_name(const struct duplex *duplex, char *buffer, size_t size);

#endif
