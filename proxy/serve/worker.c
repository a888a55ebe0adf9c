#include "worker.h"

#include "../service/access_log.h"
#include "session_limits.h"
#include "site.h"
#include "status/counters.h"
#include "ws_handshake.h"

#include <errno.h>
#include <stdatomic.h>

/* ---- its service ---- */

static struct service_session *start_session(void *owner, struct duplex *client,
                                             const struct service_arrival *arrival)
{
    struct worker *w = owner;
    struct session *session = session_new(&w->host, client, arrival, &w->admitted);

    if (session == NULL)
        client_limits_leave(w->host.clients, loop_now_ms(w->host.loop), &w->admitted);
    return session == NULL ? NULL : &session->base;
}

/* Says why if it can: on a TLS port that would take a handshake. */
static void dismiss(const struct worker *w, uint64_t id, struct duplex *client,
                    const struct service_arrival *arrival, const char *problem)
{
    char buffer[1024];
    struct text t;
    struct access_entry e = {.names = &access_log_serve, .conn = id, .client = arrival->name};
    struct cause cause = {.what = CAUSE_LIMIT};

    if (site_has_tls(w->host.site, arrival->at)) {
        duplex_abort(client, cause);
        access_log_refused(&e, 0, cause, problem);
        return;
    }
    text_init(&t, buffer, sizeof(buffer));
    ws_handshake_refuse(503, problem, &t);
    duplex_write_and_close(client, (struct span){(uint8_t *)t.data, t.len});
    access_log_refused(&e, 503, cause, problem);
}

static void count_dismissed(struct worker *w, enum limit_kind limit)
{
    counter_add(&w->host.counters->loop.limits[limit], 1);
    counter_add(&counters_route(w->host.counters, NULL)->handshakes[CAUSE_LIMIT], 1);
}

static void turn_away(void *owner, uint64_t id, struct duplex *client,
                      const struct service_arrival *arrival)
{
    struct worker *w = owner;

    count_dismissed(w, LIMIT_CONNECTIONS);
    dismiss(w, id, client, arrival, "too many connections");
}

/* Who is not known yet is judged when it is (session.c). */
static bool admit(void *owner, uint64_t id, struct duplex *client,
                  const struct service_arrival *arrival)
{
    struct worker *w = owner;
    struct session_limit limit;

    w->admitted = (struct client_slot){0};
    if (!session_limits_know_client(&w->host, arrival) ||
        session_limits_enter(&w->host, &arrival->peer.ip, &w->admitted, &limit))
        return true;
    if (limit.is_memory) {
        duplex_abort(client, (struct cause){.what = CAUSE_NO_MEMORY});
        log_line(LOG_ERROR, "out of memory: connection refused");
        return false;
    }
    count_dismissed(w, limit.kind);
    if (limit.is_told)
        dismiss(w, id, client, arrival, limit.problem);
    else
        duplex_abort(client, (struct cause){.what = CAUSE_LIMIT});
    return false;
}

static const char *form(void *owner, const struct listen_address *at)
{
    const struct worker *w = owner;
    bool has_tls = site_has_tls(w->host.site, at);

    if (at->has_header)
        return has_tls ? "proxy+wss" : "proxy+ws";
    return has_tls ? "wss" : "ws";
}

const struct service_handler worker_handler = {
    .start = start_session,
    .turn_away = turn_away,
    .admit = admit,
    .form = form,
    .drain = session_drain,
    .abort = session_abort,
    .far_key = "backend",
};

/* ---- its site ---- */

/* Its routes are counted from now on, also those that nobody takes. */
void worker_adopt(struct worker *w, struct site *site)
{
    site_hold(site);
    site_release(w->host.site);
    w->host.site = site;
    for (size_t i = 0; i < site->route_count; i++)
        counters_route(w->host.counters, site->routes[i].name);
}

static void run_adopt(struct loop_call *c)
{
    struct worker *w = container_of(c, struct worker, adopt);
    unsigned wanted = w->wanted; /* before: what is taken is that one, or a later one */
    struct site *site = atomic_exchange(&w->incoming, NULL);

    if (site != NULL)
        worker_adopt(w, site);
    site_release(site);
    w->adopted = wanted;
    loop_send(w->first, &w->has_adopted);
}

static void run_has_adopted(struct loop_call *c)
{
    struct worker *w = container_of(c, struct worker, has_adopted);

    w->on_adopted(w->on_adopted_arg);
}

void worker_follow(struct worker *w, struct loop *first, void (*fn)(void *arg), void *arg)
{
    w->first = first;
    w->on_adopted = fn;
    w->on_adopted_arg = arg;
}

void worker_send(struct worker *w, struct site *site)
{
    /* What has not been taken in the meantime need not be. */
    site_release(atomic_exchange(&w->incoming, site_hold(site)));
    w->wanted++;
    loop_send(w->host.loop, &w->adopt);
}

bool worker_is_current(const struct worker *w)
{
    return w->adopted == w->wanted;
}

/* ---- its life ---- */

int worker_init(struct worker *w, const struct session_host *host, struct loop *l,
                uint64_t max_handshakes, unsigned worker_count)
{
    uint64_t share = (max_handshakes + worker_count - 1) / worker_count;

    w->host = *host;
    w->host.loop = l;
    w->host.site = NULL;
    w->host.openings = &w->openings;
    openings_init(&w->openings, share);
    loop_call_init(&w->adopt, run_adopt);
    loop_call_init(&w->has_adopted, run_has_adopted);
    w->host.counters = counters_new();
    return w->host.counters == NULL ? -ENOMEM : 0;
}

static void set_gauge(uint64_t *gauge, uint64_t now)
{
    counter_add(gauge, now - *gauge);
}

void worker_count_loop(struct worker *w)
{
    struct loop_counts *c = &w->host.counters->loop;

    set_gauge(&c->handshaking, w->openings.fresh.count + w->openings.answered.count);
    set_gauge(&c->deadlines, loop_scheduler(w->host.loop)->armed);
}

void worker_clear(struct worker *w)
{
    site_release(atomic_exchange(&w->incoming, NULL));
    site_release(w->host.site);
    counters_free(w->host.counters);
}
