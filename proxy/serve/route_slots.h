/* How many connections each route has, by its name: through every reload. For all loops, with a
 * lock. */
#ifndef TIDEGATE_ROUTE_SLOTS_H
#define TIDEGATE_ROUTE_SLOTS_H

#include <pthread.h>
#include <stdint.h>

/* Of one route that has connections. */
struct route_slots {
    struct route_slots *next;
    uint64_t taken;
    char name[];
};

struct route_slots_table {
    pthread_mutex_t lock;
    struct route_slots *first;
};

#define ROUTE_SLOTS_TABLE_INIT                                                                     \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER                                                          \
    }

/* One more of `name`. 0 and `*out`; -EBUSY if there are `most` already (0: no limit), or -ENOMEM.
 */
int route_slots_take(struct route_slots_table *table, const char *name, uint64_t most,
                     struct route_slots **out);

/* One less. NULL is fine. */
void route_slots_give(struct route_slots_table *table, struct route_slots *slots);

#endif
