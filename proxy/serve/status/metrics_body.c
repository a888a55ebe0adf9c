#include "metrics_body.h"

#include "../server.h"
#include "../session.h"

#include <stdlib.h>

#define SESSIONS_A_TURN 256

_Static_assert(STATUS_HTTP_PIECE >= EXPOSITION_PIECE, "a piece fits");

struct metrics_body {
    struct status_body base;
    struct server *server;
    struct service_walk walk;
    bool is_walking;
    const struct counters *block; /* of the one loop there is */
    struct exposition exposition;
};

static void count_sessions(struct metrics_body *b)
{
    for (unsigned i = 0; i < SESSIONS_A_TURN; i++) {
        struct service_session *session = service_walk_next(&b->walk);
        if (session == NULL) {
            service_walk_end(&b->walk);
            b->is_walking = false;
            return;
        }
        session_count_live(container_of(session, struct session, base));
    }
}

static void set_gauge(uint64_t *gauge, uint64_t now)
{
    counter_add(gauge, now - *gauge);
}

static void look_at_loop(const struct metrics_body *b)
{
    struct loop_counts *c = &server_counters(b->server)->loop;

    set_gauge(&c->handshaking, server_handshaking(b->server));
    set_gauge(&c->deadlines, server_deadlines(b->server));
}

static bool next(struct status_body *base, struct text *out)
{
    struct metrics_body *b = container_of(base, struct metrics_body, base);

    if (b->is_walking) {
        count_sessions(b);
        return false;
    }
    look_at_loop(b);
    return exposition_next(&b->exposition, out);
}

static void metrics_body_free(struct status_body *base)
{
    struct metrics_body *b = container_of(base, struct metrics_body, base);

    if (b->is_walking)
        service_walk_end(&b->walk);
    free(b);
}

struct status_body *metrics_body_new(struct server *server,
                                     void (*look)(void *owner, struct exposition_state *out),
                                     void *owner)
{
    static const struct status_body_ops ops = {next, metrics_body_free};
    struct metrics_body *b = calloc(1, sizeof(*b));

    if (b == NULL)
        return NULL;
    b->base.ops = &ops;
    b->server = server;
    b->block = server_counters(server);
    b->is_walking = true;
    service_walk_begin(server_service(server), &b->walk);
    exposition_init(&b->exposition, &b->block, 1, look, owner);
    return &b->base;
}
