/* A duplex that passes everything through to the one below it, and reads the WebSocket frames that
 * pass: so that the demo shows what is on the wire, and not what somebody says he sent. */
#ifndef TIDEGATE_WIRE_TAP_H
#define TIDEGATE_WIRE_TAP_H

#include "duplex.h"
#include "scheduler.h"
#include "timeline.h"
#include "ws_message.h"

/* Sits on the client's end of a WebSocket, after the handshake, and owns `lower`. NULL when out of
 * memory: `lower` is untouched. */
struct duplex *wire_tap_new(struct scheduler *s, struct duplex *lower, enum ws_carrier carrier,
                            struct timeline *timeline);

/* Bytes from the server that came before the tap was there. Not changed. */
void wire_tap_show_early(struct duplex *tap, struct span bytes);

#endif
