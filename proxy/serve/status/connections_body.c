#include "connections_body.h"

#include "../route.h"
#include "../session_entry.h"
#include "json.h"
#include "worker_walk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SESSION_MAX     4096 /* of text; a host name of 255 bytes, escaped, is the most of it */
#define SESSIONS_A_TURN 64

struct connections_body {
    struct status_body base;
    struct worker_walk walk;
    bool has_begun;
};

static const char *state_of(const struct session *s)
{
    if (s->opening == NULL)
        return "open";
    return session_has_asked(s) ? "connecting" : "handshake";
}

static const char *carrier_name(enum ws_carrier carrier)
{
    switch (carrier) {
    case WS_EXTENSION:
        return "extension";
    case WS_SUBPROTOCOL:
        return "subprotocol";
    case WS_PLAIN:
        break;
    }
    return "plain";
}

static void add_string(struct text *t, const char *key, const char *value)
{
    if (value == NULL)
        return;
    text_addf(t, ",\"%s\":", key);
    json_add_string(t, value);
}

static void add_way(struct text *t, const char *key, const struct relay_view *v,
                    enum relay_side way)
{
    const char *state = v->is_complete[way] ? "complete" : v->has_ended[way] ? "ended" : "open";

    text_addf(t,
              ",\"%s\":{\"state\":\"%s\",\"bytes\":%" PRIu64 ",\"buffered_bytes\":%" PRIu64
              ",\"is_paused\":%s,\"pauses\":%" PRIu64 "}",
              key, state, v->bytes[way], v->pending[way], v->is_paused[way] ? "true" : "false",
              v->pauses[way]);
}

static void add_session(struct text *t, const struct session *s)
{
    struct relay_view v;

    text_addf(t, "{\"conn\":%" PRIu64 ",\"age_ms\":%" PRIu64 ",\"state\":\"%s\"", s->base.id,
              loop_now_ms(s->host->loop) - s->base.started_ms, state_of(s));
    add_string(t, "client", session_client_name(s));
    if (session_has_asked(s)) {
        add_string(t, "route", s->route->name);
        add_string(t, "bearer", session_noted(s)->bearer);
        add_string(t, "backend", session_backend_name(s));
        add_string(t, "carrier", carrier_name(s->carrier));
    }
    if (s->opening == NULL) {
        relay_look(&s->relay, &v);
        add_way(t, "to_backend", &v, RELAY_CLIENT);
        add_way(t, "to_client", &v, RELAY_BACKEND);
    }
    text_add(t, "}");
}

static bool next(struct status_body *base, struct text *out)
{
    struct connections_body *b = container_of(base, struct connections_body, base);

    for (unsigned i = 0; i < SESSIONS_A_TURN && out->size - out->len >= SESSION_MAX; i++) {
        const struct session *session = worker_walk_next(&b->walk);
        if (session == NULL) {
            if (worker_walk_go_on(&b->walk))
                return false;
            text_add(out, b->has_begun ? "\n]\n" : "[]\n");
            return true;
        }
        text_add(out, b->has_begun ? ",\n" : "[\n");
        b->has_begun = true;
        add_session(out, session);
    }
    return false;
}

static struct loop *where(const struct status_body *base)
{
    return worker_walk_where(&container_of(base, const struct connections_body, base)->walk);
}

static void connections_body_free(struct status_body *base)
{
    struct connections_body *b = container_of(base, struct connections_body, base);

    worker_walk_end(&b->walk);
    free(b);
}

struct status_body *connections_body_new(struct server *server)
{
    static const struct status_body_ops ops = {next, where, connections_body_free};
    struct connections_body *b = calloc(1, sizeof(*b));

    if (b == NULL)
        return NULL;
    b->base.ops = &ops;
    worker_walk_begin(&b->walk, server);
    return &b->base;
}
