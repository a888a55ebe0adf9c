/* The connections whose opening handshake (TLS, and the request) is under way, oldest first, and a
 * limit on their number. Above it the oldest is to go: a good client's handshake takes
 * milliseconds, so that who has been at it longest is a silent one. One loop. */
#ifndef TIDEGATE_OPENINGS_H
#define TIDEGATE_OPENINGS_H

#include <stdint.h>

/* Member of what is listed. All zero: not in the list. */
struct openings_place {
    struct openings_place *next, **link;
};

struct openings {
    uint64_t limit, count;
    struct openings_place *oldest, **newest;
};

/* `limit` is at least 1. */
void openings_init(struct openings *o, uint64_t limit);

/* Adds the newest. If that is one too many: the oldest, which the caller is to end; else NULL. */
struct openings_place *openings_add(struct openings *o, struct openings_place *place);

/* Harmless if it is not in the list. */
void openings_remove(struct openings *o, struct openings_place *place);

#endif
