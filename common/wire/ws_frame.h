/* One WebSocket frame header, and masking (RFC 6455 section 5.2, 5.3). Pure functions: no state, no
 * I/O, no allocation. What may follow what is ws_message.h's subject. */
#ifndef TIDEGATE_WS_FRAME_H
#define TIDEGATE_WS_FRAME_H

#include "span.h"

#include <stdbool.h>

#define WS_FRAME_HEADER_MAX 14  /* 2 + 8 (length) + 4 (masking key) */
#define WS_CONTROL_MAX      125 /* RFC 6455 5.5: payload of a control frame */

enum ws_opcode {
    WS_CONTINUATION = 0x0,
    WS_TEXT = 0x1,
    WS_BINARY = 0x2,
    WS_CLOSE = 0x8,
    WS_PING = 0x9,
    WS_PONG = 0xA,
    WS_HALF_CLOSE = 0xB /* docs/protocol.md section 4, only where negotiated */
};

struct ws_frame_header {
    bool fin;
    uint8_t rsv;    /* the three reserved bits, 0 to 7 */
    uint8_t opcode; /* 0 to 15, known or not */
    bool masked;
    uint8_t key[4]; /* if masked */
    uint64_t length;
};

/* Reads a header from the first `len` bytes of `in`. Returns its size (2 to 14), 0 if more bytes
 * are needed, or -EPROTO for a length that RFC 6455 forbids: top bit set, or not shortest. */
int ws_frame_parse(const uint8_t *in, size_t len, struct ws_frame_header *out);

/* Writes the header in its shortest form; returns its size. `rsv` is written too. */
size_t ws_frame_write(const struct ws_frame_header *h, uint8_t out[WS_FRAME_HEADER_MAX]);

/* XORs `len` bytes with the key, which starts at byte `phase & 3` of itself: `phase` is
 * how many payload bytes of this frame came before. Masking and unmasking are the same. Works on
 * wide words at any alignment. `out` is `in`, or before it, or apart from it. */
void ws_frame_mask_to(uint8_t *out, const uint8_t *in, size_t len, const uint8_t key[4],
                      uint64_t phase);

/* In place. */
static inline void ws_frame_mask(uint8_t *data, size_t len, const uint8_t key[4], uint64_t phase)
{
    ws_frame_mask_to(data, data, len, key, phase);
}

#endif
