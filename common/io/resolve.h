/* Names to socket addresses, by getaddrinfo(3) on libuv's threads. Numbers need no thread and no wait. One
 * lookup of a name is under way at a time, shared by all who ask: a slow name cannot starve the others by
 * being asked for often. */
#ifndef TIDEGATE_RESOLVE_H
#define TIDEGATE_RESOLVE_H

#include "address.h"
#include "loop.h"

#include <sys/socket.h>

#define RESOLVE_MAX 16 /* addresses kept of one name */

struct resolved {
    unsigned count;
    struct sockaddr_storage address[RESOLVE_MAX]; /* in the resolver's order (RFC 6724), ports set */
    socklen_t length[RESOLVE_MAX];
};

struct resolve;

/* Starts. `on_done` comes once, from the loop, never from this call: status 0 and the addresses (valid
 * during the call), or a negative errno (-ENOENT: no such name; -EAGAIN: the resolver has no answer now).
 * NULL when out of memory: on_done does not come. */
struct resolve *resolve_start(struct loop *l, const struct address *where,
                              void (*on_done)(void *owner, int status, const struct resolved *result),
                              void *owner);

/* No on_done any more. The lookup itself may go on for others. */
void resolve_cancel(struct resolve *r);

#endif
