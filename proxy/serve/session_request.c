/* The request of a session: what it asks for, and whether it may. */
#include "gate.h"
#include "page.h"
#include "session_entry.h"
#include "session_internal.h"
#include "session_limits.h"
#include "traceparent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Keeps frames that come before our 101. False when out of memory. */
static bool keep_early(struct session *s, struct span in)
{
    struct early *early = &s->opening->early;

    if (!early_keep(early, in))
        return false;
    if (early_is_full(early))
        duplex_pause(s->opening->client);
    return true;
}

/* What the log is to say of it, and the head, where it stands now, does not outlive. */
static bool note_verdict(struct session *s, const struct gate_verdict *v)
{
    char name[ADDRESS_TEXT_MAX];
    struct session_notes *n;

    s->route = v->route;
    if (s->route != NULL)
        s->counted.route = counters_route(s->host->counters, s->route->name);
    if (v->bearer == NULL && !v->has_target)
        return true;
    n = session_notes(s);
    if (n == NULL)
        return false;
    if (v->bearer != NULL)
        n->bearer = strdup(v->bearer);
    if (v->has_target)
        n->target_name = strdup(address_format(&v->target.address, name, sizeof(name)));
    return (v->bearer == NULL || n->bearer != NULL) && (!v->has_target || n->target_name != NULL);
}

/* The request has been judged good: connects. */
static void go(struct session *s, const struct gate_verdict *v, struct span rest)
{
    struct opening *o = s->opening;

    s->carrier = o->offer.carrier;
    deadline_clear(loop_scheduler(s->host->loop), &o->timeout);
    openings_remove(&o->place);
    bool is_going = keep_early(s, rest) && session_dial(s, v->has_target ? &v->target : NULL);
    ws_head_free(o->head);
    o->head = NULL;
    provenance_clear(&o->from);
    if (!is_going)
        session_refuse(s, 503, session_cause(CAUSE_NO_MEMORY, CAUSE_AT_PROXY), "out of memory");
}

/* Who traces requests finds this one in our log. Without memory, not. */
static void note_trace(struct session *s)
{
    char id[TRACEPARENT_ID_SIZE];

    if (traceparent_parse(ws_head_field(s->opening->head, "traceparent"), id) &&
        session_notes(s) != NULL)
        s->notes->trace_id = strdup(id);
}

/* Behind a proxy it is known only now who the client is. False: refused. */
static bool admit_late(struct session *s, const struct ip *client)
{
    struct session_limit limit;

    if (s->client_slot.client != NULL ||
        session_limits_enter(s->host, client, &s->client_slot, &limit))
        return true;
    if (!limit.is_memory)
        counter_add(&s->host->counters->loop.limits[limit.kind], 1);
    session_refuse(s, 503,
                   session_cause(limit.is_memory ? CAUSE_NO_MEMORY : CAUSE_LIMIT, CAUSE_AT_PROXY),
                   limit.problem);
    return false;
}

/* False: refused, there is no room. */
static bool take_route_slot(struct session *s)
{
    int status = session_limits_take_route(s);

    if (status == -EBUSY)
        session_refuse(s, 503, session_cause(CAUSE_LIMIT, CAUSE_AT_PROXY),
                       "too many connections of this route");
    else if (status != 0)
        session_refuse(s, 503, session_cause(CAUSE_NO_MEMORY, CAUSE_AT_PROXY), "out of memory");
    return status == 0;
}

/* It has nothing to do with a backend: it is not logged, and what comes behind it is dropped. */
static void show_page(struct session *s, const struct page *page)
{
    if (!page_write(page, s->opening->head, s->opening->client)) {
        session_refuse(s, 503, session_cause(CAUSE_NO_MEMORY, CAUSE_AT_PROXY), "out of memory");
        return;
    }
    duplex_close(s->opening->client);
    session_free(s);
}

static void on_request(struct session *s, struct span rest)
{
    struct opening *o = s->opening;
    const struct page *page = page_find(s->host->pages, o->head);
    struct gate_request request = {
        .head = o->head,
        .offer = &o->offer,
        .client = s->has_tls ? s->opening->client : NULL,
        .from = &o->from.client,
    };
    struct gate_verdict verdict;
    const char *problem = NULL;

    if (page != NULL) {
        show_page(s, page);
        return;
    }
    int status = ws_handshake_judge(o->head, &o->offer, &problem);
    note_trace(s);
    if (status != 101) {
        session_refuse(s, status, session_cause(CAUSE_BAD_HANDSHAKE, CAUSE_AT_CLIENT), problem);
        return;
    }
    provenance_read_request(&o->from, s->site, o->head);
    if (!session_note_client(s, &s->opening->from)) {
        session_refuse(s, 503, session_cause(CAUSE_NO_MEMORY, CAUSE_AT_PROXY), "out of memory");
        return;
    }
    if (o->from.client.has_endpoint && !admit_late(s, &o->from.client.endpoint.ip))
        return;
    gate_judge(s->site, &request, &verdict);
    if (!note_verdict(s, &verdict))
        session_refuse(s, 503, session_cause(CAUSE_NO_MEMORY, CAUSE_AT_PROXY), "out of memory");
    else if (verdict.status != 101)
        session_refuse(s, verdict.status, verdict.cause, verdict.problem);
    else if (take_route_slot(s))
        go(s, &verdict, rest);
}

static void on_client_data(void *owner, struct span in)
{
    struct session *s = owner;
    struct opening *o = s->opening;

    o->has_spoken = true;
    if (o->head == NULL) {
        if (!keep_early(s, in))
            session_refuse(s, 503, session_cause(CAUSE_NO_MEMORY, CAUSE_AT_PROXY), "out of memory");
        return;
    }
    switch (ws_head_feed(o->head, &in)) {
    case WS_HEAD_MORE:
        return;
    case WS_HEAD_DONE:
        on_request(s, in);
        return;
    case WS_HEAD_FAILED:
        session_refuse(s, ws_head_status(o->head),
                       session_cause(CAUSE_BAD_HANDSHAKE, CAUSE_AT_CLIENT),
                       ws_head_problem(o->head));
        return;
    }
}

/* A FIN under a WebSocket that is not open yet: the client does not want it any more. */
static void on_client_end(void *owner)
{
    struct session *s = owner;

    duplex_close(s->opening->client);
    session_give_up(s, session_cause(CAUSE_CLOSED, CAUSE_AT_CLIENT));
}

static void on_client_abort(void *owner, struct cause cause)
{
    cause.where = CAUSE_AT_CLIENT;
    session_give_up(owner, cause);
}

static void on_client_quiet(void *owner)
{
    (void)owner; /* on_drain, on_finished: nothing waits for them */
}

const struct duplex_events session_client_events = {
    .on_data = on_client_data,
    .on_end = on_client_end,
    .on_abort = on_client_abort,
    .on_drain = on_client_quiet,
    .on_finished = on_client_quiet,
};
