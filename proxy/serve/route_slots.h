/* How many connections each route has, by its name: through every reload. One loop. */
#ifndef TIDEGATE_ROUTE_SLOTS_H
#define TIDEGATE_ROUTE_SLOTS_H

#include <stdint.h>

/* Of one route that has connections. */
struct route_slots {
    struct route_slots *next;
    uint64_t taken;
    char name[];
};

/* One more of `name`. 0 and `*out`; -EBUSY if there are `most` already (0: no limit), or -ENOMEM.
 * `*list` begins as NULL. */
int route_slots_take(struct route_slots **list, const char *name, uint64_t most,
                     struct route_slots **out);

/* One less. NULL is fine. */
void route_slots_give(struct route_slots **list, struct route_slots *slots);

#endif
