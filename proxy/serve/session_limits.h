/* Sessions and the limits on what one client or one route has: who may come, and who has to go. */
#ifndef TIDEGATE_SESSION_LIMITS_H
#define TIDEGATE_SESSION_LIMITS_H

#include "session.h"

/* Why a client may have no more. */
struct session_limit {
    bool is_memory;       /* we have none: no limit of its own */
    enum limit_kind kind; /* else: the one that was met */
    const char *problem;  /* one line for the client. Static */
    bool is_told;         /* whether it is worth telling (client_limits.h) */
};

/* Counts one more connection of the client `ip`, which its rate pays for, in `slot`. False: it may
 * have no more, and `*out` says why. */
bool session_limits_enter(const struct session_host *host, const struct ip *ip,
                          struct client_slot *slot, struct session_limit *out);

/* Whether it is known at accept who the client is: the peer, and nobody whose word is taken for
 * another one. */
bool session_limits_know_client(const struct session_host *host,
                                const struct service_arrival *arrival);

/* Counts it as one of its route's. 0, -EBUSY if there is no room, or -ENOMEM. */
int session_limits_take_route(struct session *s);

/* Undoes both, as far as they were done. */
void session_limits_leave(struct session *s);

/* For relay_handler: the relay of a session. If that is one half-closed connection too many
 * of its client, the one goes that has been without a byte longest, of the others in its loop; if
 * all the others are in other loops, it goes itself. */
void session_limits_first_end(struct relay *r);

#endif
