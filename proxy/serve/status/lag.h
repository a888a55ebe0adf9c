/* How late a loop's timers come: a histogram of what one that is due every half a second finds. */
#ifndef TIDEGATE_LAG_H
#define TIDEGATE_LAG_H

#include "counters.h"
#include "scheduler.h"

struct lag {
    struct scheduler *scheduler; /* NULL: does not run */
    struct counters *counters;
    struct deadline look;
    uint64_t due_ms;
};

/* Both outlive it. In the loop's own thread, or before that runs. */
void lag_begin(struct lag *lag, struct scheduler *s, struct counters *counters);
void lag_end(struct lag *lag); /* harmless if it does not run */

#endif
