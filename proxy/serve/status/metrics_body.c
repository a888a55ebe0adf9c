#include "metrics_body.h"

#include "../worker.h"
#include "worker_walk.h"

#include <stdlib.h>

#define SESSIONS_A_TURN 256

_Static_assert(STATUS_HTTP_PIECE >= EXPOSITION_PIECE, "a piece fits");

struct metrics_body {
    struct status_body base;
    struct server *server;
    struct worker_walk walk;
    struct exposition exposition;
    const struct counters *blocks[]; /* of all workers */
};

/* Brings the counters of one worker up to date, in its thread. */
static void count(struct metrics_body *b)
{
    struct worker *w = server_worker(b->server, b->walk.index);

    for (unsigned i = 0; i < SESSIONS_A_TURN; i++) {
        struct session *session = worker_walk_next(&b->walk);
        if (session == NULL) {
            worker_count_loop(w);
            worker_walk_go_on(&b->walk);
            return;
        }
        session_count_live(session);
    }
}

static struct loop *where(const struct status_body *base)
{
    return worker_walk_where(&container_of(base, const struct metrics_body, base)->walk);
}

static bool next(struct status_body *base, struct text *out)
{
    struct metrics_body *b = container_of(base, struct metrics_body, base);

    if (where(base) == NULL)
        return exposition_next(&b->exposition, out);
    count(b);
    return false;
}

static void metrics_body_free(struct status_body *base)
{
    struct metrics_body *b = container_of(base, struct metrics_body, base);

    worker_walk_end(&b->walk);
    free(b);
}

struct status_body *metrics_body_new(struct server *server,
                                     void (*look)(void *owner, struct exposition_state *out),
                                     void *owner)
{
    static const struct status_body_ops ops = {next, where, metrics_body_free};
    unsigned worker_count = server_worker_count(server);
    struct metrics_body *b = calloc(1, sizeof(*b) + worker_count * sizeof(void *));

    if (b == NULL)
        return NULL;
    b->base.ops = &ops;
    b->server = server;
    for (unsigned i = 0; i < worker_count; i++)
        b->blocks[i] = server_worker(server, i)->host.counters;
    worker_walk_begin(&b->walk, server);
    exposition_init(&b->exposition, b->blocks, worker_count, look, owner);
    return &b->base;
}
