/* The backend of a session: its connection, the answer to the client, and the relay between the
 * two. */
#include "route_match.h"
#include "session_entry.h"
#include "session_internal.h"
#include "session_limits.h"
#include "site.h"

#include <assert.h>
#include <errno.h>

#define RESPONSE_MAX 1024

/* ---- connected, or not ---- */

static void send_101(struct session *s)
{
    char buffer[RESPONSE_MAX];
    struct text t;

    text_init(&t, buffer, sizeof(buffer));
    ws_handshake_accept(&s->opening->offer, &t);
    assert(!t.overflowed);
    duplex_write(s->opening->client, &(struct span){(uint8_t *)t.data, t.len}, 1);
}

/* Turns the client's stream, which has been sent 101, into a WebSocket. NULL when out of memory:
 * the stream is then aborted. */
static struct duplex *upgrade(struct session *s)
{
    struct duplex *client = s->opening->client, *ws;

    duplex_pause(client);
    send_101(s);
    session_count_opened(s);
    ws = ws_duplex_new(loop_scheduler(s->host->loop), client, WS_SERVER, s->carrier,
                       &s->route->settings->ws, s->opening->early.bytes);
    if (ws == NULL)
        duplex_abort(client, session_cause(CAUSE_NO_MEMORY, CAUSE_AT_PROXY));
    session_free_opening(s);
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
    session_tell_closed(s, &report);
    session_free(s);
}

static void on_dial_failed(struct session *s, struct cause cause)
{
    char detail[ACCESS_LOG_DETAIL_MAX];

    if (cause.what == CAUSE_NO_MEMORY)
        session_refuse(s, 503, cause,
                       cause.native == -EMFILE || cause.native == -ENFILE ? "out of descriptors"
                                                                          : "out of memory");
    else if (cause.what == CAUSE_DENIED)
        session_refuse(s, 403, session_cause(CAUSE_DENIED, CAUSE_AT_CLIENT), "not to this target");
    else if (s->carrier == WS_SUBPROTOCOL)
        refuse_in_close(s, cause);
    else
        session_refuse(s, cause.what == CAUSE_CONNECT_TIMEOUT ? 504 : 502, cause,
                       access_log_detail(cause, detail));
}

static const struct relay_handler relay_handler = {
    .on_done = session_relay_done,
    .on_first_end = session_limits_first_end,
};

static void on_dialled(void *owner, const struct backend_dial_result *result)
{
    struct duplex *backend = result->backend;
    struct session *s = owner;
    const struct server_observer *observer = &s->host->observer;
    struct duplex *ws;
    uint64_t window;

    s->opening->dial = NULL;
    s->backend = result->state;
    if (backend == NULL) {
        struct cause cause = result->cause;
        cause.where = CAUSE_AT_BACKEND;
        on_dial_failed(s, cause);
        return;
    }
    service_session_connected(s->host->service, &s->base, result->stream);
    if (observer->on_connected != NULL)
        observer->on_connected(observer->arg, s->carrier);
    window = s->opening->offer.window;
    ws = upgrade(s);
    if (ws == NULL) {
        struct relay_report report = {.cause = {CAUSE_NO_MEMORY, CAUSE_AT_PROXY, 0}};
        duplex_abort(backend, report.cause);
        session_relay_done(&s->relay, &report);
        return;
    }
    if (window > 0)
        ws_duplex_begin_with_windows(ws, window, WS_WINDOW);
    relay_start(&s->relay, loop_scheduler(s->host->loop), ws, backend, &s->route->settings->relay,
                &relay_handler);
}

/* ---- connecting ---- */

/* What the backend is to hear first. False when out of memory. */
static bool write_preface(struct session *s, uint8_t out[PROXY_HEADER_WRITE_MAX], size_t *len)
{
    struct opening *o = s->opening;
    unsigned version = s->route->settings->send_proxy;
    char host[ADDRESS_HOST_MAX + 1];
    struct provenance_facts facts = {.tls = s->has_tls ? s->opening->client : NULL};

    *len = 0;
    if (version == SEND_PROXY_NONE)
        return true;
    if (version == SEND_PROXY_V2 && !session_make_unique_id(s))
        return false;
    if (route_match_host(ws_head_field(o->head, "host"), host))
        facts.authority = host;
    facts.unique_id = session_noted(s)->unique_id;
    *len = provenance_write(&o->from, version, &facts, out);
    return true;
}

bool session_dial(struct session *s, const struct target *target)
{
    uint8_t preface[PROXY_HEADER_WRITE_MAX];
    struct opening *o = s->opening;
    size_t len;

    if (!write_preface(s, preface, &len))
        return false;
    o->dial = backend_dial_start(s->host->loop, s->route, target, &s->host->config->stream,
                                 s->counted.route, on_dialled, s);
    return o->dial != NULL && backend_dial_preface(o->dial, (struct span){preface, len});
}
