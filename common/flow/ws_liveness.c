/* Liveness of a WebSocket: docs/protocol.md section 7. */
#include "ws_duplex_internal.h"
#include "ws_sender.h"

/* A peer that we do not read, or that has been sent more than it must read ahead, owes no pong: it
 * may be held up by its own sink, as a TCP peer may be for any time. TCP itself still looks after
 * it. */
static bool owes_pong(const struct ws_duplex *w)
{
    return w->times.ping_timeout_ms > 0 && !w->is_lower_paused && !w->sender.is_lower_full &&
           w->sender.unconfirmed <= WS_READ_AHEAD;
}

/* In that time, or when the next ping is due: the pong that holds it up may have come by then. */
static void look_again(struct ws_duplex *w, uint64_t left_ms)
{
    uint64_t interval_ms = w->times.ping_interval_ms;
    ws_timer_set(w, WS_TIMER_PING, left_ms < interval_ms ? left_ms : interval_ms);
}

/* Fires when a pong should be there, and when the next ping is due. */
void ws_liveness_fire_ping(struct ws_duplex *w)
{
    uint64_t now_ms = w->scheduler->now_ms;
    uint64_t since_ms = now_ms - w->ping_ms;
    uint64_t interval_ms = w->times.ping_interval_ms;
    uint64_t timeout_ms = w->times.ping_timeout_ms;
    if (w->state != WS_OPEN || w->sender.lower == NULL)
        return;
    if (w->awaits_pong && owes_pong(w)) {
        uint64_t waited_ms = now_ms - (w->life_ms > w->ping_ms ? w->life_ms : w->ping_ms);
        if (waited_ms >= timeout_ms)
            ws_duplex_break_for(w, CAUSE_PING_TIMEOUT, 0);
        else
            look_again(w, timeout_ms - waited_ms);
    } else if (since_ms < interval_ms) {
        ws_timer_set(w, WS_TIMER_PING, interval_ms - since_ms);
    } else {
        w->ping_ms = now_ms;
        w->awaits_pong = !w->sender.is_lower_full;
        if (w->awaits_pong)
            ws_sender_ping(&w->sender);
        look_again(w, timeout_ms > 0 ? timeout_ms : interval_ms);
    }
}

void ws_liveness_init(struct ws_duplex *w)
{
    if (w->times.ping_interval_ms > 0)
        ws_timer_set(w, WS_TIMER_PING, w->times.ping_interval_ms);
}
