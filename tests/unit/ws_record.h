/* What a WebSocket reader says of some bytes, as text to compare: for unit tests and fuzzers.
 *
 *   data 2 68656c6c6f .      a whole message: opcode, payload, end
 *   ping 68 | pong | close 1000 62 | control 46494e2030 | error 1002
 *
 * Pieces of a message are joined, since splits of the input must not matter; for the same reason an
 * unfinished Text message is left out when it turns out not to be UTF-8 (a reader may have told
 * some of it before). What no input may ever cause aborts the program. */
#ifndef TIDEGATE_WS_RECORD_H
#define TIDEGATE_WS_RECORD_H

#include "ws_message.h"

/* Feeds `bytes` as a first piece of `first` bytes, then in pieces of `step` (> 0), each in a block
 * of exactly its size. The result is malloc'd. */
char *ws_record(enum ws_role role, enum ws_carrier carrier, struct span bytes, size_t first,
                size_t step);

/* Unmasked bytes of frames, well formed or not, as a client would send them: appends the frame to
 * `out`. Returns the size. `out` has 14 + len bytes. */
size_t ws_record_frame(uint8_t first_byte, const uint8_t *key, const void *payload, size_t len,
                       uint8_t *out);

#endif
