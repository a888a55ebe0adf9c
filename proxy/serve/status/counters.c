#include "counters.h"

#include "span.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

const struct histogram_scale counters_scale_age = {
    8, {100, 1000, 10000, 60000, 600000, 3600000, 21600000, 86400000}};
const struct histogram_scale counters_scale_half_closed = {
    8, {10, 100, 1000, 10000, 60000, 600000, 3600000, 21600000}};
const struct histogram_scale counters_scale_connect = {
    11, {1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10000}};
const struct histogram_scale counters_scale_lag = {8, {2, 5, 10, 25, 50, 100, 500, 1000}};

_Static_assert(sizeof(struct route_counts) % sizeof(uint64_t) == 0, "added up as numbers");
_Static_assert(sizeof(struct loop_counts) % sizeof(uint64_t) == 0, "added up as numbers");

void histogram_add(struct histogram *h, const struct histogram_scale *scale, uint64_t ms)
{
    unsigned i = 0;

    while (i < scale->count && ms > scale->upper_ms[i])
        i++;
    counter_add(&h->buckets[i], 1);
    counter_add(&h->sum_ms, ms);
}

const char *limit_name(enum limit_kind limit)
{
    static const char *const names[] = {
#define X(id, name) name,
        LIMIT_LIST(X)
#undef X
    };
    assert(limit < LIMIT_COUNT);
    return names[limit];
}

/* ---- rows ---- */

struct counters *counters_new(void)
{
    struct counters *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    memcpy(c->others.name, "(others)", sizeof("(others)"));
    c->first = c->last = &c->unrouted;
    return c;
}

void counters_free(struct counters *c)
{
    if (c == NULL)
        return;
    for (struct route_row *next, *row = c->first; row != NULL; row = next) {
        next = row->next;
        if (row != &c->unrouted && row != &c->others)
            free(row);
    }
    free(c);
}

/* A scrape of another thread sees it whole or not at all. */
static struct route_row *append(struct counters *c, struct route_row *row)
{
    __atomic_store_n(&c->last->next, row, __ATOMIC_RELEASE);
    c->last = row;
    return row;
}

static struct route_row *find(const struct counters *c, const char *name)
{
    for (struct route_row *row = c->first; row != NULL; row = row->next)
        if (strcmp(row->name, name) == 0)
            return row;
    return NULL;
}

static struct route_row *add(struct counters *c, const char *name)
{
    size_t len = strlen(name);
    struct route_row *row = c->route_count < COUNTERS_ROUTES_MAX ? calloc(1, sizeof(*row)) : NULL;

    if (row == NULL) {
        bool is_there = c->last == &c->others || c->others.next != NULL;
        return is_there ? &c->others : append(c, &c->others);
    }
    assert(len <= ROUTE_NAME_MAX);
    memcpy(row->name, name, len + 1);
    c->route_count++;
    return append(c, row);
}

struct route_counts *counters_route(struct counters *c, const char *name)
{
    if (name == NULL)
        return &c->unrouted.counts;
    struct route_row *row = find(c, name);
    return row != NULL ? &row->counts : &add(c, name)->counts;
}

/* ---- reading ---- */

const struct route_row *counters_first(const struct counters *c)
{
    return &c->unrouted;
}

const struct route_row *counters_next(const struct route_row *row)
{
    return __atomic_load_n(&row->next, __ATOMIC_ACQUIRE);
}

static void add_up(uint64_t *to, const uint64_t *from, size_t size)
{
    for (size_t i = 0; i < size / sizeof(*to); i++)
        to[i] += counter_get(&from[i]);
}

void counters_sum_route(const struct counters *const *blocks, size_t count,
                        const struct route_row *row, struct route_counts *out)
{
    memset(out, 0, sizeof(*out));
    add_up((uint64_t *)out, (const uint64_t *)&row->counts, sizeof(*out));
    for (size_t i = 1; i < count; i++) {
        const struct route_row *other = counters_first(blocks[i]);
        while (other != NULL && strcmp(other->name, row->name) != 0)
            other = counters_next(other);
        if (other != NULL)
            add_up((uint64_t *)out, (const uint64_t *)&other->counts, sizeof(*out));
    }
}

void counters_sum_loop(const struct counters *const *blocks, size_t count, struct loop_counts *out)
{
    memset(out, 0, sizeof(*out));
    for (size_t i = 0; i < count; i++)
        add_up((uint64_t *)out, (const uint64_t *)&blocks[i]->loop, sizeof(*out));
}
