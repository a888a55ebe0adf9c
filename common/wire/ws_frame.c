#include "ws_frame.h"

#include <errno.h>
#include <string.h>

#define LENGTH_16 126 /* in the 7-bit length: 16 bits follow */
#define LENGTH_64 127 /* 64 bits follow */

static uint64_t read_big_endian(const uint8_t *in, size_t len)
{
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++)
        value = value << 8 | in[i];
    return value;
}

static void write_big_endian(uint64_t value, uint8_t *out, size_t len)
{
    for (size_t i = len; i > 0; i--) {
        out[i - 1] = (uint8_t)(value & 0xFF);
        value >>= 8;
    }
}

int ws_frame_parse(const uint8_t *in, size_t len, struct ws_frame_header *out)
{
    if (len < 2)
        return 0;
    uint8_t short_length = in[1] & 0x7F;
    size_t extra = short_length == LENGTH_64 ? 8 : short_length == LENGTH_16 ? 2 : 0;
    if (extra == 8 && len > 2 && (in[2] & 0x80) != 0)
        return -EPROTO;
    if (len < 2 + extra)
        return 0;
    uint64_t length = extra > 0 ? read_big_endian(in + 2, extra) : short_length;
    if ((extra == 2 && length < LENGTH_16) || (extra == 8 && length <= UINT16_MAX))
        return -EPROTO;

    bool masked = (in[1] & 0x80) != 0;
    size_t size = 2 + extra + (masked ? 4 : 0);
    if (len < size)
        return 0;
    *out = (struct ws_frame_header){.fin = (in[0] & 0x80) != 0,
                                    .rsv = (in[0] >> 4) & 7,
                                    .opcode = in[0] & 15,
                                    .masked = masked,
                                    .length = length};
    if (masked)
        memcpy(out->key, in + 2 + extra, 4);
    return (int)size;
}

size_t ws_frame_write(const struct ws_frame_header *h, uint8_t out[WS_FRAME_HEADER_MAX])
{
    size_t extra = h->length > UINT16_MAX ? 8 : h->length >= LENGTH_16 ? 2 : 0;
    uint8_t short_length = extra == 8   ? LENGTH_64
                           : extra == 2 ? LENGTH_16
                                        : (uint8_t)(h->length & 0x7F);
    out[0] = (uint8_t)((h->fin ? 0x80 : 0) | (h->rsv & 7) << 4 | (h->opcode & 15));
    out[1] = (uint8_t)((h->masked ? 0x80 : 0) | short_length);
    write_big_endian(h->length, out + 2, extra);
    if (h->masked)
        memcpy(out + 2 + extra, h->key, 4);
    return 2 + extra + (h->masked ? 4 : 0);
}

void ws_frame_mask_to(uint8_t *out, const uint8_t *in, size_t len, const uint8_t key[4],
                      uint64_t phase)
{
    uint8_t turned[8]; /* the key as it lies over the next bytes, twice */
    for (size_t i = 0; i < sizeof(turned); i++)
        turned[i] = key[(phase + i) & 3];
    uint64_t mask;
    memcpy(&mask, turned, sizeof(mask));

    /* memcpy: no alignment is promised, and none is needed. The wide step is in the vector form of
     * gcc and clang, two registers of those that every x86-64 and ARMv8 has: of a loop over words
     * gcc 12 makes scalar code at -O2, and a wider vector it keeps in memory; both half as fast. */
    size_t i = 0;
    uint64_t first __attribute__((vector_size(16))), second __attribute__((vector_size(16)));
    for (; len - i >= sizeof(first) + sizeof(second); i += sizeof(first) + sizeof(second)) {
        memcpy(&first, in + i, sizeof(first));
        memcpy(&second, in + i + sizeof(first), sizeof(second));
        first ^= mask;
        second ^= mask;
        memcpy(out + i, &first, sizeof(first));
        memcpy(out + i + sizeof(first), &second, sizeof(second));
    }
    for (; len - i >= sizeof(mask); i += sizeof(mask)) {
        uint64_t word;
        memcpy(&word, in + i, sizeof(word));
        word ^= mask;
        memcpy(out + i, &word, sizeof(word));
    }
    for (; i < len; i++)
        out[i] = in[i] ^ turned[i & 7];
}
