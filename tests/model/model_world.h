/* Two programs and what lies between them, driven by a schedule of bytes on a virtual clock; then
 * the properties that a relay must have. One model for exhaustive and random unit tests and for the
 * fuzzer.
 *
 *   WORLD_RELAY   A -- pipe -- relay -- pipe -- B
 *   WORLD_TUNNEL  A -- pipe -- relay, WebSocket client -- pipe -- WebSocket server, relay -- pipe
 * -- B
 *
 * With TLS: between the WebSockets, and to B.
 */
#ifndef TIDEGATE_MODEL_WORLD_H
#define TIDEGATE_MODEL_WORLD_H

#include "tls_config.h"
#include "ws_message.h"

enum world_kind { WORLD_RELAY, WORLD_TUNNEL };

/* What one byte of a schedule does: its low bits by this table, its high bits the amount. */
enum world_op {
    WORLD_A_SEND,
    WORLD_B_SEND,
    WORLD_A_END,
    WORLD_B_END,
    WORLD_A_ABORT,
    WORLD_B_ABORT,
    WORLD_A_PAUSE, /* stop or go on reading */
    WORLD_B_PAUSE,
    WORLD_STEP_UP,   /* all pipes, from A's side to B's */
    WORLD_STEP_DOWN, /* ... and back */
    WORLD_STEP_ONE,  /* one pipe, one direction, a few bytes */
    WORLD_WAIT,      /* time passes */
    WORLD_BREAK,     /* the middle pipe is lost (relay: the one to B) */
    WORLD_OP_COUNT
};

#define WORLD_BYTE(op, amount) ((uint8_t)((op) | ((amount) << 4)))

struct world_options {
    enum world_kind kind;
    enum ws_carrier carrier;       /* tunnel: WS_EXTENSION or WS_SUBPROTOCOL */
    uint32_t window;               /* tunnel: both streams begin with windows of so much; or 0 */
    size_t capacity;               /* of the pipes */
    struct tls_config *const *tls; /* NULL: without; or as model_tls_init makes them */
    /* NULL, or called when all is connected: from here on allocations may fail, and only the safety
     * properties are asked for. */
    void (*on_ready)(void);
};

/* Runs the schedule, then lets everything settle. NULL, or the property that does not hold. */
const char *world_run(const struct world_options *options, const uint8_t *schedule, size_t len);

#endif
