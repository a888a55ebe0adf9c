/* Names to socket addresses, by getaddrinfo(3) on libuv's threads. Numbers need no thread and no
 * wait. One lookup of a name is under way at a time, shared by all who ask: a slow name cannot
 * starve the others by being asked for often. */
#ifndef TIDEGATE_RESOLVE_H
#define TIDEGATE_RESOLVE_H

#include "address.h"
#include "loop.h"

#include <sys/socket.h>

#define RESOLVE_MAX 16 /* addresses kept of one name */

struct resolved {
    unsigned count;
    struct sockaddr_storage
        address[RESOLVE_MAX]; /* in the resolver's order (RFC 6724), ports set */
    socklen_t length[RESOLVE_MAX];
};

struct resolve;

/* Starts. `on_done` comes once, from the loop, never from this call: status 0 and the addresses
 * (valid during the call), or a negative errno (-ENOENT: no such name; -EAGAIN: the resolver has no
 * answer now). NULL when out of memory: on_done does not come. */
struct resolve *
resolve_start(struct loop *l, const struct address *where,
              void (*on_done)(void *owner, int status, const struct resolved *result), void *owner);

/* No on_done any more. The lookup itself may go on for others. */
void resolve_cancel(struct resolve *r);

/* The same at once, and blocking: for what happens at start, before anybody waits. 0 or a negative
 * errno. */
int resolve_now(struct loop *l, const struct address *where, struct resolved *out);

/* "127.0.0.1:80", "[::1]:80" or "unix" (its path says nothing of a peer), terminated. Returns
 * `buffer`; 64 bytes do. */
char *resolve_format(const struct sockaddr_storage *address, char *buffer, size_t size);

#endif
