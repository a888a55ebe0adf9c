#include "ws_duplex.h"

#include "half_close.h"
#include "queue.h"
#include "ws_sender.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The life of it. The owner is there in OPEN and BROKEN only. */
enum ws_state {
    WS_OPEN,    /* both directions may still bring something */
    WS_BROKEN,  /* the lower is gone; what it brought, and then on_abort, are still to be told */
    WS_CLOSING, /* the owner has closed; waiting for the peer's Close, or for its end behind that */
    WS_DEAD     /* nothing left but to be freed */
};

struct ws_duplex {
    struct duplex duplex;
    struct duplex *lower; /* NULL once it is closed, aborted or lost */
    struct scheduler *scheduler;
    const struct ws_duplex_config *config;
    struct ws_sender sender;
    struct ws_reader reader;
    uint64_t received; /* payload bytes of the peer's side */
    uint64_t life_ms;  /* when the peer last gave a sign of life */
    uint64_t ping_ms;  /* when the ping under way was sent */
    uint64_t
        close_pending; /* bytes before our Close that the peer had not taken, at the last look */
    uint64_t close_pending_ms; /* ... and when that was last less than before */
    struct queue held;         /* payload that the paused owner has not taken */
    struct span early;         /* what came with the handshake; heap, or NULL */
    struct cause broken;       /* BROKEN: to be told */
    struct deadline ping;      /* the next ping, or the end of waiting for its answer */
    struct deadline
        patience; /* the end of waiting: for the owner to take `held`, or for the peer's Close */
    struct deadline ahead; /* after this long a pause, read on up to WS_READ_AHEAD */
    struct task pump;      /* tells the owner what is due, or frees */
    uint16_t peer_code;    /* of the peer's Close */
    uint8_t state;
    bool is_paused;       /* by the owner */
    bool is_lower_paused; /* by us */
    bool reads_ahead;     /* the pause has lasted */
    bool is_lower_over;   /* the lower's peer side has ended, harmlessly */
    bool is_full_told;    /* write() said full: on_drain is owed */
    bool has_peer_ended;  /* FIN n came and n was right (plain: Close 1000) */
    bool has_told_end;
    bool has_peer_closed; /* Close came */
    bool is_finishing;    /* finish() was called */
    bool has_sent_end;    /* FIN was handed to the lower (plain: Close) */
    bool is_finished;     /* ... and accepted; client: confirmed. on_finished is due */
    bool has_told_finished;
    bool awaits_pong;
};

#define READ_AHEAD_DELAY_MS 100 /* a shorter pause is not worth copying for */

static struct ws_duplex *from_duplex(struct duplex *d)
{
    return container_of(d, struct ws_duplex, duplex);
}

static bool has_owner(const struct ws_duplex *w)
{
    return w->state == WS_OPEN || w->state == WS_BROKEN;
}

static bool is_plain(const struct ws_duplex *w)
{
    return w->sender.carrier == WS_PLAIN;
}

/* Both streams complete on this WebSocket. What comes then harms nothing (protocol.md section 5.4).
 */
static bool is_complete(const struct ws_duplex *w)
{
    return w->has_peer_ended && w->has_sent_end;
}

/* ---- reading the lower, or not ---- */

static void update_reading(struct ws_duplex *w)
{
    if (w->lower == NULL || w->early.data != NULL)
        return;
    bool wanted = w->state == WS_CLOSING || (!w->is_paused && w->held.size == 0) ||
                  (w->reads_ahead && w->held.size < WS_READ_AHEAD);
    if (wanted == !w->is_lower_paused)
        return;
    w->is_lower_paused = !wanted;
    if (wanted) {
        /* Time in which we did not read is not counted against the peer's pong. */
        w->life_ms = w->scheduler->now_ms;
        duplex_resume(w->lower);
    } else {
        duplex_pause(w->lower);
    }
}

static void fire_ahead(struct deadline *d)
{
    struct ws_duplex *w = container_of(d, struct ws_duplex, ahead);
    if (!w->is_paused || w->state != WS_OPEN)
        return;
    w->reads_ahead = true;
    update_reading(w);
}

/* ---- the end of it ---- */

static void ws_die(struct ws_duplex *w)
{
    assert(w->lower == NULL);
    w->state = WS_DEAD;
    deadline_clear(w->scheduler, &w->ping);
    deadline_clear(w->scheduler, &w->patience);
    deadline_clear(w->scheduler, &w->ahead);
    task_defer(w->scheduler, &w->pump);
}

static void ws_free(struct ws_duplex *w)
{
    ws_sender_clear(&w->sender);
    queue_clear(&w->held);
    free(w->early.data);
    free(w);
}

static void lower_forget(struct ws_duplex *w)
{
    w->lower = NULL;
    w->sender.lower = NULL;
}

static void lower_close(struct ws_duplex *w)
{
    if (w->lower == NULL)
        return;
    struct duplex *lower = w->lower;
    lower_forget(w);
    duplex_close(lower);
}

/* Close goes out behind what was sent, then the transport ends in an orderly way so that it is
 * read: the break is in the code. */
static void send_close_and_leave(struct ws_duplex *w, uint16_t code, const char *reason)
{
    ws_sender_close(&w->sender, code, reason);
    lower_close(w);
}

/* Something failed. The owner hears of it behind the bytes that came before, if it takes them in
 * time. */
static void ws_break(struct ws_duplex *w, struct cause cause)
{
    if (w->state == WS_CLOSING) {
        lower_close(w);
        ws_die(w);
        return;
    }
    if (w->state != WS_OPEN)
        return;
    w->state = WS_BROKEN;
    w->broken = cause;
    if (w->has_peer_closed)
        send_close_and_leave(w, w->peer_code, "");
    else
        send_close_and_leave(w, cause_close_code(cause.what), cause_text(cause.what));
    deadline_clear(w->scheduler, &w->ping);
    if (w->held.size > 0)
        deadline_set(w->scheduler, &w->patience, w->config->linger_ms);
    task_defer(w->scheduler, &w->pump);
}

static void ws_break_for(struct ws_duplex *w, enum cause_what what, int native)
{
    ws_break(w, (struct cause){.what = what, .native = native});
}

/* Our Close is on its way to a peer that is slow to read: as TCP does after close(2), what waits
 * before it is kept for the peer, and its answer is waited for from then on. */
static bool has_time_to_take_close(struct ws_duplex *w)
{
    uint64_t pending = w->lower != NULL ? duplex_pending(w->lower) : 0;
    bool was_waiting = w->close_pending > 0;
    if (pending < w->close_pending || !was_waiting)
        w->close_pending_ms = w->scheduler->now_ms;
    w->close_pending = pending;
    uint64_t stall_ms = w->scheduler->now_ms - w->close_pending_ms;
    bool is_over = pending > 0 && w->config->stall_ms > 0 && stall_ms >= w->config->stall_ms;
    return (pending > 0 || was_waiting) && !is_over;
}

static void fire_patience(struct deadline *d)
{
    struct ws_duplex *w = container_of(d, struct ws_duplex, patience);
    if (w->state == WS_BROKEN) {
        queue_clear(&w->held);
        task_defer(w->scheduler, &w->pump);
    } else if (has_time_to_take_close(w)) {
        deadline_set(w->scheduler, d, w->config->close_timeout_ms);
    } else if (w->state == WS_CLOSING) {
        lower_close(w);
        ws_die(w);
    } else if (!w->has_peer_ended) {
        /* Plain: our Close is unanswered. While the peer still sends, it is on its way to it. */
        uint64_t quiet_ms = w->scheduler->now_ms - w->life_ms;
        if (quiet_ms < w->config->close_timeout_ms)
            deadline_set(w->scheduler, d, w->config->close_timeout_ms - quiet_ms);
        else
            ws_break_for(w, CAUSE_LOST, 0);
    }
}

/* ---- our side: its end, and what confirms it ---- */

static void note_finished(struct ws_duplex *w)
{
    if (w->is_finished)
        return;
    w->is_finished = true;
    task_defer(w->scheduler, &w->pump);
}

static void check_finished(struct ws_duplex *w)
{
    if (!w->has_sent_end || w->state != WS_OPEN)
        return;
    /* A client is sure when the server says so; note_finished comes from its Close. */
    if (w->sender.role == WS_SERVER || is_plain(w)) {
        if (!w->sender.is_lower_full)
            note_finished(w);
    } else if (w->is_lower_over && is_complete(w)) {
        note_finished(w);
    }
}

static void send_end(struct ws_duplex *w)
{
    if (!w->is_finishing || w->has_sent_end || w->sender.blocked.size > 0)
        return;
    w->has_sent_end = true;
    if (!is_plain(w)) {
        struct half_close_message fin = {HALF_CLOSE_FIN, w->sender.bytes};
        ws_sender_control(&w->sender, fin);
    } else if (!w->sender.has_closed) {
        ws_sender_close(&w->sender, 1000, "");
        deadline_set(w->scheduler, &w->patience, w->config->close_timeout_ms);
    }
    if (w->sender.has_failed)
        ws_break_for(w, CAUSE_INTERNAL, 0);
    check_finished(w);
}

static void tell_drain(struct ws_duplex *w)
{
    if (w->state == WS_OPEN && w->is_full_told && !ws_sender_is_full(&w->sender)) {
        w->is_full_told = false;
        w->duplex.events->on_drain(w->duplex.owner);
    }
}

/* After the lower drained, or the window grew. */
static void writing_went_on(struct ws_duplex *w)
{
    if (w->state != WS_OPEN)
        return;
    send_end(w);
    check_finished(w);
    tell_drain(w);
}

/* ---- the peer's side ---- */

static void take_data(struct ws_duplex *w, struct span data)
{
    if (w->has_peer_ended) {
        ws_break_for(w, CAUSE_VIOLATION, 0);
        return;
    }
    w->received += data.len;
    if (data.len == 0)
        return;
    if (!w->is_paused && w->held.size == 0)
        w->duplex.events->on_data(w->duplex.owner, data);
    else if (queue_push(&w->held, data) != 0)
        ws_break_for(w, CAUSE_NO_MEMORY, 0);
}

static void take_end(struct ws_duplex *w)
{
    w->has_peer_ended = true;
    task_defer(w->scheduler, &w->pump);
}

static void take_control(struct ws_duplex *w, struct span text)
{
    struct half_close_message m = half_close_parse(text);
    switch (m.type) {
    case HALF_CLOSE_FIN:
        if (w->has_peer_ended)
            ws_break_for(w, CAUSE_VIOLATION, 0);
        else if (m.number != w->received)
            ws_break_for(w, CAUSE_TRUNCATED, 0);
        else
            take_end(w);
        break;
    case HALF_CLOSE_WINDOW:
        ws_sender_window(&w->sender, m.number);
        writing_went_on(w);
        break;
    case HALF_CLOSE_IGNORED:
        break;
    case HALF_CLOSE_INVALID:
        ws_break_for(w, CAUSE_VIOLATION, 0);
        break;
    }
}

static bool is_end_code(uint16_t code)
{
    return code == 1000 || code == WS_CODE_NONE;
}

/* Behind both ends. A client is told by 1000, and nothing else, that all went well behind the
 * server. */
static bool is_harmless_code(const struct ws_duplex *w, uint16_t code)
{
    return w->sender.role == WS_CLIENT ? code == 1000 : code < 4000;
}

static void take_close(struct ws_duplex *w, uint16_t code)
{
    w->has_peer_closed = true;
    w->peer_code = code;
    if (is_plain(w) && is_end_code(code) && !w->has_peer_ended) {
        /* A browser's close() comes after all it sent: the end of its side, and of our use of the
         * other. */
        ws_sender_close(&w->sender, code, "");
        lower_close(w);
        take_end(w);
        if (w->is_finishing) {
            w->has_sent_end = true;
            note_finished(w);
        }
    } else if (!is_plain(w) && is_complete(w) && is_harmless_code(w, code)) {
        /* For a client the confirmation. Answered when the owner closes. */
        if (w->sender.role == WS_CLIENT)
            note_finished(w);
    } else {
        ws_break_for(w, CAUSE_CLOSED, code);
    }
}

static enum cause_what cause_of_error(uint16_t code)
{
    switch (code) {
    case 1007:
        return CAUSE_NOT_UTF8;
    case 4001:
        return CAUSE_VIOLATION;
    default:
        return CAUSE_WS_VIOLATION;
    }
}

static void take_event(struct ws_duplex *w, const struct ws_event *e)
{
    switch (e->type) {
    case WS_EVENT_DATA:
        take_data(w, e->payload);
        break;
    case WS_EVENT_PING:
        ws_sender_pong(&w->sender, e->payload);
        break;
    case WS_EVENT_PONG:
        break;
    case WS_EVENT_CLOSE:
        take_close(w, e->code);
        break;
    case WS_EVENT_CONTROL:
        take_control(w, e->payload);
        break;
    case WS_EVENT_ERROR:
        ws_break_for(w, cause_of_error(e->code), e->code);
        break;
    }
}

/* The owner has closed; only the peer's Close is of interest. A server ends the transport then, a
 * client leaves that to the server (RFC 6455 7.1.1). */
static void take_event_closing(struct ws_duplex *w, const struct ws_event *e)
{
    if (e->type == WS_EVENT_CLOSE && w->sender.role == WS_CLIENT) {
        w->has_peer_closed = true;
    } else if (e->type == WS_EVENT_CLOSE || e->type == WS_EVENT_ERROR) {
        lower_close(w);
        ws_die(w);
    }
}

static void take_bytes(struct ws_duplex *w, struct span bytes)
{
    w->life_ms = w->scheduler->now_ms;
    w->awaits_pong = false;
    w->sender.unconfirmed = 0;
    struct ws_event event;
    while (w->lower != NULL && ws_reader_next(&w->reader, &bytes, &event)) {
        if (w->state == WS_OPEN)
            take_event(w, &event);
        else if (w->state == WS_CLOSING)
            take_event_closing(w, &event);
    }
    if (has_owner(w))
        update_reading(w);
}

/* ---- events of the lower duplex ---- */

static void lower_on_data(void *owner, struct span data)
{
    take_bytes(owner, data);
}

static void lower_on_end(void *owner)
{
    struct ws_duplex *w = owner;
    w->is_lower_over = true;
    if (w->state == WS_CLOSING) {
        lower_close(w);
        ws_die(w);
    } else if (is_complete(w)) {
        check_finished(w);
    } else {
        ws_break_for(w, CAUSE_LOST, 0);
    }
}

static void lower_on_abort(void *owner, struct cause cause)
{
    struct ws_duplex *w = owner;
    lower_forget(w);
    w->is_lower_over = true;
    if (w->state == WS_CLOSING)
        ws_die(w);
    else if (w->has_peer_ended &&
             (w->is_finished || (w->has_sent_end && w->sender.role == WS_CLIENT)))
        note_finished(w);
    else
        ws_break(w, cause);
}

static void lower_on_drain(void *owner)
{
    struct ws_duplex *w = owner;
    ws_sender_drained(&w->sender);
    writing_went_on(w);
}

static void lower_on_finished(void *owner)
{
    (void)owner; /* the lower is closed, never finished: a TCP FIN under a WebSocket means nothing
                    good */
}

static const struct duplex_events lower_events = {lower_on_data, lower_on_end, lower_on_abort,
                                                  lower_on_drain, lower_on_finished};

/* ---- telling the owner, from a task ---- */

static void deliver_held(struct ws_duplex *w)
{
    struct span next;
    while (has_owner(w) && !w->is_paused && queue_peek(&w->held, &next, 1) > 0) {
        w->duplex.events->on_data(w->duplex.owner, next);
        queue_drop(&w->held, next.len);
    }
}

static void run_pump(struct task *t)
{
    struct ws_duplex *w = container_of(t, struct ws_duplex, pump);
    if (w->state == WS_DEAD) {
        ws_free(w);
        return;
    }
    if (w->early.data != NULL && !w->is_paused) {
        struct span early = w->early;
        w->early = (struct span){NULL, 0};
        take_bytes(w, early);
        free(early.data);
    }
    deliver_held(w);
    tell_drain(w); /* a plain peer that has closed takes everything, for nobody */
    if (has_owner(w) && w->held.size == 0 && w->has_peer_ended && !w->has_told_end) {
        w->has_told_end = true;
        w->duplex.events->on_end(w->duplex.owner);
    }
    if (w->state == WS_OPEN && w->is_finished && !w->has_told_finished) {
        w->has_told_finished = true;
        w->duplex.events->on_finished(w->duplex.owner);
    }
    if (w->state == WS_BROKEN && w->held.size == 0) {
        ws_die(w);
        w->duplex.events->on_abort(w->duplex.owner, w->broken);
    }
    if (has_owner(w))
        update_reading(w);
}

/* ---- liveness: protocol.md section 7 ---- */

/* A peer that we do not read, or that has been sent more than it must read ahead, owes no pong: it
 * may be held up by its own sink, as a TCP peer may be for any time. TCP itself still looks after
 * it. */
static bool owes_pong(const struct ws_duplex *w)
{
    return w->config->ping_timeout_ms > 0 && !w->is_lower_paused && !w->sender.is_lower_full &&
           w->sender.unconfirmed <= WS_READ_AHEAD;
}

/* Fires when a pong should be there, and when the next ping is due. */
static void fire_ping(struct deadline *d)
{
    struct ws_duplex *w = container_of(d, struct ws_duplex, ping);
    uint64_t now_ms = w->scheduler->now_ms;
    uint64_t since_ms = now_ms - w->ping_ms;
    uint64_t interval_ms = w->config->ping_interval_ms;
    uint64_t timeout_ms = w->config->ping_timeout_ms;
    if (w->state != WS_OPEN || w->lower == NULL)
        return;
    if (w->awaits_pong && owes_pong(w)) {
        uint64_t waited_ms = now_ms - (w->life_ms > w->ping_ms ? w->life_ms : w->ping_ms);
        if (waited_ms >= timeout_ms)
            ws_break_for(w, CAUSE_PING_TIMEOUT, 0);
        else
            deadline_set(w->scheduler, d, timeout_ms - waited_ms);
    } else if (since_ms < interval_ms) {
        deadline_set(w->scheduler, d, interval_ms - since_ms);
    } else {
        w->ping_ms = now_ms;
        w->awaits_pong = !w->sender.is_lower_full;
        if (w->awaits_pong)
            ws_sender_ping(&w->sender);
        bool is_timeout_first = timeout_ms > 0 && timeout_ms < interval_ms;
        deadline_set(w->scheduler, d, is_timeout_first ? timeout_ms : interval_ms);
    }
}

/* ---- the six calls ---- */

static bool ws_write(struct duplex *d, const struct span *spans, size_t count)
{
    struct ws_duplex *w = from_duplex(d);
    assert(has_owner(w) && !w->is_finishing);
    if (w->state != WS_OPEN)
        return false;
    if (ws_sender_data(&w->sender, spans, count) != 0)
        ws_break_for(w, CAUSE_NO_MEMORY, 0);
    else if (w->sender.has_failed)
        ws_break_for(w, CAUSE_INTERNAL, 0);
    w->is_full_told = ws_sender_is_full(&w->sender);
    return w->is_full_told;
}

static void ws_finish(struct duplex *d)
{
    struct ws_duplex *w = from_duplex(d);
    assert(has_owner(w));
    if (w->is_finishing || w->state != WS_OPEN)
        return;
    w->is_finishing = true;
    if (w->lower == NULL) {
        /* Plain, and the peer has closed: there is nobody left to be told. */
        w->has_sent_end = true;
        note_finished(w);
        return;
    }
    send_end(w);
}

static void ws_abort(struct duplex *d, struct cause cause)
{
    struct ws_duplex *w = from_duplex(d);
    assert(has_owner(w));
    send_close_and_leave(w, cause_close_code(cause.what), cause_text(cause.what));
    ws_die(w);
}

static void ws_pause(struct duplex *d)
{
    struct ws_duplex *w = from_duplex(d);
    if (w->is_paused)
        return;
    w->is_paused = true;
    w->reads_ahead = false;
    if (!w->ahead.is_set)
        deadline_set(w->scheduler, &w->ahead, READ_AHEAD_DELAY_MS);
    update_reading(w);
}

static void ws_resume(struct duplex *d)
{
    struct ws_duplex *w = from_duplex(d);
    if (!w->is_paused)
        return;
    w->is_paused = false;
    w->reads_ahead = false;
    if (w->held.size > 0 || w->early.data != NULL)
        task_defer(w->scheduler, &w->pump);
    update_reading(w);
}

static void ws_close(struct duplex *d)
{
    struct ws_duplex *w = from_duplex(d);
    assert(has_owner(w) && w->has_told_end && w->has_told_finished);
    if (w->state == WS_BROKEN) {
        /* Broken since, and about to tell: the owner was done first. */
        ws_die(w);
        return;
    }
    w->state = WS_CLOSING;
    deadline_clear(w->scheduler, &w->ping);
    ws_sender_close(&w->sender, 1000, "");
    if (w->lower != NULL && !w->is_lower_over &&
        (w->sender.role == WS_CLIENT || !w->has_peer_closed)) {
        deadline_set(w->scheduler, &w->patience, w->config->close_timeout_ms);
        update_reading(w);
        return;
    }
    lower_close(w);
    ws_die(w);
}

static uint64_t ws_pending(const struct duplex *d)
{
    const struct ws_duplex *w = container_of(d, const struct ws_duplex, duplex);
    return w->sender.blocked.size + (w->lower != NULL ? duplex_pending(w->lower) : 0);
}

static const struct duplex_ops ws_ops = {ws_write,  ws_finish, ws_abort,  ws_pause,
                                         ws_resume, ws_close,  ws_pending};

struct duplex *ws_duplex_new(struct scheduler *s, struct duplex *lower, enum ws_role role,
                             enum ws_carrier carrier, const struct ws_duplex_config *config,
                             struct span early)
{
    struct ws_duplex *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    if (early.len > 0) {
        w->early = (struct span){malloc(early.len), early.len};
        if (w->early.data == NULL) {
            free(w);
            return NULL;
        }
        memcpy(w->early.data, early.data, early.len);
    }
    w->duplex.ops = &ws_ops;
    w->lower = lower;
    w->scheduler = s;
    w->config = config;
    w->life_ms = w->ping_ms = s->now_ms;
    w->is_paused = w->is_lower_paused = true;
    ws_sender_init(&w->sender, lower, role, carrier);
    ws_reader_init(&w->reader, role, carrier);
    queue_init(&w->held);
    deadline_init(&w->ping, fire_ping);
    deadline_init(&w->patience, fire_patience);
    deadline_init(&w->ahead, fire_ahead);
    task_init(&w->pump, run_pump);
    duplex_own(lower, &lower_events, w);
    if (config->ping_interval_ms > 0)
        deadline_set(s, &w->ping, config->ping_interval_ms);
    return &w->duplex;
}
