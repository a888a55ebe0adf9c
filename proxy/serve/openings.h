/* The connections whose opening handshake (TLS, and the request) is under way, and a limit on their
 * number. Above it one has to go, the oldest: a good client's handshake takes milliseconds, so that
 * who has been at it longest is a silent one.
 *
 * When so many good clients come at once that they have to wait for us, the oldest are those whose
 * turn is next, or who are half through. So those that we have answered once are a list of their
 * own, and safe from those that come, up to half of the limit. One loop. */
#ifndef TIDEGATE_OPENINGS_H
#define TIDEGATE_OPENINGS_H

#include <stdint.h>

struct openings_list;

/* Member of what is listed. All zero: not in a list. */
struct openings_place {
    struct openings_list *in;
    struct openings_place *next, **link;
};

struct openings_list {
    uint64_t count;
    struct openings_place *oldest, **newest;
};

struct openings {
    uint64_t limit;
    struct openings_list fresh, answered;
};

/* `limit` is at least 1. */
void openings_init(struct openings *o, uint64_t limit);

/* Adds the newest. If that is one too many: who has to go, another one, which the caller is to end;
 * else NULL. */
struct openings_place *openings_add(struct openings *o, struct openings_place *place);

/* It has been answered once, not for the last time. Harmless if it is not in a list. */
void openings_answered(struct openings *o, struct openings_place *place);

/* Harmless if it is not in a list. */
void openings_remove(struct openings_place *place);

#endif
