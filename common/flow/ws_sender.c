#include "ws_sender.h"

#include "crypto.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void ws_sender_init(struct ws_sender *s, struct duplex *lower, enum ws_role role,
                    enum ws_carrier carrier)
{
    *s = (struct ws_sender){.lower = lower, .role = role, .carrier = carrier, .window = UINT64_MAX};
}

void ws_sender_clear(struct ws_sender *s)
{
    queue_clear(&s->blocked);
    free(s->pong);
    s->pong = NULL;
}

/* One frame, header and payload in one gather write. */
static void send_frame(struct ws_sender *s, uint8_t opcode, const struct span *spans, size_t count)
{
    if (s->lower == NULL || s->has_closed || s->has_failed)
        return;
    assert(count < WS_SENDER_SPANS_MAX);
    struct ws_frame_header header = {.fin = true, .opcode = opcode, .masked = s->role == WS_CLIENT};
    struct span out[WS_SENDER_SPANS_MAX];
    for (size_t i = 0; i < count; i++) {
        out[i + 1] = spans[i];
        header.length += spans[i].len;
    }
    if (header.masked) {
        /* RFC 6455 5.3: fresh and unpredictable for every frame. Without randomness nothing may go
         * out. */
        if (crypto_random(header.key, sizeof header.key) != 0) {
            s->has_failed = true;
            return;
        }
        uint64_t phase = 0;
        for (size_t i = 0; i < count; i++) {
            ws_frame_mask(spans[i].data, spans[i].len, header.key, phase);
            phase += spans[i].len;
        }
    }
    uint8_t head[WS_FRAME_HEADER_MAX];
    out[0] = (struct span){head, ws_frame_write(&header, head)};
    if (duplex_write(s->lower, out, count + 1))
        s->is_lower_full = true;
}

static void send_payload(struct ws_sender *s, const struct span *spans, size_t count, size_t len)
{
    send_frame(s, WS_BINARY, spans, count);
    s->bytes += len;
    s->unconfirmed += len;
}

/* What was blocked, as far as the window and the lower let it. */
void ws_sender_go_on(struct ws_sender *s)
{
    struct span next;
    while (!s->is_lower_full && s->bytes < s->window && queue_peek(&s->blocked, &next, 1) > 0) {
        if (next.len > s->window - s->bytes)
            next.len = (size_t)(s->window - s->bytes);
        send_payload(s, &next, 1, next.len);
        queue_drop(&s->blocked, next.len);
    }
}

int ws_sender_data(struct ws_sender *s, const struct span *spans, size_t count)
{
    if (s->lower == NULL || s->has_closed)
        return 0;
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += spans[i].len;
    if (len == 0)
        return 0;
    uint64_t room = s->window > s->bytes ? s->window - s->bytes : 0;
    if (queue_is_empty(&s->blocked) && len <= room) {
        send_payload(s, spans, count, len);
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        int error = queue_push(&s->blocked, spans[i]);
        if (error != 0)
            return error;
    }
    ws_sender_go_on(s);
    return 0;
}

void ws_sender_control(struct ws_sender *s, struct half_close_message m)
{
    assert(s->carrier != WS_PLAIN);
    uint8_t text[HALF_CLOSE_TEXT_MAX];
    struct span payload = {text, half_close_write(m, text)};
    send_frame(s, s->carrier == WS_EXTENSION ? WS_HALF_CLOSE : WS_TEXT, &payload, 1);
}

void ws_sender_ping(struct ws_sender *s)
{
    send_frame(s, WS_PING, NULL, 0);
}

void ws_sender_pong(struct ws_sender *s, struct span payload)
{
    if (!s->is_lower_full) {
        send_frame(s, WS_PONG, &payload, 1);
        return;
    }
    assert(payload.len <= WS_CONTROL_MAX);
    if (s->pong == NULL)
        s->pong = malloc(sizeof *s->pong);
    if (s->pong == NULL)
        return; /* a pong is a courtesy; the next ping asks again */
    if (payload.len > 0)
        memcpy(s->pong->payload, payload.data, payload.len);
    s->pong->len = (uint8_t)payload.len;
}

void ws_sender_close(struct ws_sender *s, uint16_t code, const char *reason)
{
    queue_clear(&s->blocked);
    uint8_t payload[WS_CONTROL_MAX];
    size_t len = 0;
    if (code != 0 && code != WS_CODE_NONE) {
        size_t reason_len = strlen(reason);
        assert(reason_len <= WS_CONTROL_MAX - 2);
        payload[0] = (uint8_t)(code >> 8);
        payload[1] = (uint8_t)(code & 0xff);
        memcpy(payload + 2, reason, reason_len);
        len = 2 + reason_len;
    }
    send_frame(s, WS_CLOSE, &(struct span){payload, len}, 1);
    s->has_closed = true;
}

void ws_sender_window(struct ws_sender *s, uint64_t window)
{
    if (s->window == UINT64_MAX || window > s->window)
        s->window = window;
    ws_sender_go_on(s);
}

void ws_sender_drained(struct ws_sender *s)
{
    struct ws_pong *pong = s->pong;
    s->is_lower_full = false;
    if (pong == NULL)
        return;
    s->pong = NULL;
    send_frame(s, WS_PONG, &(struct span){pong->payload, pong->len}, 1);
    free(pong);
}

bool ws_sender_is_full(const struct ws_sender *s)
{
    return s->lower != NULL && !s->has_closed && (s->is_lower_full || !queue_is_empty(&s->blocked));
}
