/* wire/ws_frame.h */
#include "ws_frame.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* RFC 6455 5.7, the headers of its examples */
static void test_rfc_examples(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[WS_FRAME_HEADER_MAX];
        int size;
        struct ws_frame_header header;
    } cases[] = {
        {{0x81, 0x05}, 2, {.fin = true, .opcode = WS_TEXT, .length = 5}},
        {{0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D},
         6,
         {.fin = true,
          .opcode = WS_TEXT,
          .masked = true,
          .key = {0x37, 0xFA, 0x21, 0x3D},
          .length = 5}},
        {{0x01, 0x03}, 2, {.opcode = WS_TEXT, .length = 3}},
        {{0x80, 0x02}, 2, {.fin = true, .opcode = WS_CONTINUATION, .length = 2}},
        {{0x89, 0x05}, 2, {.fin = true, .opcode = WS_PING, .length = 5}},
        {{0x8A, 0x85, 0x37, 0xFA, 0x21, 0x3D},
         6,
         {.fin = true,
          .opcode = WS_PONG,
          .masked = true,
          .key = {0x37, 0xFA, 0x21, 0x3D},
          .length = 5}},
        {{0x82, 0x7E, 0x01, 0x00}, 4, {.fin = true, .opcode = WS_BINARY, .length = 256}},
        {{0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0},
         10,
         {.fin = true, .opcode = WS_BINARY, .length = 65536}},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct ws_frame_header h;
        uint8_t out[WS_FRAME_HEADER_MAX];
        int size = cases[i].size;
        for (int n = 0; n < size; n++)
            assert_int_equal(ws_frame_parse(cases[i].bytes, (size_t)n, &h), 0);
        assert_int_equal(ws_frame_parse(cases[i].bytes, WS_FRAME_HEADER_MAX, &h), size);
        assert_int_equal(h.fin, cases[i].header.fin);
        assert_int_equal(h.opcode, cases[i].header.opcode);
        assert_int_equal(h.masked, cases[i].header.masked);
        assert_int_equal(h.length, cases[i].header.length);
        assert_memory_equal(h.key, cases[i].header.key, 4);
        assert_int_equal(ws_frame_write(&cases[i].header, out), size);
        assert_memory_equal(out, cases[i].bytes, (size_t)size);
    }
}

static void test_written_is_read(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {0,        1,     125,   126,   127,        255,
                                       65534,    65535, 65536, 65537, UINT32_MAX, UINT64_C(1) << 32,
                                       INT64_MAX};
    for (unsigned first = 0; first < 256; first++) {
        for (size_t i = 0; i < 2 * array_count(lengths); i++) {
            struct ws_frame_header back, h = {.fin = first >> 7 != 0,
                                              .rsv = first >> 4 & 7,
                                              .opcode = first & 15,
                                              .masked = i % 2 == 1,
                                              .length = lengths[i / 2]};
            if (h.masked)
                memcpy(h.key, "\xFF\x00\x7F\x80", 4);
            uint8_t out[WS_FRAME_HEADER_MAX];
            size_t size = ws_frame_write(&h, out);
            assert_int_equal(out[0], first);
            assert_int_equal(ws_frame_parse(out, size, &back), size);
            assert_int_equal(ws_frame_parse(out, size - 1, &back), 0);
            assert_int_equal(back.fin, h.fin);
            assert_int_equal(back.rsv, h.rsv);
            assert_int_equal(back.opcode, h.opcode);
            assert_int_equal(back.masked, h.masked);
            assert_int_equal(back.length, h.length);
            assert_memory_equal(back.key, h.key, 4);
        }
    }
}

static int parse_64(uint64_t length, size_t bytes_there)
{
    uint8_t in[10] = {0x82, 0x7F};
    for (size_t i = 0; i < 8; i++)
        in[2 + i] = (uint8_t)(length >> (56 - 8 * i));
    struct ws_frame_header h;
    int r = ws_frame_parse(in, bytes_there, &h);
    if (r > 0)
        assert_int_equal(h.length, length);
    return r;
}

static void test_22_huge_lengths(void **state)
{
    (void)state;
    assert_int_equal(parse_64(UINT64_C(1) << 63, 10), -EPROTO);
    assert_int_equal(parse_64(UINT64_C(1) << 63, 3), -EPROTO); /* at once */
    assert_int_equal(parse_64(UINT64_MAX, 10), -EPROTO);
    assert_int_equal(parse_64(UINT64_MAX - 3, 10), -EPROTO);
    assert_int_equal(parse_64(INT64_MAX, 10), 10);
    assert_int_equal(parse_64(UINT64_C(1) << 32, 10), 10);
}

static void test_24_lengths_must_be_minimal(void **state)
{
    (void)state;
    struct ws_frame_header h;
    for (unsigned n = 0; n < 126; n++) {
        uint8_t in[] = {0x82, 0x7E, 0x00, (uint8_t)n};
        assert_int_equal(ws_frame_parse(in, sizeof(in), &h), -EPROTO);
    }
    assert_int_equal(parse_64(0, 10), -EPROTO);
    assert_int_equal(parse_64(200, 10), -EPROTO);
    assert_int_equal(parse_64(65535, 10), -EPROTO);
    assert_int_equal(parse_64(65536, 10), 10);
    assert_int_equal(ws_frame_parse((const uint8_t[]){0x82, 0x7E, 0, 126}, 4, &h), 4);
}

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 167 + 13);
}

/* Against the definition in RFC 6455 5.3, at every alignment, behind guard bytes. */
static void expect_masked(size_t offset, size_t len, uint64_t phase)
{
    static const uint8_t key[4] = {0x37, 0xFA, 0x21, 0x3D};
    uint8_t *buffer = malloc(offset + len + 1);
    for (size_t i = 0; i < offset + len + 1; i++)
        buffer[i] = pattern(i);
    ws_frame_mask(buffer + offset, len, key, phase);
    for (size_t i = 0; i < offset + len + 1; i++) {
        bool is_payload = i >= offset && i < offset + len;
        uint8_t expected = pattern(i) ^ (is_payload ? key[(phase + i - offset) % 4] : 0);
        if (buffer[i] != expected)
            fail_msg("offset %zu, length %zu, byte %zu", offset, len, i);
    }
    ws_frame_mask(buffer + offset, len, key, phase);
    for (size_t i = 0; i < offset + len + 1; i++)
        assert_int_equal(buffer[i], pattern(i));
    free(buffer);
}

static void test_mask_every_alignment(void **state)
{
    (void)state;
    for (size_t offset = 0; offset < 17; offset++)
        for (size_t len = 0; len < 150; len++)
            expect_masked(offset, len, len % 5);
    for (uint64_t phase = 0; phase < 8; phase++)
        expect_masked(1, 70001, phase);
    expect_masked(3, 100, (UINT64_C(1) << 32) + 3);
    expect_masked(3, 100, UINT64_MAX - 1);
}

/* Over the header before it, however short that is. */
static void test_mask_to_a_place_before(void **state)
{
    (void)state;
    static const uint8_t key[4] = {0x37, 0xFA, 0x21, 0x3D};
    uint8_t buffer[300];
    for (size_t gap = 0; gap < 70; gap++) {
        for (size_t len = 0; len < 200; len += 1 + len / 9) {
            for (size_t i = 0; i < sizeof(buffer); i++)
                buffer[i] = pattern(i);
            ws_frame_mask_to(buffer, buffer + gap, len, key, gap);
            for (size_t i = 0; i < sizeof(buffer); i++)
                assert_int_equal(buffer[i],
                                 i < len ? pattern(i + gap) ^ key[(gap + i) % 4] : pattern(i));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_examples),
        cmocka_unit_test(test_written_is_read),
        cmocka_unit_test(test_22_huge_lengths),
        cmocka_unit_test(test_24_lengths_must_be_minimal),
        cmocka_unit_test(test_mask_every_alignment),
        cmocka_unit_test(test_mask_to_a_place_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
