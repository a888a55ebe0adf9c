#include "ws_message.h"

#include <stdlib.h>
#include <string.h>

#define CODE_PROTOCOL   1002 /* RFC 6455 violated */
#define CODE_NOT_UTF8   1007
#define CODE_NO_MEMORY  1011
#define CODE_HALF_CLOSE 4001 /* docs/protocol.md violated */

enum {
    STATE_HEADER,  /* in or before a frame header */
    STATE_DATA,    /* in the payload of a data frame */
    STATE_CONTROL, /* in the payload of a control frame */
    STATE_OVER     /* CLOSE or ERROR was told */
};

void ws_reader_init(struct ws_reader *r, enum ws_role role, enum ws_carrier carrier)
{
    *r = (struct ws_reader){.role = role, .carrier = carrier, .state = STATE_HEADER};
}

void ws_reader_clear(struct ws_reader *r)
{
    free(r->collected);
    r->collected = NULL;
}

bool ws_reader_is_between_messages(const struct ws_reader *r)
{
    return r->state == STATE_HEADER && r->head_len == 0 && r->message_opcode == 0;
}

bool ws_close_code_is_valid(uint16_t code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

/* True, for the caller to return: there is an event. */
static bool tell_error(struct ws_reader *r, struct ws_event *e, uint16_t code, const char *problem)
{
    r->state = STATE_OVER;
    *e = (struct ws_event){.type = WS_EVENT_ERROR, .code = code, .problem = problem};
    return true;
}

static struct span take(struct span *in, size_t n)
{
    struct span front = {in->data, n};
    in->data += n;
    in->len -= n;
    return front;
}

/* ---- headers ---- */

static bool check_control(struct ws_reader *r, struct ws_event *e)
{
    if (!r->frame.fin)
        return tell_error(r, e, CODE_PROTOCOL, "fragmented control frame");
    if (r->frame.length > WS_CONTROL_MAX)
        return tell_error(r, e, CODE_PROTOCOL, "control frame too long");
    r->state = STATE_CONTROL;
    return false;
}

static bool check_half_close(struct ws_reader *r, struct ws_event *e)
{
    if (r->message_opcode != 0)
        return tell_error(r, e, CODE_HALF_CLOSE, "control message between fragments");
    if (!r->frame.fin)
        return tell_error(r, e, CODE_HALF_CLOSE, "fragmented control message");
    if (r->frame.length > WS_CONTROL_MAX)
        return tell_error(r, e, CODE_HALF_CLOSE, "control message too long");
    r->state = STATE_CONTROL;
    return false;
}

static bool check_data(struct ws_reader *r, struct ws_event *e)
{
    if (r->frame.opcode == WS_CONTINUATION) {
        if (r->message_opcode == 0)
            return tell_error(r, e, CODE_PROTOCOL, "continuation without a message");
    } else {
        if (r->message_opcode != 0)
            return tell_error(r, e, CODE_PROTOCOL, "new message inside a message");
        if (r->frame.opcode == WS_TEXT && r->carrier == WS_SUBPROTOCOL)
            return check_half_close(r, e);
        r->message_opcode = r->frame.opcode;
        r->message_started = false;
        r->utf8 = (struct utf8){0};
    }
    r->state = STATE_DATA;
    return false;
}

/* Judges the header in r->frame and enters its payload. True if that told an error. */
static bool begin_frame(struct ws_reader *r, struct ws_event *e)
{
    r->head_len = 0;
    r->frame_read = 0;
    if (r->role == WS_SERVER && !r->frame.masked)
        return tell_error(r, e, CODE_PROTOCOL, "frame not masked");
    if (r->role == WS_CLIENT && r->frame.masked)
        return tell_error(r, e, CODE_PROTOCOL, "masked frame from a server");
    if (r->frame.rsv != 0)
        return tell_error(r, e, CODE_PROTOCOL, "reserved bit set");
    switch (r->frame.opcode) {
    case WS_CONTINUATION:
    case WS_TEXT:
    case WS_BINARY:
        return check_data(r, e);
    case WS_CLOSE:
    case WS_PING:
    case WS_PONG:
        return check_control(r, e);
    case WS_HALF_CLOSE:
        if (r->carrier == WS_EXTENSION)
            return check_half_close(r, e);
        break;
    default:
        break;
    }
    return tell_error(r, e, CODE_PROTOCOL, "unknown opcode");
}

/* Takes a header, or what there is of it. True if that told an error. */
static bool read_header(struct ws_reader *r, struct span *in, struct ws_event *e)
{
    int n = 0;
    if (r->head_len == 0) {
        /* the usual case: it lies in the input in one piece */
        n = ws_frame_parse(in->data, in->len, &r->frame);
        if (n > 0)
            take(in, (size_t)n);
    }
    while (n == 0 && in->len > 0) {
        r->head[r->head_len++] = *take(in, 1).data;
        n = ws_frame_parse(r->head, r->head_len, &r->frame);
    }
    if (n < 0)
        return tell_error(r, e, CODE_PROTOCOL, "frame length not allowed");
    return n > 0 && begin_frame(r, e);
}

/* ---- payloads ---- */

/* True if it told an event: there is none for an empty piece inside a message. */
static bool read_data(struct ws_reader *r, struct span *in, struct ws_event *e)
{
    uint64_t left = r->frame.length;
    struct span piece = take(in, left < in->len ? (size_t)left : in->len);
    uint8_t *out = r->out != NULL ? r->out : piece.data;
    if (r->frame.masked)
        ws_frame_mask_to(out, piece.data, piece.len, r->frame.key, r->frame_read);
    else if (out != piece.data)
        memmove(out, piece.data, piece.len);
    piece.data = out;
    r->frame_read = (uint8_t)(r->frame_read + piece.len);
    r->frame.length = left - piece.len;

    bool is_frame_end = r->frame.length == 0;
    bool is_last = is_frame_end && r->frame.fin;
    if (r->message_opcode == WS_TEXT &&
        (!utf8_feed(&r->utf8, piece.data, piece.len) || (is_last && !utf8_is_complete(&r->utf8))))
        return tell_error(r, e, CODE_NOT_UTF8, "text is not UTF-8");

    *e = (struct ws_event){.type = WS_EVENT_DATA,
                           .opcode = r->message_opcode,
                           .is_first = !r->message_started,
                           .is_last = is_last,
                           .payload = piece};
    if (is_frame_end)
        r->state = STATE_HEADER;
    if (is_last)
        r->message_opcode = 0;
    if (piece.len == 0 && !is_last)
        return false;
    r->message_started = true;
    return true;
}

static bool tell_close(struct ws_reader *r, struct span payload, struct ws_event *e)
{
    uint16_t code = WS_CODE_NONE;
    if (payload.len == 1)
        return tell_error(r, e, CODE_PROTOCOL, "Close with half a code");
    if (payload.len > 1) {
        const uint8_t *number = take(&payload, 2).data;
        struct utf8 text = {0};
        code = (uint16_t)(number[0] << 8 | number[1]);
        if (!ws_close_code_is_valid(code))
            return tell_error(r, e, CODE_PROTOCOL, "Close code not allowed");
        if (!utf8_feed(&text, payload.data, payload.len) || !utf8_is_complete(&text))
            return tell_error(r, e, CODE_NOT_UTF8, "Close reason is not UTF-8");
    }
    r->state = STATE_OVER;
    *e = (struct ws_event){.type = WS_EVENT_CLOSE, .code = code, .payload = payload};
    return true;
}

/* False when out of memory. */
static bool collect(struct ws_reader *r, struct span piece)
{
    if (r->collected == NULL)
        r->collected = calloc(1, WS_CONTROL_MAX);
    if (r->collected == NULL)
        return false;
    memcpy(r->collected + r->frame_read, piece.data, piece.len);
    r->frame_read = (uint8_t)(r->frame_read + piece.len);
    return true;
}

/* True if the control frame is whole, or there is no memory for a part of it, and told an event. */
static bool read_control(struct ws_reader *r, struct span *in, struct ws_event *e)
{
    size_t left = (size_t)r->frame.length;
    struct span payload = take(in, left < in->len ? left : in->len);
    bool is_whole = payload.len == left;
    r->frame.length -= payload.len;
    /* the usual case: it lies in the input in one piece */
    if (r->frame_read > 0 || !is_whole) {
        if (!collect(r, payload))
            return tell_error(r, e, CODE_NO_MEMORY, "out of memory");
        payload = (struct span){r->collected, r->frame_read};
    }
    if (!is_whole)
        return false;

    if (r->frame.masked)
        ws_frame_mask(payload.data, payload.len, r->frame.key, 0);
    r->state = STATE_HEADER;
    if (r->frame.opcode == WS_CLOSE)
        return tell_close(r, payload, e);
    *e = (struct ws_event){.type = r->frame.opcode == WS_PING   ? WS_EVENT_PING
                                   : r->frame.opcode == WS_PONG ? WS_EVENT_PONG
                                                                : WS_EVENT_CONTROL,
                           .payload = payload};
    return true;
}

bool ws_reader_next(struct ws_reader *r, struct span *in, struct ws_event *event)
{
    if (r->collected != NULL && r->state != STATE_CONTROL)
        ws_reader_clear(r); /* the last event told it */
    while (r->state != STATE_OVER) {
        /* a payload of no bytes needs no input */
        bool is_empty = r->state != STATE_HEADER && r->frame.length == 0;
        if (in->len == 0 && !is_empty)
            return false;
        if (r->state == STATE_HEADER ? read_header(r, in, event)
            : r->state == STATE_DATA ? read_data(r, in, event)
                                     : read_control(r, in, event))
            return true;
    }
    take(in, in->len);
    return false;
}
