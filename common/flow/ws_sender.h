/* The writing half of a WebSocket: payload and control messages in, frames out to the lower duplex,
 * in order.
 *
 * Knows framing, masking, the peer's WINDOW, and that a Close frame is the last. What ends and
 * breaks mean is ws_duplex.c's business. */
#ifndef TIDEGATE_WS_SENDER_H
#define TIDEGATE_WS_SENDER_H

#include "duplex.h"
#include "half_close.h"
#include "queue.h"
#include "ws_message.h"

#define WS_SENDER_SPANS_MAX 8 /* spans of one write, with its header */

struct ws_pong {
    uint8_t len;
    uint8_t payload[WS_CONTROL_MAX];
};

struct ws_sender {
    struct duplex *lower; /* NULL once it is gone: everything is swallowed */
    uint64_t bytes;       /* payload sent, as FIN counts it */
    uint64_t window;      /* the peer takes this many; UINT64_MAX until it says so */
    uint64_t unconfirmed; /* payload sent since the peer's last sign of life; its owner resets it */
    struct queue blocked; /* payload behind the window */
    struct ws_pong *pong; /* to the last ping, while the lower is full; heap, or NULL */
    enum ws_role role : 8;
    enum ws_carrier carrier : 8;
    bool is_lower_full;
    bool has_closed; /* Close was sent: nothing more goes out */
    bool has_failed; /* no randomness for a masking key: nothing may go out any more */
};

void ws_sender_init(struct ws_sender *s, struct duplex *lower, enum ws_role role,
                    enum ws_carrier carrier);
void ws_sender_clear(struct ws_sender *s); /* frees what is held; the lower is not touched */

/* One Binary message; bytes may be changed (masking). What the window holds back is copied. 0 or
 * -ENOMEM. */
int ws_sender_data(struct ws_sender *s, const struct span *spans, size_t count);

/* FIN or WINDOW, as the carrier has it (not WS_PLAIN). */
void ws_sender_control(struct ws_sender *s, struct half_close_message m);

void ws_sender_ping(struct ws_sender *s);

/* Echoes a ping's payload; while the lower is full only the last one is kept, and sent later. */
void ws_sender_pong(struct ws_sender *s, struct span payload);

/* The Close frame, once; `code` 0 or WS_CODE_NONE sends none. Payload behind the window is dropped.
 */
void ws_sender_close(struct ws_sender *s, uint16_t code, const char *reason);

/* The peer takes up to `window` bytes; a smaller number than before is ignored. Sends what it now
 * may. */
void ws_sender_window(struct ws_sender *s, uint64_t window);

/* The lower is no longer full. Sends the pong that waited for that; payload goes on when it is told
 * to, behind whatever else is to come first. */
void ws_sender_drained(struct ws_sender *s);
void ws_sender_go_on(struct ws_sender *s);

/* Payload written has not all gone to the lower, or the lower is full. */
bool ws_sender_is_full(const struct ws_sender *s);

#endif
