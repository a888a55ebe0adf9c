#include "session.h"

#include "session_entry.h"
#include "session_internal.h"
#include "session_limits.h"
#include "site.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define RESPONSE_MAX 1024

/* ---- endings ---- */

bool session_has_asked(const struct session *s)
{
    return s->opening == NULL || s->opening->head == NULL;
}

void session_free_opening(struct session *s)
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

void session_free(struct session *s)
{
    session_free_opening(s);
    service_session_over(s->host->service, &s->base);
    backend_dial_over(s->backend);
    session_limits_leave(s);
    site_release(s->site);
    session_notes_free(s->notes);
    free(s);
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
void session_refuse(struct session *s, int status, struct cause cause, const char *detail)
{
    char buffer[RESPONSE_MAX];
    struct text t;
    struct access_entry e = refused_entry_of(s);

    session_count_refused(s, cause);
    if (!can_hear(s)) {
        duplex_abort(s->opening->client, cause);
        access_log_refused(&e, 0, cause, detail);
        session_free(s);
        return;
    }
    text_init(&t, buffer, sizeof(buffer));
    ws_handshake_refuse(status, detail, &t);
    assert(!t.overflowed);
    duplex_write_and_close(s->opening->client, (struct span){(uint8_t *)t.data, t.len});
    access_log_refused(&e, status, cause, detail);
    session_free(s);
}

void session_give_up(struct session *s, struct cause cause)
{
    struct access_entry e = refused_entry_of(s);
    char detail[ACCESS_LOG_DETAIL_MAX];

    session_count_refused(s, cause);
    access_log_refused(&e, 0, cause, access_log_detail(cause, detail));
    session_free(s);
}

void session_tell_closed(struct session *s, const struct relay_report *report)
{
    const struct server_observer *o = &s->host->observer;

    session_count_closed(s, report);
    if (o->on_closed != NULL)
        o->on_closed(o->arg, report);
}

void session_relay_done(struct relay *r, const struct relay_report *report)
{
    struct session *s = container_of(r, struct session, relay);
    struct access_entry e = session_entry(s);

    access_log_closed(&e, s->carrier, report);
    session_tell_closed(s, report);
    session_free(s);
}

/* ---- from the server ---- */

static void on_head_timeout(struct deadline *d)
{
    struct opening *o = container_of(d, struct opening, timeout);

    session_refuse(o->session, 408, session_cause(CAUSE_HANDSHAKE_TIMEOUT, CAUSE_AT_CLIENT),
                   o->from.is_awaited ? "the PROXY protocol header did not come in time"
                                      : "the request did not come in time");
}

/* Counts one more; if that is too many another one goes. */
static void enter(struct session *s)
{
    struct openings_place *other = openings_add(s->host->openings, &s->opening->place);

    if (other == NULL)
        return;
    counter_add(&s->host->counters->loop.limits[LIMIT_HANDSHAKES], 1);
    session_refuse(container_of(other, struct opening, place)->session, 503,
                   session_cause(CAUSE_LIMIT, CAUSE_AT_PROXY), "too many handshakes");
}

/* All zero but for its name, which fills the padding, too. NULL when out of memory. */
static struct session *allocate(const char *peer_name)
{
    size_t name_size = strlen(peer_name) + 1;
    size_t size = offsetof(struct session, peer_name) + name_size;
    struct session *s = calloc(1, size > sizeof(*s) ? size : sizeof(*s));

    if (s != NULL)
        memcpy(s->peer_name, peer_name, name_size);
    return s;
}

/* What `begin` has done so far; NULL is fine for either. */
static void free_begun(struct session *s, struct opening *o)
{
    if (o != NULL) {
        ws_head_free(o->head);
        provenance_clear(&o->from);
    }
    free(o);
    free(s);
}

/* What can fail. False when out of memory: `client` is untouched. */
static bool begin(struct session *s, struct opening *o, struct session_host *host,
                  struct duplex *client, const struct service_arrival *arrival,
                  const struct client_slot *client_slot)
{
    s->host = host;
    s->client_slot = *client_slot;
    s->site = host->site;
    s->opening = o;
    o->session = s;
    o->client = client;
    o->at = arrival->at;
    o->head = ws_head_new(WS_SERVER);
    if (o->head == NULL || provenance_init(&o->from, arrival, client) != 0)
        return false;
    s->has_tls = !o->from.is_awaited && site_has_tls(s->site, o->at);
    return !s->has_tls || session_secure(s, (struct span){0});
}

struct session *session_new(struct session_host *host, struct duplex *client,
                            const struct service_arrival *arrival,
                            const struct client_slot *client_slot)
{
    struct session *s = allocate(arrival->name);
    struct opening *o = calloc(1, sizeof(*o));

    if (s == NULL || o == NULL || !begin(s, o, host, client, arrival, client_slot)) {
        free_begun(s, o);
        return NULL;
    }
    s->counted.route = counters_route(host->counters, NULL);
    site_hold(s->site);
    deadline_init(&o->timeout, on_head_timeout);
    deadline_set(loop_scheduler(host->loop), &o->timeout,
                 s->site->settings->server.handshake_timeout_ms);
    duplex_own(s->opening->client,
               o->from.is_awaited ? &session_header_events : &session_client_events, s);
    duplex_resume(s->opening->client);
    enter(s);
    return s;
}

void session_drain(struct service_session *base)
{
    struct session *s = container_of(base, struct session, base);
    struct cause cause = session_cause(CAUSE_SHUTDOWN, CAUSE_AT_PROXY);

    if (s->opening == NULL)
        return;
    /* A front keeps connections for requests to come. An answer to none would be taken for that to
     * the next one (seen with nginx 1.22). */
    if (can_hear(s) && !s->opening->has_spoken) {
        duplex_close(s->opening->client);
        session_give_up(s, cause);
        return;
    }
    session_refuse(s, 503, cause, "going away");
}

void session_abort(struct service_session *base)
{
    struct session *s = container_of(base, struct session, base);

    if (s->opening != NULL)
        session_drain(base);
    else
        relay_abort(&s->relay, session_cause(CAUSE_SHUTDOWN, CAUSE_AT_PROXY));
}
