/* The times that a WebSocket waits for: one deadline, set to the earliest, is less memory than one
 * for each. */
#include "ws_duplex_internal.h"

#define NEVER UINT64_MAX

static enum ws_timer earliest(const struct ws_duplex *w)
{
    enum ws_timer first = 0;
    for (enum ws_timer t = 1; t < WS_TIMER_COUNT; t++)
        if (w->due_ms[t] < w->due_ms[first])
            first = t;
    return first;
}

static void set_deadline(struct ws_duplex *w)
{
    uint64_t at_ms = w->due_ms[earliest(w)], now_ms = w->scheduler->now_ms;
    if (at_ms == NEVER)
        deadline_clear(w->scheduler, &w->deadline);
    else if (!deadline_is_set(&w->deadline) || w->deadline.at_ms != at_ms)
        deadline_set(w->scheduler, &w->deadline, at_ms > now_ms ? at_ms - now_ms : 0);
}

/* If a second one is due, its turn is the next one. */
static void fire_deadline(struct deadline *d)
{
    static void (*const fire[WS_TIMER_COUNT])(struct ws_duplex * w) = {
        [WS_TIMER_PATIENCE] = ws_duplex_fire_patience,
        [WS_TIMER_AHEAD] = ws_duplex_fire_ahead,
        [WS_TIMER_PING] = ws_liveness_fire_ping,
    };
    struct ws_duplex *w = container_of(d, struct ws_duplex, deadline);
    enum ws_timer timer = earliest(w);
    w->due_ms[timer] = NEVER;
    fire[timer](w);
    set_deadline(w);
}

void ws_timer_init(struct ws_duplex *w)
{
    deadline_init(&w->deadline, fire_deadline);
    ws_timer_clear_all(w);
}

void ws_timer_set(struct ws_duplex *w, enum ws_timer timer, uint64_t delay_ms)
{
    w->due_ms[timer] = w->scheduler->now_ms + delay_ms;
    set_deadline(w);
}

bool ws_timer_is_set(const struct ws_duplex *w, enum ws_timer timer)
{
    return w->due_ms[timer] != NEVER;
}

void ws_timer_clear_all(struct ws_duplex *w)
{
    for (int i = 0; i < WS_TIMER_COUNT; i++)
        w->due_ms[i] = NEVER;
    deadline_clear(w->scheduler, &w->deadline);
}
