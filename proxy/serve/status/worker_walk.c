#include "worker_walk.h"

#include "../worker.h"

void worker_walk_begin(struct worker_walk *w, const struct server *server)
{
    *w = (struct worker_walk){.server = server};
}

static bool is_over(const struct worker_walk *w)
{
    return w->index == server_worker_count(w->server);
}

struct loop *worker_walk_where(const struct worker_walk *w)
{
    return is_over(w) ? NULL : server_worker(w->server, w->index)->host.loop;
}

struct session *worker_walk_next(struct worker_walk *w)
{
    if (!w->has_begun)
        service_walk_begin(server_worker(w->server, w->index)->host.service, &w->walk);
    w->has_begun = true;
    struct service_session *session = service_walk_next(&w->walk);
    return session == NULL ? NULL : container_of(session, struct session, base);
}

bool worker_walk_go_on(struct worker_walk *w)
{
    worker_walk_end(w);
    w->index++;
    return !is_over(w);
}

void worker_walk_end(struct worker_walk *w)
{
    if (w->has_begun)
        service_walk_end(&w->walk);
    w->has_begun = false;
}
