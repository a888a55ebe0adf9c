/* All metrics, as a text that comes in pieces: one scrape. docs/metrics.md says what each of them
 * means; the table in exposition.c is where they are. */
#ifndef TIDEGATE_EXPOSITION_H
#define TIDEGATE_EXPOSITION_H

#include "counters.h"
#include "text.h"
#include "tls_config.h"

/* What is so now, and has not been counted. */
struct exposition_state {
    const char *version, *libuv, *mbedtls, *llhttp;
    bool is_draining;
    uint64_t max_connections;
    bool is_reload_good;                /* the last one, or the start */
    uint64_t reloaded_ms;               /* the last good one, or the start; since the epoch */
    uint64_t started_ms;                /* the process; since the epoch */
    const struct tls_config *tls;       /* NULL: none */
    const struct tls_pair_files *pairs; /* what `tls` was made of */
};

struct exposition {
    const struct counters *const *blocks;
    size_t block_count;
    void (*look)(void *owner, struct exposition_state *out);
    void *owner;
    /* private */
    size_t family;
    bool has_head;
    const struct route_row *row;
};

/* `blocks`, at least one, outlive it; the rows are those of the first. `look` may be called by each
 * exposition_next; what it says is good until that returns. */
void exposition_init(struct exposition *e, const struct counters *const *blocks, size_t count,
                     void (*look)(void *owner, struct exposition_state *out), void *owner);

/* Appends the next samples, as many as fit: `out` has room for EXPOSITION_PIECE bytes at least.
 * True: these were the last. */
#define EXPOSITION_PIECE 20480
bool exposition_next(struct exposition *e, struct text *out);

#endif
