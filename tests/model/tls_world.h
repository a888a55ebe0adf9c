/* Two programs that talk TLS to each other, and a network in between that may do what it likes with
 * the bytes, driven by a schedule of bytes on a virtual clock; then the properties that TLS must
 * keep whatever the network does, and those it must have where the network does nothing.
 *
 *   client -- TLS -- pipe -- network -- pipe -- TLS -- server
 */
#ifndef TIDEGATE_TLS_WORLD_H
#define TIDEGATE_TLS_WORLD_H

#include "tls_config.h"

#include <stdbool.h>

/* What one byte of a schedule does: its low bits by this table, its high bits the amount. The
 * lowest bit of the amount says who, where that is open: the client or the server. */
enum tls_world_op {
    TLS_WORLD_CLIENT_SEND,
    TLS_WORLD_SERVER_SEND,
    TLS_WORLD_SEND_MUCH,
    TLS_WORLD_END,
    TLS_WORLD_CLOSE, /* at once, whatever has not come yet */
    TLS_WORLD_ABORT,
    TLS_WORLD_PAUSE,     /* or go on */
    TLS_WORLD_STEP_UP,   /* all pipes, from the client to the server, more than once */
    TLS_WORLD_STEP_DOWN, /* ... and back */
    TLS_WORLD_STEP_ONE,  /* one pipe, one direction, a few bytes */
    TLS_WORLD_WAIT,
    TLS_WORLD_FLIP,   /* a bit of what comes next */
    TLS_WORLD_DROP,   /* some bytes of what comes next */
    TLS_WORLD_INSERT, /* some bytes before that, or what had come last once more */
    TLS_WORLD_CUT,    /* an end or a break that nobody caused */
    TLS_WORLD_ARM,    /* the op in the next byte is done in an event */
    TLS_WORLD_OP_COUNT
};

#define TLS_WORLD_BYTE(op, amount) ((uint8_t)((op) | ((amount) << 4)))

struct tls_world_options {
    struct tls_config *const *configs; /* as model_tls_init makes them */
    size_t capacity;                   /* of the pipes */
    bool keeps_lower_open;             /* the client's finish() is close_notify only */
    bool asks_client;                  /* the server does, for a certificate */
    bool is_shaken;                    /* the schedule begins behind the handshake */
    /* NULL, or called before the first duplex is made: from here on allocations may fail, and only
     * the safety properties are asked for. */
    void (*on_ready)(void);
};

/* Runs the schedule, then lets everything settle. NULL, or the property that does not hold. */
const char *tls_world_run(const struct tls_world_options *options, const uint8_t *schedule,
                          size_t len);

#endif
