#include "session_limits.h"

#include "route_slots.h"
#include "site.h"

#include <errno.h>

/* The current ones, not those of when it came: they are about all that a client has. */
static const struct client_bounds *bounds_of(const struct session_host *host)
{
    return &host->site->settings->server.per_client;
}

bool session_limits_enter(const struct session_host *host, const struct ip *ip,
                          struct client_slot *slot, struct session_limit *out)
{
    bool is_told;

    switch (client_limits_enter(host->clients, loop_now_ms(host->loop), ip, bounds_of(host), slot,
                                &is_told)) {
    case CLIENT_IS_WELCOME:
        return true;
    case CLIENT_NO_MEMORY:
        *out = (struct session_limit){.is_memory = true, .problem = "out of memory"};
        break;
    case CLIENT_HAS_TOO_MANY:
        *out = (struct session_limit){.kind = LIMIT_CLIENT_CONNECTIONS,
                                      .problem = "too many connections of this client"};
        break;
    case CLIENT_IS_TOO_FAST:
        *out = (struct session_limit){.kind = LIMIT_CLIENT_RATE,
                                      .problem = "too many new connections of this client"};
        break;
    }
    out->is_told = is_told;
    return false;
}

bool session_limits_know_client(const struct session_host *host,
                                const struct service_arrival *arrival)
{
    const struct client_trust *trust = &host->site->trust;

    return arrival->has_peer && !arrival->at->has_header &&
           !cidr_list_has(trust->networks, trust->count, &arrival->peer.ip);
}

int session_limits_take_route(struct session *s)
{
    int status = route_slots_take(s->host->route_slots, s->route->name,
                                  s->route->settings->max_connections, &s->route_slot);

    if (status == -EBUSY)
        counter_add(&s->host->counters->loop.limits[LIMIT_ROUTE_CONNECTIONS], 1);
    return status;
}

void session_limits_leave(struct session *s)
{
    client_limits_leave(s->host->clients, loop_now_ms(s->host->loop), &s->client_slot);
    route_slots_give(s->host->route_slots, s->route_slot);
    s->route_slot = NULL;
}

/* The half-closed ones of one client. */
struct crowd {
    struct session *newest, *quietest; /* the latter another one of its loop, or NULL */
    uint64_t alive;
};

static void look(void *arg, struct client_slot *slot)
{
    struct crowd *c = arg;
    struct session *other = container_of(slot, struct session, client_slot);
    bool is_of_other_loop = other->host != c->newest->host; /* more is not to be known of it */

    if (!is_of_other_loop && other->relay.is_over) /* gone at the end of this turn */
        return;
    c->alive++;
    if (is_of_other_loop || other == c->newest)
        return;
    if (c->quietest == NULL || other->relay.last_byte_ms < c->quietest->relay.last_byte_ms)
        c->quietest = other;
}

void session_limits_first_end(struct relay *r)
{
    struct session *s = container_of(r, struct session, relay);
    uint64_t limit = bounds_of(s->host)->half_closed;
    struct crowd crowd = {.newest = s};

    client_limits_half_close(s->host->clients, &s->client_slot, limit, look, &crowd);
    if (crowd.alive <= limit)
        return;
    struct session *quietest = crowd.quietest != NULL ? crowd.quietest : s;
    counter_add(&s->host->counters->loop.limits[LIMIT_CLIENT_HALF_CLOSED], 1);
    relay_abort(&quietest->relay, (struct cause){.what = CAUSE_HALF_CLOSED_LIMIT});
}
