#include "utf8.h"

#include <string.h>

/* How many bytes of ASCII begin `data`, to the next whole word: a cheap lower bound. */
static size_t ascii_run(const uint8_t *data, size_t len)
{
    const uint64_t top_bits = UINT64_C(0x8080808080808080);
    size_t i = 0;
    for (; len - i >= 32; i += 32) {
        uint64_t w[4];
        memcpy(w, data + i, sizeof(w));
        if (((w[0] | w[1] | w[2] | w[3]) & top_bits) != 0)
            break;
    }
    for (; len - i >= 8; i += 8) {
        uint64_t w;
        memcpy(&w, data + i, sizeof(w));
        if ((w & top_bits) != 0)
            break;
    }
    return i;
}

/* The first byte of a character. False if none can begin with it. */
static bool begin_character(struct utf8 *u, uint8_t byte)
{
    u->low = 0x80;
    u->high = 0xBF;
    if (byte >= 0xC2 && byte <= 0xDF) {
        u->need = 1;
    } else if (byte >= 0xE0 && byte <= 0xEF) {
        u->need = 2;
        if (byte == 0xE0)
            u->low = 0xA0; /* below: overlong */
        else if (byte == 0xED)
            u->high = 0x9F; /* above: surrogates */
    } else if (byte >= 0xF0 && byte <= 0xF4) {
        u->need = 3;
        if (byte == 0xF0)
            u->low = 0x90; /* below: overlong */
        else if (byte == 0xF4)
            u->high = 0x8F; /* above: beyond U+10FFFF */
    } else {
        return false;
    }
    return true;
}

bool utf8_feed(struct utf8 *u, const uint8_t *data, size_t len)
{
    size_t i = 0;
    while (i < len) {
        uint8_t byte = data[i];
        if (u->need > 0) {
            if (byte < u->low || byte > u->high)
                return false;
            u->need--;
            u->low = 0x80;
            u->high = 0xBF;
            i++;
        } else if (byte < 0x80) {
            size_t run = ascii_run(data + i, len - i);
            i += run > 0 ? run : 1;
        } else {
            if (!begin_character(u, byte))
                return false;
            i++;
        }
    }
    return true;
}

bool utf8_is_complete(const struct utf8 *u)
{
    return u->need == 0;
}
