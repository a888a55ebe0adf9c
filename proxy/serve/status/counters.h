/* What the server has counted. Each loop has a block of its own, which only it writes: plain
 * numbers, no lock, and a store that costs what any store costs. A scrape, on any thread, reads the
 * blocks of all loops and adds them up.
 *
 * What belongs to a route is found by the route's name, so that it outlives a reload: a row once
 * made stays until the end. What is indexed by enum relay_side is of one direction: RELAY_CLIENT
 * the one to the backend, RELAY_BACKEND the one to the client. */
#ifndef TIDEGATE_COUNTERS_H
#define TIDEGATE_COUNTERS_H

#include "../route_match.h"
#include "cause.h"
#include "relay.h"
#include "ws_message.h"

#define COUNTERS_ROUTES_MAX 1024 /* rows; further names share one */
#define COUNTERS_CARRIERS   3    /* enum ws_carrier */
#define COUNTERS_PLACES     3    /* enum cause_where */

/* ---- numbers ---- */

/* By the one loop that owns it. Gauges are numbers, too: what is taken away is added negated. */
static inline void counter_add(uint64_t *counter, uint64_t n)
{
    uint64_t now = __atomic_load_n(counter, __ATOMIC_RELAXED);
    __atomic_store_n(counter, now + n, __ATOMIC_RELAXED);
}

static inline uint64_t counter_get(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

#define HISTOGRAM_BOUNDS_MAX 12

/* The upper ends of the buckets, ascending; above the last one there is another bucket. */
struct histogram_scale {
    unsigned count;
    uint64_t upper_ms[HISTOGRAM_BOUNDS_MAX];
};

extern const struct histogram_scale counters_scale_age, counters_scale_half_closed,
    counters_scale_connect, counters_scale_lag;

struct histogram {
    uint64_t buckets[HISTOGRAM_BOUNDS_MAX + 1]; /* not cumulative */
    uint64_t sum_ms;
};

void histogram_add(struct histogram *h, const struct histogram_scale *scale, uint64_t ms);

/* ---- what is counted ---- */

/* X(identifier, label): the limits that turn clients away. */
#define LIMIT_LIST(X)                                                                              \
    X(CONNECTIONS, "connections")                                                                  \
    X(HANDSHAKES, "handshakes")                                                                    \
    X(CLIENT_CONNECTIONS, "client-connections")                                                    \
    X(CLIENT_RATE, "client-rate")                                                                  \
    X(CLIENT_HALF_CLOSED, "client-half-closed")                                                    \
    X(ROUTE_CONNECTIONS, "route-connections")

enum limit_kind {
#define X(id, name) LIMIT_##id,
    LIMIT_LIST(X)
#undef X
        LIMIT_COUNT
};

const char *limit_name(enum limit_kind limit);

/* Of one route. Nothing but uint64_t in it: rows are added up as arrays of them. */
struct route_counts {
    uint64_t handshakes[CAUSE_COUNT]; /* CAUSE_OK: 101; else why there was none */
    uint64_t opened[COUNTERS_CARRIERS];
    uint64_t closed[CAUSE_COUNT][COUNTERS_PLACES];
    uint64_t active; /* gauge */
    uint64_t bytes[2];
    uint64_t pauses[2];
    uint64_t buffered[2]; /* gauge: what waits for the receiver of that direction */
    uint64_t half_closes[2][COUNTERS_CARRIERS]; /* by who ended first (enum relay_side) */
    uint64_t half_closed[2];                    /* gauge: by the direction that is still open */
    uint64_t truncated[2][CAUSE_COUNT];
    uint64_t connect_errors[CAUSE_COUNT];
    struct histogram age, half_closed_time, connect;
};

/* Of no route. */
struct loop_counts {
    uint64_t tls[CAUSE_COUNT]; /* handshakes; CAUSE_OK: good */
    uint64_t limits[LIMIT_COUNT];
    uint64_t handshaking; /* gauge */
    uint64_t deadlines;   /* gauge: timers that are armed */
    struct histogram lag;
};

struct route_row {
    struct route_row *next;
    struct route_counts counts;
    char name[ROUTE_NAME_MAX + 1];
};

struct counters {
    struct loop_counts loop;
    struct route_row *first, *last;
    unsigned route_count;
    struct route_row unrouted; /* "", the first: before a route was found */
    struct route_row others;   /* "(others)": those that have no row of their own */
};

/* NULL when out of memory. */
struct counters *counters_new(void);
void counters_free(struct counters *c); /* NULL is fine */

/* The row of a route (NULL: of none), made if need be; that of "(others)" if there are too many or
 * no memory. By the owning loop only. Stays until counters_free. */
struct route_counts *counters_route(struct counters *c, const char *name);

/* ---- reading ---- */

/* The rows of a block, in the order in which they were made. */
const struct route_row *counters_first(const struct counters *c);
const struct route_row *counters_next(const struct route_row *row);

/* The sum over `count` blocks; `row` is one of the first. */
void counters_sum_route(const struct counters *const *blocks, size_t count,
                        const struct route_row *row, struct route_counts *out);
void counters_sum_loop(const struct counters *const *blocks, size_t count, struct loop_counts *out);

#endif
