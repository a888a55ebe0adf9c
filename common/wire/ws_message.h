/* The reader of one WebSocket direction: bytes in, one event a call, any split of the input.
 *
 * Holds RFC 6455's rules of sequence: masking by role, fragmentation, control frames in between,
 * Close codes, UTF-8 of Text messages (fail-fast). Payload of data messages is streamed, unmasked
 * in the caller's buffer and never kept; no length a peer declares is believed. The payload of
 * a control frame (125 bytes at most), too, is told where it lies; only one that comes in pieces is
 * collected, in memory that the reader has for as long as that takes.
 *
 * The half-close carriers (docs/protocol.md section 2) enter in one way only: they say what is
 * collected and told as WS_EVENT_CONTROL instead of being an error or data.
 *
 * Usage:
 *     struct span in = {bytes, len};
 *     struct ws_event e;
 *     while (ws_reader_next(&reader, &in, &e)) ... ;      // in.data, in.len move forward
 *     ws_reader_clear(&reader);                           // at the end of all
 */
#ifndef TIDEGATE_WS_MESSAGE_H
#define TIDEGATE_WS_MESSAGE_H

#include "span.h"
#include "utf8.h"
#include "ws_frame.h"

enum ws_role { WS_SERVER, WS_CLIENT }; /* who we are: a server reads masked frames, a client not */

enum ws_carrier {
    WS_PLAIN,      /* no half-close: 0xB is an error, Text is data */
    WS_EXTENSION,  /* 0xB is control, Text is data */
    WS_SUBPROTOCOL /* Text is control, 0xB is an error */
};

enum ws_event_type {
    WS_EVENT_DATA,  /* a piece of a data message, maybe empty: opcode, payload, is_first, is_last */
    WS_EVENT_PING,  /* payload: to be echoed */
    WS_EVENT_PONG,  /* payload */
    WS_EVENT_CLOSE, /* code, payload is the reason; nothing that comes after it is read */
    WS_EVENT_CONTROL, /* payload is the text of a half-close control message */
    WS_EVENT_ERROR    /* code to close with, what went wrong; nothing that comes after it is read */
};

#define WS_CODE_NONE 1005 /* a Close without a code (never on the wire) */

struct ws_event {
    enum ws_event_type type;
    uint8_t opcode;         /* DATA: WS_TEXT or WS_BINARY, of the message, in every piece */
    bool is_first, is_last; /* DATA: begins, ends the message. An empty message is both, once */
    struct span payload; /* in the caller's buffer, or the reader's memory: valid until next call */
    uint16_t code;       /* CLOSE: 1000 to 4999 or WS_CODE_NONE. ERROR: 1002, 1007, 1011, 4001 */
    const char *problem; /* ERROR: for people, static, ASCII */
};

struct ws_reader {
    uint8_t *out; /* where the next payload of data is put, at or before where it lies: for the
                     caller to set, who so joins payloads. NULL: where it lies */
    enum ws_role role : 8;
    enum ws_carrier carrier : 8;
    uint8_t state;          /* private from here on */
    uint8_t message_opcode; /* of the message under way, 0 if none */
    bool message_started;   /* a piece of it has been told */
    uint8_t head_len;
    struct utf8 utf8;
    uint8_t head[WS_FRAME_HEADER_MAX];
    uint8_t frame_read;           /* payload bytes of this frame consumed, modulo 256 */
    struct ws_frame_header frame; /* its length: what is left of it */
    uint8_t *collected;           /* of a control frame that comes in pieces; heap, or NULL */
};

void ws_reader_init(struct ws_reader *r, enum ws_role role, enum ws_carrier carrier);

/* Frees what has been collected. The reader is not used any more, but may be cleared again. */
void ws_reader_clear(struct ws_reader *r);

/* Consumes from the front of `*in` and fills `*event`. True: an event is there, call again. False:
 * all input is used up (or the reader has told CLOSE or ERROR before and discards the rest).
 *
 * Errors: 1002 for what RFC 6455 forbids (also unmasked to a server, masked to a client, RSV bits,
 * lengths not minimal, Close codes that may not be on the wire), 1007 for Text or a reason that is
 * not UTF-8, 4001 for a control message that is fragmented, longer than 125 bytes, or (extension)
 * between the fragments of a message; 1011 when out of memory, for a control frame in pieces. A bad
 * opcode or length is told as soon as its header is there. */
bool ws_reader_next(struct ws_reader *r, struct span *in, struct ws_event *event);

/* True if the bytes read so far end between frames and between messages. */
bool ws_reader_is_between_messages(const struct ws_reader *r);

/* Whether `code` may be sent in a Close frame (RFC 6455 7.4, and the IANA registry: 1000 to 1003,
 * 1007 to 1014, 3000 to 4999). */
bool ws_close_code_is_valid(uint16_t code);

#endif
