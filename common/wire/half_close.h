/* The half-close control messages, FIN and WINDOW (docs/protocol.md section 4): text to value and
 * back. Which frame carries the text is the carrier's business (ws_message.h), what it means
 * flow/ws_duplex.h's. */
#ifndef TIDEGATE_HALF_CLOSE_H
#define TIDEGATE_HALF_CLOSE_H

#include "span.h"

#define HALF_CLOSE_EXTENSION   "tidegate-half-close"
#define HALF_CLOSE_SUBPROTOCOL "v1.tidegate"
#define HALF_CLOSE_WINDOWED    HALF_CLOSE_SUBPROTOCOL ".window." /* and a number, from 1 on */
#define HALF_CLOSE_NUMBER_MAX  UINT64_C(9007199254740991)        /* 2^53 - 1 */
#define HALF_CLOSE_TEXT_MAX    32 /* the longest message written here: "WINDOW " and 16 digits */

enum half_close_type {
    HALF_CLOSE_FIN,     /* the sender's stream is complete after `number` bytes */
    HALF_CLOSE_WINDOW,  /* the sender takes the other's stream up to `number` bytes */
    HALF_CLOSE_IGNORED, /* unknown and optional (a lower-case word), well formed: ignore it */
    HALF_CLOSE_INVALID  /* malformed, or unknown and critical: abort with 4001 */
};

struct half_close_message {
    enum half_close_type type;
    uint64_t number;
};

/* `text` is one whole control message, 125 bytes at most.
 * word = one or more ASCII letters, digits or '-', beginning with a letter; exactly one SP; an
 * argument. An unknown lower-case word's argument is any printable ASCII. */
struct half_close_message half_close_parse(struct span text);

/* Writes the message, not terminated; returns its length. type is FIN or WINDOW. */
size_t half_close_write(struct half_close_message m, uint8_t out[HALF_CLOSE_TEXT_MAX]);

#endif
