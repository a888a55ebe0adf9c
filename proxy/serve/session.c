#include "session.h"

#include "../service/access_log.h"
#include "../service/early.h"
#include "backend_dial.h"
#include "gate.h"
#include "route_match.h"
#include "session_entry.h"
#include "session_limits.h"
#include "site.h"
#include "traceparent.h"
#include "ws_handshake.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RESPONSE_MAX 1024

/* What is needed until the relay starts. */
struct opening {
    struct session *session;
    const struct listen_address *at;
    struct provenance from;
    struct ws_head *head;      /* NULL once judged */
    struct backend_dial *dial; /* NULL before, and after */
    struct ws_offer offer;
    struct deadline timeout;     /* for the head */
    struct openings_place place; /* until there is an answer to it */
    struct early early;          /* frames that come before our 101 */
};

static struct cause cause_at(enum cause_what what, enum cause_where where)
{
    return (struct cause){.what = what, .where = where};
}

/* ---- endings ---- */

bool session_has_asked(const struct session *s)
{
    return s->opening == NULL || s->opening->head == NULL;
}

static void free_opening(struct session *s)
{
    struct opening *o = s->opening;

    if (o == NULL)
        return;
    deadline_clear(loop_scheduler(s->host->loop), &o->timeout);
    openings_remove(&o->place);
    if (o->dial != NULL)
        backend_dial_cancel(o->dial);
    ws_head_free(o->head);
    early_clear(&o->early);
    provenance_clear(&o->from);
    free(o);
    s->opening = NULL;
}

static void free_session(struct session *s)
{
    free_opening(s);
    service_session_over(&s->base);
    backend_dial_over(s->backend);
    session_limits_leave(s);
    site_release(s->site);
    free(s->identity);
    free(s->client_name);
    free(s->unique_id);
    free(s->target_name);
    free(s->bearer);
    free(s->trace_id);
    free(s);
}

static void write_text(struct duplex *to, const struct text *t)
{
    struct span span = {(uint8_t *)t->data, t->len};

    assert(!t->overflowed);
    duplex_write(to, &span, 1);
}

/* A client that is refused has nothing to do with a backend. */
static struct access_entry refused_entry_of(const struct session *s)
{
    struct access_entry e = session_entry(s);

    e.backend = NULL;
    return e;
}

/* Before the PROXY protocol header, or TLS, nothing can be said to it. */
static bool can_hear(const struct session *s)
{
    return !s->opening->from.is_awaited && (!s->has_tls || s->is_secure);
}

/* Answers in HTTP. The stream then waits for the client's end, so that no reset destroys the
 * answer. */
static void refuse(struct session *s, int status, struct cause cause, const char *detail)
{
    char buffer[RESPONSE_MAX];
    struct text t;
    struct access_entry e = refused_entry_of(s);

    session_count_refused(s, cause);
    if (!can_hear(s)) {
        duplex_abort(s->client, cause);
        access_log_refused(&e, 0, cause, detail);
        free_session(s);
        return;
    }
    text_init(&t, buffer, sizeof(buffer));
    ws_handshake_refuse(status, detail, &t);
    write_text(s->client, &t);
    duplex_close(s->client);
    access_log_refused(&e, status, cause, detail);
    free_session(s);
}

/* The client is gone before there was an answer; its stream is closed or dead. */
static void give_up(struct session *s, struct cause cause)
{
    struct access_entry e = refused_entry_of(s);
    char detail[ACCESS_LOG_DETAIL_MAX];

    session_count_refused(s, cause);
    access_log_refused(&e, 0, cause, access_log_detail(cause, detail));
    free_session(s);
}

static void tell_closed(struct session *s, const struct relay_report *report)
{
    const struct server_observer *o = &s->host->observer;

    session_count_closed(s, report);
    if (o->on_closed != NULL)
        o->on_closed(o->arg, report);
}

static void on_relay_done(struct relay *r, const struct relay_report *report)
{
    struct session *s = container_of(r, struct session, relay);
    struct access_entry e = session_entry(s);

    access_log_closed(&e, s->carrier, report);
    tell_closed(s, report);
    free_session(s);
}

/* ---- the backend ---- */

static void send_101(struct session *s)
{
    char buffer[RESPONSE_MAX];
    struct text t;

    text_init(&t, buffer, sizeof(buffer));
    ws_handshake_accept(&s->opening->offer, &t);
    write_text(s->client, &t);
}

/* Turns the client's stream, which has been sent 101, into a WebSocket. NULL when out of memory:
 * the stream is then aborted. */
static struct duplex *upgrade(struct session *s)
{
    struct duplex *ws;

    duplex_pause(s->client);
    send_101(s);
    session_count_opened(s);
    ws = ws_duplex_new(loop_scheduler(s->host->loop), s->client, WS_SERVER, s->carrier,
                       &s->route->settings->ws, s->opening->early.bytes);
    if (ws == NULL)
        duplex_abort(s->client, cause_at(CAUSE_NO_MEMORY, CAUSE_AT_PROXY));
    s->client = NULL;
    free_opening(s);
    return ws;
}

/* A page cannot read the status of a failed upgrade: it gets a Close that says the same. */
static void refuse_in_close(struct session *s, struct cause cause)
{
    struct relay_report report = {.cause = cause};
    struct duplex *ws = upgrade(s);
    struct access_entry e = session_entry(s);

    if (ws != NULL)
        duplex_abort(ws, cause);
    access_log_closed(&e, s->carrier, &report);
    tell_closed(s, &report);
    free_session(s);
}

static void on_dial_failed(struct session *s, struct cause cause)
{
    char detail[ACCESS_LOG_DETAIL_MAX];

    if (cause.what == CAUSE_NO_MEMORY)
        refuse(s, 503, cause,
               cause.native == -EMFILE || cause.native == -ENFILE ? "out of descriptors"
                                                                  : "out of memory");
    else if (cause.what == CAUSE_DENIED)
        refuse(s, 403, cause_at(CAUSE_DENIED, CAUSE_AT_CLIENT), "not to this target");
    else if (s->carrier == WS_SUBPROTOCOL)
        refuse_in_close(s, cause);
    else
        refuse(s, cause.what == CAUSE_CONNECT_TIMEOUT ? 504 : 502, cause,
               access_log_detail(cause, detail));
}

static void on_dialled(void *owner, const struct backend_dial_result *result)
{
    struct duplex *backend = result->backend;
    struct session *s = owner;
    const struct server_observer *observer = &s->host->observer;
    struct duplex *ws;

    s->opening->dial = NULL;
    s->backend = result->state;
    if (backend == NULL) {
        struct cause cause = result->cause;
        cause.where = CAUSE_AT_BACKEND;
        on_dial_failed(s, cause);
        return;
    }
    service_session_connected(&s->base, result->stream);
    if (observer->on_connected != NULL)
        observer->on_connected(observer->arg, s->carrier);
    ws = upgrade(s);
    if (ws == NULL) {
        struct relay_report report = {.cause = {CAUSE_NO_MEMORY, CAUSE_AT_PROXY, 0}};
        duplex_abort(backend, report.cause);
        on_relay_done(&s->relay, &report);
        return;
    }
    relay_start(&s->relay, loop_scheduler(s->host->loop), ws, backend, &s->route->settings->relay,
                on_relay_done);
    relay_watch_first_end(&s->relay, session_limits_first_end);
}

/* ---- the request ---- */

/* Keeps frames that come before our 101. False when out of memory. */
static bool keep_early(struct session *s, struct span in)
{
    struct early *early = &s->opening->early;

    if (!early_keep(early, in))
        return false;
    if (early_is_full(early))
        duplex_pause(s->client);
    return true;
}

/* What the log is to say of it, and the head, where it stands now, does not outlive. */
static bool note_verdict(struct session *s, const struct gate_verdict *v)
{
    char name[ADDRESS_TEXT_MAX];

    s->route = v->route;
    if (s->route != NULL)
        s->counted.route = counters_route(s->host->counters, s->route->name);
    if (v->bearer != NULL)
        s->bearer = strdup(v->bearer);
    if (v->has_target)
        s->target_name = strdup(address_format(&v->target.address, name, sizeof(name)));
    return (v->bearer == NULL || s->bearer != NULL) && (!v->has_target || s->target_name != NULL);
}

/* What the backend is to hear first. False when out of memory. */
static bool write_preface(struct session *s, uint8_t out[PROXY_HEADER_WRITE_MAX], size_t *len)
{
    struct opening *o = s->opening;
    unsigned version = s->route->settings->send_proxy;
    char host[ADDRESS_HOST_MAX + 1];
    struct provenance_facts facts = {.tls = s->has_tls ? s->client : NULL};

    *len = 0;
    if (version == SEND_PROXY_NONE)
        return true;
    if (version == SEND_PROXY_V2 && !session_make_unique_id(s))
        return false;
    if (route_match_host(ws_head_field(o->head, "host"), host))
        facts.authority = host;
    facts.unique_id = s->unique_id;
    *len = provenance_write(&o->from, version, &facts, out);
    return true;
}

/* To the target if that is not NULL. False when out of memory. */
static bool start_dial(struct session *s, const struct target *target)
{
    uint8_t preface[PROXY_HEADER_WRITE_MAX];
    struct opening *o = s->opening;
    size_t len;

    if (!write_preface(s, preface, &len))
        return false;
    o->dial = backend_dial_start(s->host->loop, s->route, target, &s->host->service->stream,
                                 s->counted.route, on_dialled, s);
    return o->dial != NULL && backend_dial_preface(o->dial, (struct span){preface, len});
}

/* The request has been judged good: connects. */
static void go(struct session *s, const struct gate_verdict *v, struct span rest)
{
    struct opening *o = s->opening;

    s->carrier = o->offer.carrier;
    deadline_clear(loop_scheduler(s->host->loop), &o->timeout);
    openings_remove(&o->place);
    bool is_going = keep_early(s, rest) && start_dial(s, v->has_target ? &v->target : NULL);
    ws_head_free(o->head);
    o->head = NULL;
    provenance_clear(&o->from);
    if (!is_going)
        refuse(s, 503, cause_at(CAUSE_NO_MEMORY, CAUSE_AT_PROXY), "out of memory");
}

/* Who traces requests finds this one in our log. Without memory, not. */
static void note_trace(struct session *s)
{
    char id[TRACEPARENT_ID_SIZE];

    if (traceparent_parse(ws_head_field(s->opening->head, "traceparent"), id))
        s->trace_id = strdup(id);
}

/* Behind a proxy it is known only now who the client is. False: refused. */
static bool admit_late(struct session *s, const struct ip *client)
{
    struct session_limit limit;

    if (s->client_slot.client != NULL)
        return true;
    if (!session_limits_admit(s->host, client, &limit)) {
        counter_add(&s->host->counters->loop.limits[limit.kind], 1);
        refuse(s, 503, cause_at(CAUSE_LIMIT, CAUSE_AT_PROXY), limit.problem);
        return false;
    }
    if (session_limits_enter(s, client))
        return true;
    refuse(s, 503, cause_at(CAUSE_NO_MEMORY, CAUSE_AT_PROXY), "out of memory");
    return false;
}

/* False: refused, there is no room. */
static bool take_route_slot(struct session *s)
{
    int status = session_limits_take_route(s);

    if (status == -EBUSY)
        refuse(s, 503, cause_at(CAUSE_LIMIT, CAUSE_AT_PROXY), "too many connections of this route");
    else if (status != 0)
        refuse(s, 503, cause_at(CAUSE_NO_MEMORY, CAUSE_AT_PROXY), "out of memory");
    return status == 0;
}

static void on_request(struct session *s, struct span rest)
{
    struct opening *o = s->opening;
    struct gate_request request = {
        .head = o->head,
        .offer = &o->offer,
        .client = s->has_tls ? s->client : NULL,
        .from = &o->from.client,
    };
    struct gate_verdict verdict;
    const char *problem = NULL;
    int status = ws_handshake_judge(o->head, &o->offer, &problem);

    note_trace(s);
    if (status != 101) {
        refuse(s, status, cause_at(CAUSE_BAD_HANDSHAKE, CAUSE_AT_CLIENT), problem);
        return;
    }
    provenance_read_request(&o->from, s->site, o->head);
    if (!session_note_client(s, &s->opening->from)) {
        refuse(s, 503, cause_at(CAUSE_NO_MEMORY, CAUSE_AT_PROXY), "out of memory");
        return;
    }
    if (o->from.client.has_endpoint && !admit_late(s, &o->from.client.endpoint.ip))
        return;
    gate_judge(s->site, &request, &verdict);
    if (!note_verdict(s, &verdict))
        refuse(s, 503, cause_at(CAUSE_NO_MEMORY, CAUSE_AT_PROXY), "out of memory");
    else if (verdict.status != 101)
        refuse(s, verdict.status, verdict.cause, verdict.problem);
    else if (take_route_slot(s))
        go(s, &verdict, rest);
}

static void on_client_data(void *owner, struct span in)
{
    struct session *s = owner;
    struct opening *o = s->opening;

    if (o->head == NULL) {
        if (!keep_early(s, in))
            refuse(s, 503, cause_at(CAUSE_NO_MEMORY, CAUSE_AT_PROXY), "out of memory");
        return;
    }
    switch (ws_head_feed(o->head, &in)) {
    case WS_HEAD_MORE:
        return;
    case WS_HEAD_DONE:
        on_request(s, in);
        return;
    case WS_HEAD_FAILED:
        refuse(s, ws_head_status(o->head), cause_at(CAUSE_BAD_HANDSHAKE, CAUSE_AT_CLIENT),
               ws_head_problem(o->head));
        return;
    }
}

/* A FIN under a WebSocket that is not open yet: the client does not want it any more. */
static void on_client_end(void *owner)
{
    struct session *s = owner;

    duplex_close(s->client);
    give_up(s, cause_at(CAUSE_CLOSED, CAUSE_AT_CLIENT));
}

static void on_client_abort(void *owner, struct cause cause)
{
    cause.where = CAUSE_AT_CLIENT;
    give_up(owner, cause);
}

static void on_client_quiet(void *owner)
{
    (void)owner; /* on_drain, on_finished: nothing waits for them */
}

static const struct duplex_events client_events = {
    .on_data = on_client_data,
    .on_end = on_client_end,
    .on_abort = on_client_abort,
    .on_drain = on_client_quiet,
    .on_finished = on_client_quiet,
};

static void on_head_timeout(struct deadline *d)
{
    struct opening *o = container_of(d, struct opening, timeout);

    refuse(o->session, 408, cause_at(CAUSE_HANDSHAKE_TIMEOUT, CAUSE_AT_CLIENT),
           o->from.is_awaited ? "the PROXY protocol header did not come in time"
                              : "the request did not come in time");
}

/* ---- from the server ---- */

/* Its TLS handshake is over: now is known who it is. */
static void on_client_open(void *owner)
{
    struct session *s = owner;

    session_count_secure(s);
    if (access_log_identify(s->client, &s->identity) != 0)
        refuse(s, 503, cause_at(CAUSE_NO_MEMORY, CAUSE_AT_PROXY), "out of memory");
}

/* To the first message of the TLS handshake. */
static void on_client_answered(void *owner)
{
    struct session *s = owner;

    openings_answered(s->host->openings, &s->opening->place);
}

/* Puts TLS on the client, of which `early` has come already. False when out of memory: then it is
 * as it was. */
static bool secure(struct session *s, struct span early)
{
    struct tls_duplex_options options = {
        .config = s->site->tls,
        .linger_ms = s->host->service->stream.linger_ms,
        .on_open = on_client_open,
        .on_answered = on_client_answered,
        .early = early,
    };
    struct duplex *tls = tls_duplex_new(loop_scheduler(s->host->loop), s->client, &options);

    if (tls == NULL)
        return false;
    s->client = tls;
    return true;
}

/* ---- the PROXY protocol header ---- */

/* It is complete: from now on it is a client as any other, which has said `rest`. */
static void on_header(struct session *s, struct span rest)
{
    s->has_tls = site_has_tls(s->site, s->opening->at);
    duplex_pause(s->client);
    if (!session_note_client(s, &s->opening->from) ||
        !session_note_unique_id(s, &s->opening->from) || (s->has_tls && !secure(s, rest))) {
        refuse(s, 503, cause_at(CAUSE_NO_MEMORY, CAUSE_AT_PROXY), "out of memory");
        return;
    }
    duplex_own(s->client, &client_events, s);
    duplex_resume(s->client);
    if (!s->has_tls && rest.len > 0)
        on_client_data(s, rest);
}

static void on_header_data(void *owner, struct span in)
{
    struct session *s = owner;
    struct cause cause = {.where = CAUSE_AT_CLIENT};
    const char *problem;

    switch (provenance_feed(&s->opening->from, s->site, &in, &cause.what, &problem)) {
    case PROXY_HEADER_MORE:
        return;
    case PROXY_HEADER_DONE:
        on_header(s, in);
        return;
    case PROXY_HEADER_FAILED:
        refuse(s, 0, cause, problem);
        return;
    }
}

static const struct duplex_events header_events = {
    .on_data = on_header_data,
    .on_end = on_client_end,
    .on_abort = on_client_abort,
    .on_drain = on_client_quiet,
    .on_finished = on_client_quiet,
};

/* ---- from the server, again ---- */

/* Counts one more; if that is too many another one goes. */
static void enter(struct session *s)
{
    struct openings_place *other = openings_add(s->host->openings, &s->opening->place);

    if (other == NULL)
        return;
    counter_add(&s->host->counters->loop.limits[LIMIT_HANDSHAKES], 1);
    refuse(container_of(other, struct opening, place)->session, 503,
           cause_at(CAUSE_LIMIT, CAUSE_AT_PROXY), "too many handshakes");
}

/* What `begin` has done so far; NULL is fine for either. */
static void free_begun(struct session *s, struct opening *o)
{
    if (o != NULL) {
        ws_head_free(o->head);
        provenance_clear(&o->from);
    }
    if (s != NULL && s->host != NULL)
        session_limits_leave(s);
    free(o);
    free(s);
}

/* What can fail. False when out of memory: `client` is untouched. */
static bool begin(struct session *s, struct opening *o, struct session_host *host,
                  struct duplex *client, const struct service_arrival *arrival)
{
    s->host = host;
    s->site = host->site;
    s->client = client;
    s->opening = o;
    o->session = s;
    o->at = arrival->at;
    o->head = ws_head_new(WS_SERVER);
    if (o->head == NULL || provenance_init(&o->from, arrival, client) != 0)
        return false;
    if (session_limits_know_client(host, arrival) && !session_limits_enter(s, &arrival->peer.ip))
        return false;
    s->has_tls = !o->from.is_awaited && site_has_tls(s->site, o->at);
    return !s->has_tls || secure(s, (struct span){0});
}

struct session *session_new(struct session_host *host, struct duplex *client,
                            const struct service_arrival *arrival)
{
    size_t name_size = strlen(arrival->name) + 1;
    struct session *s = calloc(1, sizeof(*s) + name_size);
    struct opening *o = calloc(1, sizeof(*o));

    if (s == NULL || o == NULL || !begin(s, o, host, client, arrival)) {
        free_begun(s, o);
        return NULL;
    }
    memcpy(s->peer_name, arrival->name, name_size);
    s->counted.route = counters_route(host->counters, NULL);
    site_hold(s->site);
    deadline_init(&o->timeout, on_head_timeout);
    deadline_set(loop_scheduler(host->loop), &o->timeout,
                 s->site->settings->server.handshake_timeout_ms);
    duplex_own(s->client, o->from.is_awaited ? &header_events : &client_events, s);
    duplex_resume(s->client);
    enter(s);
    return s;
}

void session_drain(struct service_session *base)
{
    struct session *s = container_of(base, struct session, base);

    if (s->opening != NULL)
        refuse(s, 503, cause_at(CAUSE_SHUTDOWN, CAUSE_AT_PROXY), "going away");
}

void session_abort(struct service_session *base)
{
    struct session *s = container_of(base, struct session, base);

    if (s->opening != NULL)
        session_drain(base);
    else
        relay_abort(&s->relay, cause_at(CAUSE_SHUTDOWN, CAUSE_AT_PROXY));
}
