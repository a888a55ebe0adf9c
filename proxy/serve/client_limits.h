/* How much each client has: connections, half-closed ones among them, new ones per second. A client
 * is an IPv4 address, or the /64 network of an IPv6 address, of which one subscriber has 2^64.
 *
 * A table with a random key: clients choose their addresses. A client stays in it as long as it has
 * connections, and for a second more, until it has its whole rate again; of those that only wait
 * for that there are CLIENT_LIMITS_IDLE_MAX at most, then the one that waits longest is forgotten.
 * For all loops: a lock is held during each call, and by none of them for longer than it takes to
 * look into the table. Times are those of the caller's loop. */
#ifndef TIDEGATE_CLIENT_LIMITS_H
#define TIDEGATE_CLIENT_LIMITS_H

#include "ip.h"

#include <stdbool.h>
#include <stdint.h>

#define CLIENT_LIMITS_IDLE_MAX      16384
#define CLIENT_LIMITS_TOLD_A_SECOND 10

struct client_limits;
struct client;

struct client_bounds {
    uint64_t connections, half_closed, rate_per_s; /* 0: none */
};

enum client_verdict {
    CLIENT_IS_WELCOME,
    CLIENT_HAS_TOO_MANY, /* connections */
    CLIENT_IS_TOO_FAST,
    CLIENT_NO_MEMORY, /* not known how many it has: not counted */
};

/* Member of a connection. All zero: not counted. May be copied elsewhere until it is
 * half-closed. */
struct client_slot {
    struct client *client;
    struct client_slot *next_half_closed, **link; /* link NULL: is not half-closed */
};

/* NULL when out of memory, or without random numbers. */
struct client_limits *client_limits_new(void);
void client_limits_free(struct client_limits *l); /* no slot is taken any more. NULL is fine */

/* Counts one more of `ip` in `slot`, if there is room for it, and its rate pays for it. If not,
 * `*is_told` says whether it is to hear why: beyond CLIENT_LIMITS_TOLD_A_SECOND that would cost
 * more than it is worth. */
enum client_verdict client_limits_enter(struct client_limits *l, uint64_t now_ms,
                                        const struct ip *ip, const struct client_bounds *bounds,
                                        struct client_slot *slot, bool *is_told);

/* Counts one less. Harmless if it was not counted. */
void client_limits_leave(struct client_limits *l, uint64_t now_ms, struct client_slot *slot);

/* The connection of `slot` is half-closed, and stays so until it leaves. Once. If more than `most`
 * of its client are (0: no limit), `look` is called for each of them, with the lock held: they may
 * be of any loop. */
void client_limits_half_close(struct client_limits *l, struct client_slot *slot, uint64_t most,
                              void (*look)(void *arg, struct client_slot *slot), void *arg);

/* In the table. For tests. */
uint64_t client_limits_known(struct client_limits *l);

#endif
