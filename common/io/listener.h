/* A listening TCP or unix-domain socket, bound here or inherited (inherited.h). Accepts with
 * accept4(2) on a descriptor of its own, so that running out of descriptors is seen, waited out
 * (100 ms, logged at most once a second) and recovered from, which libuv's own accept hides. */
#ifndef TIDEGATE_LISTENER_H
#define TIDEGATE_LISTENER_H

#include "address.h"
#include "ip.h"
#include "loop.h"
#include "stream.h"

#include <stdbool.h>

struct listener;

struct listener_options {
    int backlog;      /* 0: SOMAXCONN */
    bool shares_port; /* SO_REUSEPORT: others will be opened beside it */
};

/* Listens on every address that `where` resolves to (at start: this call may block on the
 * resolver). `on_accept` gets each new descriptor (non-blocking, close-on-exec) and owns it; `kind`
 * is STREAM_TCP by an inherited socket, whose options are not ours to set. A stale unix socket file
 * (nobody listens) is replaced, a live one refused with -EADDRINUSE; that of an inherited socket is
 * left alone, also at the end. Returns 0 and `*out`, or a negative errno with what went wrong,
 * where and what to do in `problem`. */
int listener_open(struct loop *l, const struct address *where,
                  const struct listener_options *options,
                  void (*on_accept)(void *owner, int fd, enum stream_kind kind), void *owner,
                  struct listener **out, char *problem, size_t problem_size);

/* The same addresses for another loop: each TCP socket bound here has one more beside it, and the
 * kernel spreads the connections (SO_REUSEPORT; `other` was opened with shares_port), others
 * are shared. `owner` gets what comes to this one. The file of a unix socket stays that of `other`.
 * 0 and `*out`, or a negative errno. */
int listener_open_beside(const struct listener *other, struct loop *l, void *owner,
                         struct listener **out, char *problem, size_t problem_size);

/* Stops and goes on accepting; connections wait in the kernel's backlog. */
void listener_pause(struct listener *x);
void listener_resume(struct listener *x);

/* The bound addresses, as address_format writes them, separated by ' ': with the port the system
 * gave. */
const char *listener_name(const struct listener *x);

/* The peer of the connection that on_accept is being told of, written as stream_peer_name does, but
 * also known if the peer has reset it by now. Valid in on_accept only. Returns `buffer`; 64 bytes
 * do. */
char *listener_peer_name(const struct listener *x, char *buffer, size_t size);

/* The same as a number. False: it has none (a unix socket). Valid in on_accept only. */
bool listener_peer(const struct listener *x, struct ip_endpoint *out);

/* The port it is bound to (TCP), or 0. */
uint16_t listener_port(const struct listener *x);

/* Closes and frees (deferred); removes its unix socket file. NULL is fine. */
void listener_close(struct listener *x);

#endif
