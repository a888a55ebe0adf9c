#include "ws_duplex.h"

#include "half_close.h"
#include "queue.h"
#include "ws_duplex_internal.h"
#include "ws_sender.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define READ_AHEAD_DELAY_MS 100 /* a shorter pause is not worth copying for */

static struct ws_duplex *from_duplex(struct duplex *d)
{
    return container_of(d, struct ws_duplex, duplex);
}

/* ---- reading the lower, or not ---- */

void ws_duplex_update_reading(struct ws_duplex *w)
{
    if (w->sender.lower == NULL || !queue_is_empty(&w->early))
        return;
    bool wanted =
        w->state == WS_CLOSING || (!w->is_paused && queue_is_empty(&w->held)) ||
        (w->reads_ahead && queue_size(&w->held) < WS_READ_AHEAD) ||
        (w->window > 0 && queue_size(&w->held) <= w->window); /* what is behind it all, too */
    if (wanted == !w->is_lower_paused)
        return;
    w->is_lower_paused = !wanted;
    if (wanted) {
        /* Time in which we did not read is not counted against the peer's pong. */
        w->life_ms = w->scheduler->now_ms;
        duplex_resume(w->sender.lower);
    } else {
        duplex_pause(w->sender.lower);
    }
}

void ws_duplex_fire_ahead(struct ws_duplex *w)
{
    if (!w->is_paused || w->state != WS_OPEN)
        return;
    w->reads_ahead = true;
    ws_duplex_update_reading(w);
}

/* ---- our window ---- */

static void send_window(struct ws_duplex *w, uint64_t taken)
{
    struct half_close_message m = {HALF_CLOSE_WINDOW, taken + w->window};
    w->granted_at = (uint32_t)taken;
    ws_sender_control(&w->sender, m);
    if (w->sender.has_failed)
        ws_duplex_break_for(w, CAUSE_INTERNAL, 0);
}

void ws_duplex_grant(struct ws_duplex *w)
{
    uint64_t taken = w->received - queue_size(&w->held);
    bool is_wanted = w->window > 0 && w->state == WS_OPEN && !w->has_peer_ended;
    if (is_wanted && !w->sender.is_lower_full &&
        (uint32_t)taken - w->granted_at >= w->window - w->window / 2)
        send_window(w, taken);
}

void ws_duplex_begin_with_windows(struct duplex *d, uint64_t send, uint32_t receive)
{
    struct ws_duplex *w = from_duplex(d);
    assert(!ws_duplex_is_plain(w) && receive > 0);
    w->sender.window = send;
    w->window = receive;
    if (w->sender.role == WS_SERVER)
        send_window(w, 0);
}

/* ---- the end of it ---- */

void ws_duplex_die(struct ws_duplex *w)
{
    assert(w->sender.lower == NULL);
    w->state = WS_DEAD;
    ws_timer_clear_all(w);
    task_defer(w->scheduler, &w->pump);
}

static void ws_free(struct ws_duplex *w)
{
    ws_sender_clear(&w->sender);
    ws_reader_clear(&w->reader);
    queue_clear(&w->held);
    queue_clear(&w->early);
    free(w);
}

void ws_duplex_forget_lower(struct ws_duplex *w)
{
    w->sender.lower = NULL;
}

/* In an orderly way. Harmless if it is gone. */
static void close_lower(struct ws_duplex *w)
{
    if (w->sender.lower == NULL)
        return;
    struct duplex *lower = w->sender.lower;
    ws_duplex_forget_lower(w);
    duplex_close(lower);
}

void ws_duplex_leave(struct ws_duplex *w)
{
    close_lower(w);
    ws_duplex_die(w);
}

/* Close goes out behind what was sent, then the transport ends in an orderly way so that it is
 * read: the break is in the code. */
void ws_duplex_send_close_and_leave(struct ws_duplex *w, uint16_t code, const char *reason)
{
    if (w->sender.lower != NULL)
        duplex_cork(w->sender.lower);
    ws_sender_close(&w->sender, code, reason);
    close_lower(w);
}

void ws_duplex_break(struct ws_duplex *w, struct cause cause)
{
    if (w->state != WS_OPEN)
        return;
    w->state = WS_BROKEN;
    w->broken = cause;
    if (w->has_peer_closed)
        ws_duplex_send_close_and_leave(w, w->peer_code, "");
    else
        ws_duplex_send_close_and_leave(w, cause_close_code(cause.what), cause_text(cause.what));
    ws_timer_clear_all(w);
    if (!queue_is_empty(&w->held))
        ws_timer_set(w, WS_TIMER_PATIENCE, w->times.linger_ms);
    task_defer(w->scheduler, &w->pump);
}

void ws_duplex_break_for(struct ws_duplex *w, enum cause_what what, int native)
{
    ws_duplex_break(w, (struct cause){.what = what, .native = native});
}

/* Our Close is on its way to a peer that is slow to read: as TCP does after close(2), what waits
 * before it is kept for the peer, and its answer is waited for from then on. */
static bool has_time_to_take_close(struct ws_duplex *w)
{
    uint64_t pending = w->sender.lower != NULL ? duplex_pending(w->sender.lower) : 0;
    bool was_waiting = w->close.pending > 0;
    if (pending < w->close.pending || !was_waiting)
        w->close.since_ms = w->scheduler->now_ms;
    w->close.pending = pending;
    uint64_t stall_ms = w->scheduler->now_ms - w->close.since_ms;
    bool is_over = pending > 0 && w->times.stall_ms > 0 && stall_ms >= w->times.stall_ms;
    return (pending > 0 || was_waiting) && !is_over;
}

void ws_duplex_fire_patience(struct ws_duplex *w)
{
    if (w->state == WS_BROKEN) {
        queue_clear(&w->held);
        w->has_peer_ended = false; /* not without what came before it */
        task_defer(w->scheduler, &w->pump);
    } else if (has_time_to_take_close(w)) {
        ws_timer_set(w, WS_TIMER_PATIENCE, w->times.close_timeout_ms);
    } else if (w->state == WS_CLOSING) {
        ws_duplex_leave(w);
    } else if (!w->has_peer_ended) {
        /* Plain: our Close is unanswered. While the peer still sends, it is on its way to it. */
        uint64_t quiet_ms = w->scheduler->now_ms - w->life_ms;
        if (quiet_ms < w->times.close_timeout_ms)
            ws_timer_set(w, WS_TIMER_PATIENCE, w->times.close_timeout_ms - quiet_ms);
        else
            ws_duplex_break_for(w, CAUSE_LOST, 0);
    }
}

/* ---- our side: its end, and what confirms it ---- */

void ws_duplex_note_finished(struct ws_duplex *w)
{
    if (w->is_finished)
        return;
    w->is_finished = true;
    task_defer(w->scheduler, &w->pump);
}

void ws_duplex_check_finished(struct ws_duplex *w)
{
    if (!w->has_sent_end || w->state != WS_OPEN)
        return;
    /* A client is sure when the server says so; ws_duplex_note_finished comes from its Close. */
    bool needs_confirmation = w->sender.role == WS_CLIENT && !ws_duplex_is_plain(w);
    if (!needs_confirmation && !w->sender.is_lower_full)
        ws_duplex_note_finished(w);
}

static void send_end(struct ws_duplex *w)
{
    if (!w->is_finishing || w->has_sent_end || !queue_is_empty(&w->sender.blocked))
        return;
    w->has_sent_end = true;
    if (!ws_duplex_is_plain(w)) {
        struct half_close_message fin = {HALF_CLOSE_FIN, w->sender.bytes};
        ws_sender_control(&w->sender, fin);
    } else if (!w->sender.has_closed) {
        ws_sender_close(&w->sender, 1000, "");
        ws_timer_set(w, WS_TIMER_PATIENCE, w->times.close_timeout_ms);
    }
    if (w->sender.has_failed)
        ws_duplex_break_for(w, CAUSE_INTERNAL, 0);
    ws_duplex_check_finished(w);
}

static void tell_drain(struct ws_duplex *w)
{
    if (w->state == WS_OPEN && w->is_full_told && !ws_sender_is_full(&w->sender)) {
        w->is_full_told = false;
        w->duplex.events->on_drain(w->duplex.owner);
    }
}

void ws_duplex_writing_went_on(struct ws_duplex *w)
{
    if (w->state != WS_OPEN)
        return;
    send_end(w);
    ws_duplex_check_finished(w);
    tell_drain(w);
}

/* ---- telling the owner, from a task ---- */

static void deliver_held(struct ws_duplex *w)
{
    struct span next;
    while (ws_duplex_has_owner(w) && !w->is_paused && queue_peek(&w->held, &next, 1) > 0) {
        w->duplex.events->on_data(w->duplex.owner, next);
        queue_drop(&w->held, next.len);
    }
}

static void receive_early(struct ws_duplex *w)
{
    struct queue early = w->early;
    struct span next;
    w->early = (struct queue){0};
    while (queue_peek(&early, &next, 1) > 0) {
        ws_receive_bytes(w, next);
        queue_drop(&early, next.len);
    }
}

static void run_pump(struct task *t)
{
    struct ws_duplex *w = container_of(t, struct ws_duplex, pump);
    if (w->state == WS_DEAD) {
        ws_free(w);
        return;
    }
    if (!queue_is_empty(&w->early) && !w->is_paused)
        receive_early(w);
    deliver_held(w);
    tell_drain(w); /* a plain peer that has closed takes everything, for nobody */
    if (ws_duplex_has_owner(w) && queue_is_empty(&w->held) && w->has_peer_ended &&
        !w->has_told_end) {
        w->has_told_end = true;
        w->duplex.events->on_end(w->duplex.owner);
    }
    if (w->state == WS_OPEN && w->is_finished && !w->has_told_finished) {
        w->has_told_finished = true;
        w->duplex.events->on_finished(w->duplex.owner);
    }
    if (w->state == WS_BROKEN && queue_is_empty(&w->held)) {
        ws_duplex_die(w);
        w->duplex.events->on_abort(w->duplex.owner, w->broken);
    }
    ws_duplex_grant(w);
    if (ws_duplex_has_owner(w))
        ws_duplex_update_reading(w);
}

/* ---- the calls ---- */

static bool ws_write(struct duplex *d, const struct span *spans, size_t count)
{
    struct ws_duplex *w = from_duplex(d);
    assert(ws_duplex_has_owner(w) && !w->is_finishing);
    if (w->state != WS_OPEN)
        return false;
    if (ws_sender_data(&w->sender, spans, count) != 0)
        ws_duplex_break_for(w, CAUSE_NO_MEMORY, 0);
    else if (w->sender.has_failed)
        ws_duplex_break_for(w, CAUSE_INTERNAL, 0);
    w->is_full_told = ws_sender_is_full(&w->sender);
    return w->is_full_told;
}

static void ws_finish(struct duplex *d)
{
    struct ws_duplex *w = from_duplex(d);
    assert(ws_duplex_has_owner(w));
    if (w->is_finishing || w->state != WS_OPEN)
        return;
    w->is_finishing = true;
    if (w->sender.lower == NULL) {
        /* Plain, and the peer has closed: there is nobody left to be told. */
        w->has_sent_end = true;
        ws_duplex_note_finished(w);
        return;
    }
    send_end(w);
}

static void ws_abort(struct duplex *d, struct cause cause)
{
    struct ws_duplex *w = from_duplex(d);
    assert(ws_duplex_has_owner(w));
    ws_duplex_send_close_and_leave(w, cause_close_code(cause.what), cause_text(cause.what));
    ws_duplex_die(w);
}

static void ws_pause(struct duplex *d)
{
    struct ws_duplex *w = from_duplex(d);
    if (w->is_paused)
        return;
    w->is_paused = true;
    w->reads_ahead = false;
    if (w->window == 0 && !ws_timer_is_set(w, WS_TIMER_AHEAD))
        ws_timer_set(w, WS_TIMER_AHEAD, READ_AHEAD_DELAY_MS);
    ws_duplex_update_reading(w);
}

static void ws_resume(struct duplex *d)
{
    struct ws_duplex *w = from_duplex(d);
    if (!w->is_paused)
        return;
    w->is_paused = false;
    w->reads_ahead = false;
    if (!queue_is_empty(&w->held) || !queue_is_empty(&w->early))
        task_defer(w->scheduler, &w->pump);
    ws_duplex_update_reading(w);
}

static void ws_close(struct duplex *d)
{
    struct ws_duplex *w = from_duplex(d);
    assert(ws_duplex_has_owner(w) && w->has_told_end && w->has_told_finished);
    if (w->state == WS_BROKEN) {
        /* Broken since, and about to tell: the owner was done first. */
        ws_duplex_die(w);
        return;
    }
    w->state = WS_CLOSING;
    ws_timer_clear_all(w);
    if (w->sender.lower != NULL && !w->is_lower_over &&
        (w->sender.role == WS_CLIENT || !w->has_peer_closed)) {
        ws_sender_close(&w->sender, 1000, "");
        ws_timer_set(w, WS_TIMER_PATIENCE, w->times.close_timeout_ms);
        ws_duplex_update_reading(w);
        return;
    }
    ws_duplex_send_close_and_leave(w, 1000, "");
    ws_duplex_die(w);
}

static uint64_t ws_pending(const struct duplex *d)
{
    const struct ws_duplex *w = container_of(d, const struct ws_duplex, duplex);
    return queue_size(&w->sender.blocked) +
           (w->sender.lower != NULL ? duplex_pending(w->sender.lower) : 0);
}

static const struct duplex_ops ws_ops = {ws_write,  ws_finish, ws_abort,   ws_pause,
                                         ws_resume, ws_close,  ws_pending, NULL};

static uint32_t saturated(uint64_t ms)
{
    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

static struct ws_times times_of(const struct ws_duplex_config *config)
{
    return (struct ws_times){
        .ping_interval_ms = saturated(config->ping_interval_ms),
        .ping_timeout_ms = saturated(config->ping_timeout_ms),
        .linger_ms = saturated(config->linger_ms),
        .close_timeout_ms = saturated(config->close_timeout_ms),
        .stall_ms = saturated(config->stall_ms),
    };
}

struct duplex *ws_duplex_new(struct scheduler *s, struct duplex *lower, enum ws_role role,
                             enum ws_carrier carrier, const struct ws_duplex_config *config,
                             struct span early)
{
    struct ws_duplex *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    if (queue_push(&w->early, early) != 0) {
        free(w);
        return NULL;
    }
    w->duplex.ops = &ws_ops;
    w->scheduler = s;
    w->times = times_of(config);
    w->life_ms = w->ping_ms = s->now_ms;
    w->is_paused = w->is_lower_paused = true;
    ws_sender_init(&w->sender, lower, role, carrier);
    ws_reader_init(&w->reader, role, carrier);
    queue_init(&w->held);
    ws_timer_init(w);
    task_init(&w->pump, run_pump);
    ws_receive_init(w);
    ws_liveness_init(w);
    return &w->duplex;
}
