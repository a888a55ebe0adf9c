/* A walk over the sessions of all workers, one worker after the other, each in its own thread. */
#ifndef TIDEGATE_WORKER_WALK_H
#define TIDEGATE_WORKER_WALK_H

#include "../../service/service.h"

struct server;
struct session;

struct worker_walk {
    const struct server *server;
    unsigned index; /* of the worker; their number when it is over */
    bool has_begun; /* with that one */
    struct service_walk walk;
};

/* From any thread. */
void worker_walk_begin(struct worker_walk *w, const struct server *server);

/* The loop in whose thread the next call belongs; NULL when it is over: any. */
struct loop *worker_walk_where(const struct worker_walk *w);

/* The next one of this worker; NULL: that was all of it. */
struct session *worker_walk_next(struct worker_walk *w);

/* After that: on to the next worker. False: it was the last. */
bool worker_walk_go_on(struct worker_walk *w);

void worker_walk_end(struct worker_walk *w);

#endif
