/* The frame and message reader: no split of the input changes what it says, and frames mean the
 * same masked and unmasked.
 *
 * Input: a byte of options (role, carrier), where to split (two bytes), the size of the pieces
 * behind that, then what the peer sends. */
#include "fuzz.h"
#include "ws_record.h"

#include <string.h>

#define PROLOGUE 4

static void check_mask(const uint8_t *bytes, size_t len, uint64_t phase)
{
    uint8_t key[4] = {0xA5, 0x00, 0xFF, (uint8_t)phase};
    uint8_t *one = malloc(len + 1), *two = malloc(len + 1);
    size_t cut = len > 0 ? (size_t)(phase % len) : 0;
    FUZZ_CHECK(one != NULL && two != NULL);
    if (len > 0) {
        memcpy(one, bytes, len);
        memcpy(two, bytes, len);
    }
    ws_frame_mask(one, len, key, phase);
    ws_frame_mask(two, cut, key, phase);
    ws_frame_mask(two + cut, len - cut, key, phase + cut);
    FUZZ_CHECK(memcmp(one, two, len) == 0);
    ws_frame_mask(one, len, key, phase);
    FUZZ_CHECK(len == 0 || memcmp(one, bytes, len) == 0);
    free(one);
    free(two);
}

/* What a client would send in place of a server's `bytes`. Ends where they cannot be read as
 * frames. */
static struct span remask(struct span bytes, const uint8_t key[4])
{
    /* a header grows by four bytes, and is two at least */
    struct span out = {malloc(bytes.len * 3 + WS_FRAME_HEADER_MAX), 0};
    FUZZ_CHECK(out.data != NULL);
    while (bytes.len > 0) {
        struct ws_frame_header h;
        int n = ws_frame_parse(bytes.data, bytes.len, &h);
        if (n <= 0 || h.masked)
            break;
        bytes.data += n;
        bytes.len -= (size_t)n;
        size_t there = h.length < bytes.len ? (size_t)h.length : bytes.len;
        h.masked = true;
        memcpy(h.key, key, sizeof(h.key));
        out.len += ws_frame_write(&h, out.data + out.len);
        memcpy(out.data + out.len, bytes.data, there);
        ws_frame_mask(out.data + out.len, there, key, 0);
        out.len += there;
        bytes.data += there;
        bytes.len -= there;
    }
    return out;
}

/* The record of the same frames both ways: as far as they are frames, they are the same. */
static void check_roles(enum ws_carrier carrier, struct span bytes, size_t step)
{
    static const uint8_t key[4] = {0x01, 0x80, 0xFE, 0x55};
    struct span masked = remask(bytes, key);
    char *as_client = ws_record(WS_CLIENT, carrier, bytes, bytes.len, 1);
    char *as_server = ws_record(WS_SERVER, carrier, masked, 0, step);
    size_t len = strlen(as_server);
    FUZZ_CHECK(strncmp(as_client, as_server, len) == 0 || strstr(as_client, "error 1007") != NULL);
    free(as_client);
    free(as_server);
    free(masked.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < PROLOGUE || size > 70000)
        return 0;
    enum ws_role role = (data[0] & 1) != 0 ? WS_CLIENT : WS_SERVER;
    enum ws_carrier carrier = (enum ws_carrier)((data[0] >> 1) % 3);
    size_t step = 1 + (size_t)data[3];
    struct span bytes = {malloc(size), size - PROLOGUE};
    FUZZ_CHECK(bytes.data != NULL);
    memcpy(bytes.data, data + PROLOGUE, bytes.len);
    size_t cut = bytes.len > 0 ? ((size_t)data[1] << 8 | data[2]) % (bytes.len + 1) : 0;

    char *whole = ws_record(role, carrier, bytes, bytes.len, 1);
    char *split = ws_record(role, carrier, bytes, cut, bytes.len + 1);
    char *pieces = ws_record(role, carrier, bytes, cut, step);
    FUZZ_CHECK(strcmp(whole, split) == 0);
    FUZZ_CHECK(strcmp(whole, pieces) == 0);
    free(whole);
    free(split);
    free(pieces);

    check_mask(bytes.data, bytes.len, (uint64_t)data[1] << 32 | data[2]);
    if (role == WS_CLIENT)
        check_roles(carrier, bytes, step);
    free(bytes.data);
    return 0;
}
