/* The peer's side of a WebSocket: what its messages mean, and the events of the lower duplex that
 * brings them. docs/protocol.md sections 3 to 5. */
#include "half_close.h"
#include "queue.h"
#include "ws_duplex_internal.h"
#include "ws_sender.h"

/* ---- messages ---- */

/* Payloads that came together are told together: a write for each frame costs the kernel more than
 * it takes to unmask one over its header, to where the one before it ends. */
static void take_data(struct ws_duplex *w, struct span data, struct span *joined)
{
    if (w->has_peer_ended) {
        ws_duplex_break_for(w, CAUSE_VIOLATION, 0);
        return;
    }
    w->received += data.len;
    if (joined->len == 0)
        joined->data = data.data;
    joined->len += data.len;
    w->reader.out = joined->data + joined->len;
}

static void tell_data(struct ws_duplex *w, struct span *joined)
{
    struct span data = *joined;

    joined->len = 0;
    w->reader.out = NULL;
    if (data.len == 0)
        return;
    if (!w->is_paused && queue_is_empty(&w->held))
        w->duplex.events->on_data(w->duplex.owner, data);
    else if (queue_push(&w->held, data) != 0)
        ws_duplex_break_for(w, CAUSE_NO_MEMORY, 0);
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
            ws_duplex_break_for(w, CAUSE_VIOLATION, 0);
        else if (m.number != w->received)
            ws_duplex_break_for(w, CAUSE_TRUNCATED, 0);
        else
            take_end(w);
        break;
    case HALF_CLOSE_WINDOW:
        ws_sender_window(&w->sender, m.number);
        ws_duplex_writing_went_on(w);
        break;
    case HALF_CLOSE_IGNORED:
        break;
    case HALF_CLOSE_INVALID:
        ws_duplex_break_for(w, CAUSE_VIOLATION, 0);
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
    if (ws_duplex_is_plain(w) && is_end_code(code) && !w->has_peer_ended) {
        /* A browser's close() comes after all it sent: the end of its side, and of our use of the
         * other. */
        ws_duplex_send_close_and_leave(w, code, "");
        take_end(w);
        if (w->is_finishing) {
            w->has_sent_end = true;
            ws_duplex_note_finished(w);
        }
    } else if (!ws_duplex_is_plain(w) && ws_duplex_is_complete(w) && is_harmless_code(w, code)) {
        /* For a client the confirmation. Answered when the owner closes. */
        if (w->sender.role == WS_CLIENT)
            ws_duplex_note_finished(w);
    } else {
        ws_duplex_break_for(w, CAUSE_CLOSED, code);
    }
}

static enum cause_what cause_of_error(uint16_t code)
{
    switch (code) {
    case 1007:
        return CAUSE_NOT_UTF8;
    case 1011:
        return CAUSE_NO_MEMORY;
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
        break; /* ws_receive_bytes has taken it */
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
        ws_duplex_break_for(w, cause_of_error(e->code), e->code);
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
        ws_duplex_leave(w);
    }
}

void ws_receive_bytes(struct ws_duplex *w, struct span bytes)
{
    w->life_ms = w->scheduler->now_ms;
    w->awaits_pong = false;
    w->sender.unconfirmed = 0;
    struct ws_event event;
    struct span joined = {NULL, 0};
    while (w->sender.lower != NULL && ws_reader_next(&w->reader, &bytes, &event)) {
        if (w->state == WS_OPEN && event.type == WS_EVENT_DATA) {
            take_data(w, event.payload, &joined);
            continue;
        }
        tell_data(w, &joined);
        if (w->state == WS_OPEN)
            take_event(w, &event);
        else if (w->state == WS_CLOSING)
            take_event_closing(w, &event);
    }
    tell_data(w, &joined);
    ws_duplex_grant(w);
    if (ws_duplex_has_owner(w))
        ws_duplex_update_reading(w);
}

/* ---- events of the lower duplex ---- */

static void lower_on_data(void *owner, struct span data)
{
    ws_receive_bytes(owner, data);
}

/* docs/protocol.md section 5.4: once both streams are complete. A client knows that from Close 1000
 * only. */
static bool is_loss_harmless(const struct ws_duplex *w)
{
    return w->sender.role == WS_CLIENT ? w->has_peer_ended && w->is_finished
                                       : ws_duplex_is_complete(w);
}

static void lower_on_end(void *owner)
{
    struct ws_duplex *w = owner;
    w->is_lower_over = true;
    if (w->state == WS_CLOSING) {
        ws_duplex_leave(w);
    } else if (!is_loss_harmless(w)) {
        ws_duplex_break_for(w, CAUSE_LOST, 0);
    }
}

static void lower_on_abort(void *owner, struct cause cause)
{
    struct ws_duplex *w = owner;
    ws_duplex_forget_lower(w);
    w->is_lower_over = true;
    if (w->state == WS_CLOSING)
        ws_duplex_die(w);
    else if (!w->is_finished || !w->has_peer_ended)
        ws_duplex_break(w, cause);
}

static void lower_on_drain(void *owner)
{
    struct ws_duplex *w = owner;
    ws_sender_drained(&w->sender);
    ws_duplex_grant(w); /* before payload: the peer may be waiting for it */
    ws_sender_go_on(&w->sender);
    ws_duplex_writing_went_on(w);
}

static void lower_on_finished(void *owner)
{
    (void)owner; /* the lower is closed, never finished: a TCP FIN under a WebSocket means nothing
                    good */
}

static const struct duplex_events lower_events = {lower_on_data, lower_on_end, lower_on_abort,
                                                  lower_on_drain, lower_on_finished};

void ws_receive_init(struct ws_duplex *w)
{
    duplex_own(w->sender.lower, &lower_events, w);
}
