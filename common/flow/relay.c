#include "relay.h"

#include "crypto.h"

#include <assert.h>

/* The two sides of one relay, and the way that begins at each. */

static struct relay_way *way_from(struct relay *r, enum relay_side side)
{
    return side == RELAY_CLIENT ? &r->up : &r->down;
}

static struct relay *relay_of(struct relay_way *w)
{
    return w->begins_at == RELAY_CLIENT ? container_of(w, struct relay, up)
                                        : container_of(w, struct relay, down);
}

static struct relay_way *opposite(struct relay_way *w)
{
    return way_from(relay_of(w), w->begins_at == RELAY_CLIENT ? RELAY_BACKEND : RELAY_CLIENT);
}

/* Where it leads to. */
static struct duplex *end_of(struct relay_way *w)
{
    return opposite(w)->from;
}

static bool is_complete(const struct relay_way *w)
{
    return w->has_ended && w->is_finished;
}

/* ---- the end ---- */

static void run_done(struct task *t)
{
    struct relay *r = container_of(t, struct relay, over.done);
    struct relay_report report = {
        .cause = r->over.cause,
        .bytes = {r->up.bytes, r->down.bytes},
        .has_ended = {r->up.has_ended, r->down.has_ended},
        .is_complete = {is_complete(&r->up), is_complete(&r->down)},
        .has_first_end = r->has_first_end,
        .first_end = r->first_end,
        .pauses = {r->up.pauses, r->down.pauses},
    };
    if (r->has_first_end)
        report.half_closed_ms = r->second_end_ms - r->first_end_ms;
    r->handler->on_done(r, &report);
}

static void relay_over(struct relay *r, struct cause cause)
{
    if (!(r->up.has_ended && r->down.has_ended))
        r->second_end_ms = r->scheduler->now_ms;
    deadline_clear(r->scheduler, &r->live.watch);
    r->is_over = true;
    r->over.cause = cause;
    task_init(&r->over.done, run_done);
    task_defer(r->scheduler, &r->over.done);
}

void relay_abort(struct relay *r, struct cause cause)
{
    if (r->is_over)
        return;
    duplex_abort(r->up.from, cause);
    duplex_abort(r->down.from, cause);
    relay_over(r, cause);
}

/* ---- the idle timer ----
 *
 * Bytes that come move a time stamp, and a deadline looks at it. Bytes that only leave, because a
 * slow peer takes what waits for it, tell nothing: so the deadline looks several times whether less
 * is waiting. */

#define IDLE_LOOKS 8

static uint64_t idle_limit(const struct relay *r)
{
    return r->has_first_end ? r->limits->half_closed_ms : r->limits->idle_ms;
}

/* When to look next; never if there is no limit. */
static uint64_t idle_look_ms(const struct relay *r)
{
    uint64_t limit_ms = idle_limit(r);
    if (limit_ms == 0)
        return UINT64_MAX;
    uint64_t idle_ms = r->scheduler->now_ms - r->last_byte_ms;
    uint64_t left_ms = limit_ms > idle_ms ? limit_ms - idle_ms : 0;
    uint64_t look_ms = limit_ms / IDLE_LOOKS + 1;
    return left_ms < look_ms ? left_ms : look_ms;
}

/* The first look only sees how much is waiting: there are enough others before the time is over. */
static bool is_idle(struct relay *r)
{
    if (idle_limit(r) == 0)
        return false;
    uint64_t pending = duplex_pending(r->up.from) + duplex_pending(r->down.from);
    if (pending < r->live.pending)
        r->last_byte_ms = r->scheduler->now_ms;
    r->live.pending = pending;
    return r->scheduler->now_ms - r->last_byte_ms >= idle_limit(r);
}

/* ---- the lifetime ---- */

static void relay_limit_lifetime(struct relay *r)
{
    uint64_t limit_ms = r->limits->lifetime_ms;
    uint64_t chance = 0; /* without luck, the whole time */
    r->live.ends_ms = UINT64_MAX;
    if (limit_ms == 0)
        return;
    crypto_random(&chance, sizeof(chance));
    r->live.ends_ms = r->scheduler->now_ms + limit_ms - chance % (limit_ms / 10 + 1);
}

/* ---- both ---- */

static void relay_watch(struct relay *r)
{
    uint64_t look_ms = idle_look_ms(r);
    uint64_t now_ms = r->scheduler->now_ms;
    uint64_t left_ms = r->live.ends_ms > now_ms ? r->live.ends_ms - now_ms : 0;
    if (r->live.ends_ms != UINT64_MAX && left_ms < look_ms)
        look_ms = left_ms;
    if (look_ms == UINT64_MAX)
        deadline_clear(r->scheduler, &r->live.watch);
    else
        deadline_set(r->scheduler, &r->live.watch, look_ms);
}

static void fire_watch(struct deadline *d)
{
    struct relay *r = container_of(d, struct relay, live.watch);
    if (r->scheduler->now_ms >= r->live.ends_ms)
        relay_abort(r, (struct cause){.what = CAUSE_LIFETIME});
    else if (is_idle(r))
        relay_abort(r, (struct cause){.what = r->has_first_end ? CAUSE_HALF_CLOSED : CAUSE_IDLE});
    else
        relay_watch(r);
}

/* ---- data in, data out; full out, pause in ---- */

static void way_data(struct relay_way *w, struct span data)
{
    struct relay *r = relay_of(w);
    assert(!w->has_ended);
    r->last_byte_ms = r->scheduler->now_ms;
    w->bytes += data.len;
    if (duplex_write(end_of(w), &data, 1) && !w->is_paused) {
        w->is_paused = true;
        w->pauses++;
        duplex_pause(w->from);
    }
}

static void way_drained(struct relay_way *w)
{
    relay_of(w)->last_byte_ms = relay_of(w)->scheduler->now_ms;
    if (!w->is_paused)
        return;
    w->is_paused = false;
    duplex_resume(w->from);
}

/* ---- end in, end out ---- */

static void way_ended(struct relay_way *w)
{
    struct relay *r = relay_of(w);
    assert(!w->has_ended);
    w->has_ended = true;
    r->last_byte_ms = r->second_end_ms = r->scheduler->now_ms;
    if (!r->has_first_end) {
        r->has_first_end = true;
        r->first_end = w->begins_at;
        r->first_end_ms = r->scheduler->now_ms;
        relay_watch(r);
    }
    duplex_finish(end_of(w));
    if (r->handler->on_first_end != NULL && !opposite(w)->has_ended)
        r->handler->on_first_end(r);
}

static void way_finished(struct relay_way *w)
{
    struct relay *r = relay_of(w);
    r->last_byte_ms = r->scheduler->now_ms;
    w->is_finished = true;
    if (!is_complete(w) || !is_complete(opposite(w)))
        return;
    /* The backend first: what Close 1000 tells the client has then been done. */
    duplex_close(r->down.from);
    duplex_close(r->up.from);
    relay_over(r, (struct cause){.what = CAUSE_OK});
}

/* ---- break in, break out ---- */

static void way_broken(struct relay_way *w, struct cause cause)
{
    cause.where = w->begins_at == RELAY_CLIENT ? CAUSE_AT_CLIENT : CAUSE_AT_BACKEND;
    duplex_abort(end_of(w), cause); /* `from` is gone already */
    relay_over(relay_of(w), cause);
}

/* ---- events: those of a side's peer belong to the way from it, those of our writing to the way to
 * it ---- */

static void client_on_data(void *owner, struct span data)
{
    way_data(way_from(owner, RELAY_CLIENT), data);
}

static void client_on_end(void *owner)
{
    way_ended(way_from(owner, RELAY_CLIENT));
}

static void client_on_abort(void *owner, struct cause cause)
{
    way_broken(way_from(owner, RELAY_CLIENT), cause);
}

static void client_on_drain(void *owner)
{
    way_drained(way_from(owner, RELAY_BACKEND));
}

static void client_on_finished(void *owner)
{
    way_finished(way_from(owner, RELAY_BACKEND));
}

static void backend_on_data(void *owner, struct span data)
{
    way_data(way_from(owner, RELAY_BACKEND), data);
}

static void backend_on_end(void *owner)
{
    way_ended(way_from(owner, RELAY_BACKEND));
}

static void backend_on_abort(void *owner, struct cause cause)
{
    way_broken(way_from(owner, RELAY_BACKEND), cause);
}

static void backend_on_drain(void *owner)
{
    way_drained(way_from(owner, RELAY_CLIENT));
}

static void backend_on_finished(void *owner)
{
    way_finished(way_from(owner, RELAY_CLIENT));
}

static const struct duplex_events client_events = {client_on_data, client_on_end, client_on_abort,
                                                   client_on_drain, client_on_finished};
static const struct duplex_events backend_events = {
    backend_on_data, backend_on_end, backend_on_abort, backend_on_drain, backend_on_finished};

void relay_start(struct relay *r, struct scheduler *s, struct duplex *client,
                 struct duplex *backend, const struct relay_limits *limits,
                 const struct relay_handler *handler)
{
    *r = (struct relay){
        .up = {.from = client, .begins_at = RELAY_CLIENT},
        .down = {.from = backend, .begins_at = RELAY_BACKEND},
        .scheduler = s,
        .limits = limits,
        .handler = handler,
        .last_byte_ms = s->now_ms,
    };
    deadline_init(&r->live.watch, fire_watch);
    duplex_own(client, &client_events, r);
    duplex_own(backend, &backend_events, r);
    relay_limit_lifetime(r);
    relay_watch(r);
    duplex_resume(client);
    duplex_resume(backend);
}

void relay_look(const struct relay *r, struct relay_view *out)
{
    bool is_live = r->up.from != NULL && !r->is_over;

    *out = (struct relay_view){
        .bytes = {r->up.bytes, r->down.bytes},
        .pauses = {r->up.pauses, r->down.pauses},
        .is_paused = {r->up.is_paused, r->down.is_paused},
        .has_ended = {r->up.has_ended, r->down.has_ended},
        .is_complete = {is_complete(&r->up), is_complete(&r->down)},
        .has_first_end = r->has_first_end,
        .first_end = r->first_end,
    };
    if (is_live) {
        out->pending[RELAY_CLIENT] = duplex_pending(r->down.from);
        out->pending[RELAY_BACKEND] = duplex_pending(r->up.from);
    }
}
