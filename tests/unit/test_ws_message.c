/* wire/ws_message.h. Every case is read whole, byte by byte, and split at every point, in both
 * roles. */
#include "ws_message.h"

#include "ws_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t key[4] = {0x37, 0xFA, 0x21, 0x3D};

static void expect_record(enum ws_role role, enum ws_carrier carrier, struct span bytes,
                          size_t first, size_t step, const char *expected)
{
    char *got = ws_record(role, carrier, bytes, first, step);
    if (strcmp(got, expected) != 0)
        fail_msg("split %zu, then %zu: '%s' instead of '%s'", first, step, got, expected);
    free(got);
}

static void expect_bytes(enum ws_role role, enum ws_carrier carrier, struct span bytes,
                         const char *expected)
{
    expect_record(role, carrier, bytes, 0, 1, expected);
    expect_record(role, carrier, bytes, 0, 7, expected);
    for (size_t cut = 0; cut <= bytes.len; cut++)
        expect_record(role, carrier, bytes, cut, bytes.len + 1, expected);
}

/* Hex digits to bytes; blanks are skipped. */
static size_t from_hex(const char *hex, uint8_t *out)
{
    size_t n = 0;
    for (; *hex != '\0'; hex++) {
        if (*hex == ' ')
            continue;
        char pair[3] = {hex[0], hex[1], '\0'};
        out[n++] = (uint8_t)strtoul(pair, NULL, 16);
        hex++;
    }
    return n;
}

/* The frames in `hex` are unmasked and whole: read as a server's, and masked one by one as a
 * client's. */
static void expect(enum ws_carrier carrier, const char *hex, const char *expected)
{
    uint8_t plain[1024], masked[2048];
    struct span in = {plain, from_hex(hex, plain)};
    expect_bytes(WS_CLIENT, carrier, in, expected);

    size_t n = 0;
    for (size_t i = 0; i < in.len;) {
        struct ws_frame_header h;
        int size = ws_frame_parse(plain + i, in.len - i, &h);
        assert_true(size > 0 && in.len - i - (size_t)size >= h.length);
        n += ws_record_frame(plain[i], key, plain + i + size, (size_t)h.length, masked + n);
        i += (size_t)size + (size_t)h.length;
    }
    expect_bytes(WS_SERVER, carrier, (struct span){masked, n}, expected);
}

/* The same for what no frame writer writes: bytes as a server sends them. */
static void expect_raw(enum ws_role role, enum ws_carrier carrier, const char *hex,
                       const char *expected)
{
    uint8_t bytes[1024];
    expect_bytes(role, carrier, (struct span){bytes, from_hex(hex, bytes)}, expected);
}

/* RFC 6455 5.7 */
static void test_rfc_examples(void **state)
{
    (void)state;
    expect(WS_PLAIN, "81 05 48656c6c6f", "data 1 48656c6c6f.");
    expect_raw(WS_SERVER, WS_PLAIN, "81 85 37fa213d 7f9f4d5158", "data 1 48656c6c6f.");
    expect(WS_PLAIN, "01 03 48656c 80 02 6c6f", "data 1 48656c6c6f.");
    expect(WS_PLAIN, "89 05 48656c6c6f", "ping 48656c6c6f");
    expect_raw(WS_SERVER, WS_PLAIN, "8a 85 37fa213d 7f9f4d5158", "pong 48656c6c6f");
}

/* docs/protocol.md section 9 */
static void test_protocol_examples(void **state)
{
    (void)state;
    expect(WS_EXTENSION, "82 05 68 65 6c 6c 6f 8b 05 46 49 4e 20 35",
           "data 2 68656c6c6f. control 46494e2035");
    expect(WS_SUBPROTOCOL, "82 05 68 65 6c 6c 6f 81 05 46 49 4e 20 35",
           "data 2 68656c6c6f. control 46494e2035");
    expect(WS_EXTENSION, "8b 05 46 49 4e 20 30", "control 46494e2030");
    expect(WS_SUBPROTOCOL, "81 0e 57 49 4e 44 4f 57 20 31 30 34 38 35 37 36",
           "control 57494e444f572031303438353736");
    expect(WS_PLAIN, "88 02 03 e8", "close 1000");
    expect(WS_PLAIN, "88 02 0f a0", "close 4000");
}

static void test_14_reserved_bits(void **state)
{
    (void)state;
    expect(WS_PLAIN, "c2 01 61", "error 1002"); /* RSV1: what permessage-deflate would set */
    expect(WS_EXTENSION, "a2 01 61", "error 1002");
    expect(WS_SUBPROTOCOL, "92 01 61", "error 1002");
    expect(WS_PLAIN, "02 01 61 c0 01 62", "data 2 61 error 1002");
    expect(WS_EXTENSION, "cb 05 46494e2030", "error 1002");
    expect(WS_PLAIN, "f9 00", "error 1002");
}

static void test_21_masking_by_role(void **state)
{
    (void)state;
    expect_raw(WS_SERVER, WS_PLAIN, "82 01 61", "error 1002");
    expect_raw(WS_SERVER, WS_PLAIN, "89 00", "error 1002");
    expect_raw(WS_SERVER, WS_EXTENSION, "8b 05 46494e2030", "error 1002");
    expect_raw(WS_CLIENT, WS_PLAIN, "82 81 00000000 61", "error 1002");
    expect_raw(WS_CLIENT, WS_PLAIN, "88 80 00000000", "error 1002");
    expect_raw(WS_SERVER, WS_PLAIN, "82 81 00000000 61", "data 2 61.");
}

static void test_22_huge_lengths(void **state)
{
    (void)state;
    expect_raw(WS_CLIENT, WS_PLAIN, "82 7f 80", "error 1002"); /* no more is needed */
    expect_raw(WS_CLIENT, WS_PLAIN, "82 7f 8000000000000000", "error 1002");
    expect_raw(WS_CLIENT, WS_PLAIN, "82 7f ffffffffffffffff", "error 1002");
    expect_raw(WS_CLIENT, WS_PLAIN, "82 7f fffffffffffffffc", "error 1002");
    expect_raw(WS_CLIENT, WS_PLAIN, "82 7f 7fffffffffffffff 6162", "data 2 6162");
    expect_raw(WS_CLIENT, WS_PLAIN, "82 7f 0000000100000000 6162", "data 2 6162");
    expect_raw(WS_CLIENT, WS_PLAIN, "89 7f 7fffffffffffffff 6162", "error 1002");
    expect_raw(WS_CLIENT, WS_EXTENSION, "8b 7f 7fffffffffffffff 6162", "error 4001");
}

static void test_23_sum_of_lengths_cannot_wrap(void **state)
{
    (void)state;
    expect_raw(WS_CLIENT, WS_PLAIN, "02 01 61 80 7f 7fffffffffffffff 6263", "data 2 616263");
    expect_raw(WS_SERVER, WS_PLAIN, "02 81 00000000 61 80 ff 7fffffffffffffff 00000000 6263",
               "data 2 616263");
}

static void test_24_lengths_must_be_minimal(void **state)
{
    (void)state;
    expect_raw(WS_CLIENT, WS_PLAIN, "82 7e 0005 6162636465", "error 1002");
    expect_raw(WS_CLIENT, WS_PLAIN, "82 7f 00000000000000c8 61", "error 1002");
    expect_raw(WS_SERVER, WS_PLAIN, "82 fe 0005 00000000 6162636465", "error 1002");
}

static void test_25_unknown_opcodes(void **state)
{
    (void)state;
    static const enum ws_carrier carriers[] = {WS_PLAIN, WS_EXTENSION, WS_SUBPROTOCOL};
    for (unsigned opcode = 0; opcode < 16; opcode++) {
        for (size_t i = 0; i < array_count(carriers); i++) {
            bool is_known = opcode <= 2 || (opcode >= 8 && opcode <= 10) ||
                            (opcode == WS_HALF_CLOSE && carriers[i] == WS_EXTENSION);
            char hex[32];
            snprintf(hex, sizeof(hex), "%02x 01 61", 0x80 | opcode);
            if (!is_known)
                expect(carriers[i], hex, "error 1002");
        }
    }
}

static void test_26_control_frames(void **state)
{
    (void)state;
    static const uint8_t opcodes[] = {WS_CLOSE, WS_PING, WS_PONG};
    for (size_t i = 0; i < sizeof(opcodes); i++) {
        char hex[64];
        snprintf(hex, sizeof(hex), "%02x 00", opcodes[i]);
        expect(WS_PLAIN, hex, "error 1002"); /* fragmented */
        snprintf(hex, sizeof(hex), "%02x 7e 007e", 0x80 | opcodes[i]);
        expect_raw(WS_CLIENT, WS_PLAIN, hex, "error 1002"); /* 126 bytes */
    }
    uint8_t payload[125], frame[256];
    memset(payload, 'p', sizeof(payload));
    char expected[300] = "ping ";
    for (size_t k = 0; k < sizeof(payload); k++)
        memcpy(expected + 5 + 2 * k, "70", 3);
    size_t n = ws_record_frame(0x89, key, payload, sizeof(payload), frame);
    expect_bytes(WS_SERVER, WS_PLAIN, (struct span){frame, n}, expected);
    expect(WS_PLAIN, "8a 00 89 00 8a 01 61 82 01 62", "pong  ping  pong 61 data 2 62.");
}

static void test_27_sequence(void **state)
{
    (void)state;
    expect(WS_PLAIN, "80 01 61", "error 1002");
    expect(WS_PLAIN, "00 01 61", "error 1002");
    expect(WS_PLAIN, "02 01 61 82 01 62", "data 2 61 error 1002");
    expect(WS_PLAIN, "01 01 61 81 01 62", "data 1 61 error 1002");
    expect(WS_SUBPROTOCOL, "02 01 61 81 05 46494e2031", "data 2 61 error 1002");
    expect(WS_PLAIN, "82 01 61 80 01 62", "data 2 61. error 1002");
    expect(WS_PLAIN, "02 01 61 89 01 70 00 01 62 8a 00 80 01 63", "data 2 61 ping 7062 pong 63.");
    expect(WS_PLAIN, "02 01 61 88 02 03e8", "data 2 61 close 1000");
}

/* What it collects it has for as long as the frame is under way, and the event is not over. */
static void test_26_memory_for_pieces_goes(void **state)
{
    (void)state;
    uint8_t bytes[] = {0x88, 0x04, 0x03, 0xe8, 'o', 'k'};
    struct ws_reader r;
    struct ws_event e;
    struct span in = {bytes, 3};
    ws_reader_init(&r, WS_CLIENT, WS_PLAIN);
    assert_false(ws_reader_next(&r, &in, &e));
    assert_non_null(r.collected);
    in = (struct span){bytes + 3, 3};
    assert_true(ws_reader_next(&r, &in, &e));
    assert_int_equal(e.type, WS_EVENT_CLOSE);
    assert_memory_equal(e.payload.data, "ok", 2);
    assert_false(ws_reader_next(&r, &in, &e));
    assert_null(r.collected);
    ws_reader_clear(&r);
}

/* Checklist 28: the reader keeps nothing but its own few bytes; 130,000 fragments say so. */
static void test_28_endless_fragments(void **state)
{
    (void)state;
    struct ws_reader r;
    ws_reader_init(&r, WS_CLIENT, WS_PLAIN);
    size_t told = 0, pieces = 0;
    for (size_t i = 0; i < 130000; i++) {
        uint8_t frame[3] = {i == 0 ? 0x02 : 0x00, i % 2 == 0 ? 1 : 0, 'a'};
        struct span in = {frame, i % 2 == 0 ? 3 : 2};
        struct ws_event e;
        while (ws_reader_next(&r, &in, &e)) {
            assert_int_equal(e.type, WS_EVENT_DATA);
            assert_int_equal(e.is_first, i == 0);
            assert_false(e.is_last);
            told += e.payload.len;
            pieces++;
        }
    }
    assert_int_equal(told, 65000);
    assert_int_equal(pieces, 65000); /* empty fragments are no events */
    assert_false(ws_reader_is_between_messages(&r));
    ws_reader_clear(&r);
}

static void test_29_text_is_utf8(void **state)
{
    (void)state;
    expect(WS_PLAIN, "81 02 c3a4", "data 1 c3a4.");
    expect(WS_EXTENSION, "01 01 c3 80 01 a4", "data 1 c3a4.");
    expect(WS_PLAIN, "01 01 c3 89 00 80 01 a4", "data 1 c3 ping a4.");
    expect(WS_PLAIN, "81 01 c3", "error 1007");
    expect(WS_PLAIN, "01 01 c3 80 00", "error 1007");
    expect(WS_PLAIN, "81 01 61 81 03 eda080", "data 1 61. error 1007");
    expect(WS_EXTENSION, "81 02 c080", "error 1007");
    expect(WS_PLAIN, "82 02 c080", "data 2 c080.");
    /* a new message begins afresh, whatever the last one was */
    expect(WS_PLAIN, "82 01 c3 81 02 c3a4", "data 2 c3. data 1 c3a4.");
    /* fail-fast: the message is not over, the frame not even here */
    expect_raw(WS_CLIENT, WS_PLAIN, "01 7e 1000 6162f5", "error 1007");
}

static void expect_close(unsigned code, const char *expected)
{
    char hex[32];
    snprintf(hex, sizeof(hex), "88 02 %04x", code);
    expect(WS_PLAIN, hex, expected);
}

static void test_30_close_codes(void **state)
{
    (void)state;
    static const unsigned bad[] = {0,    1,    999,  1004, 1005, 1006, 1015, 1016,
                                   1017, 1099, 1100, 1999, 2000, 2999, 5000, 65535};
    static const unsigned good[] = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010,
                                    1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999};
    expect(WS_PLAIN, "88 00", "close 1005");
    expect(WS_PLAIN, "88 01 03", "error 1002");
    for (size_t i = 0; i < array_count(bad); i++)
        expect_close(bad[i], "error 1002");
    for (size_t i = 0; i < array_count(good); i++) {
        char expected[32];
        snprintf(expected, sizeof(expected), "close %u", good[i]);
        expect_close(good[i], expected);
    }
    expect(WS_PLAIN, "88 05 03e8 627965", "close 1000 627965");
    expect(WS_PLAIN, "88 04 03e8 c3a4", "close 1000 c3a4");
    expect(WS_PLAIN, "88 03 03e8 c3", "error 1007");
    expect(WS_PLAIN, "88 03 03e8 ff", "error 1007");
}

static void test_31_nothing_after_close(void **state)
{
    (void)state;
    expect(WS_PLAIN, "88 02 03e8 82 01 61 89 00", "close 1000");
    expect(WS_EXTENSION, "88 02 03e8 88 02 03e9", "close 1000");
    expect(WS_EXTENSION, "88 02 03e8 8b 05 46494e2030", "close 1000");
    expect(WS_PLAIN, "83 00 82 01 61 88 00", "error 1002");
    expect_raw(WS_CLIENT, WS_PLAIN, "88 02 03e8 ffffffffffffffffffffffffffff", "close 1000");
}

/* Checklist 32: 10,000 frames in one block, and the same in blocks of every size up to 40. */
static void test_32_many_frames(void **state)
{
    (void)state;
    enum { FRAMES = 10000 };
    uint8_t *bytes = malloc(FRAMES * 20);
    char *expected = malloc(FRAMES * 20);
    size_t n = 0, len = 0;
    for (unsigned i = 0; i < FRAMES; i++) {
        char payload[12];
        size_t size = (size_t)snprintf(payload, sizeof(payload), "%u", i) % 5;
        uint8_t fresh[4] = {(uint8_t)i, (uint8_t)(i >> 8), 0x5A, 0xC3};
        n += ws_record_frame(0x82, fresh, payload, size, bytes + n);
        len += (size_t)snprintf(expected + len, 20, "%sdata 2 ", i > 0 ? " " : "");
        for (size_t k = 0; k < size; k++)
            len += (size_t)snprintf(expected + len, 3, "%02x", payload[k]);
        expected[len++] = '.';
    }
    expected[len] = '\0';
    struct span in = {bytes, n};
    expect_record(WS_SERVER, WS_PLAIN, in, n, 1, expected);
    for (size_t step = 1; step <= 40; step++)
        expect_record(WS_SERVER, WS_PLAIN, in, 0, step, expected);
    free(bytes);
    free(expected);
}

static void test_33_empty_data_frames(void **state)
{
    (void)state;
    expect(WS_PLAIN, "82 00", "data 2 .");
    expect(WS_PLAIN, "82 00 82 00 81 00", "data 2 . data 2 . data 1 .");
    expect(WS_PLAIN, "02 00 00 00 80 00", "data 2 .");
    expect(WS_PLAIN, "02 00 00 01 61 00 00 80 00", "data 2 61.");
    expect(WS_PLAIN, "02 00", "");
}

static void test_39_control_message_rules(void **state)
{
    (void)state;
    /* fragmented */
    expect(WS_EXTENSION, "0b 03 46494e", "error 4001");
    expect(WS_SUBPROTOCOL, "01 03 46494e 80 02 2030", "error 4001");
    expect(WS_SUBPROTOCOL, "01 00", "error 4001");
    /* too long */
    expect_raw(WS_CLIENT, WS_EXTENSION, "8b 7e 007e", "error 4001");
    expect_raw(WS_CLIENT, WS_SUBPROTOCOL, "81 7e 007e", "error 4001");
    /* between fragments: ordered with the data */
    expect(WS_EXTENSION, "02 01 61 8b 05 46494e2031", "data 2 61 error 4001");
    expect(WS_EXTENSION, "02 01 61 80 00 8b 05 46494e2031", "data 2 61. control 46494e2031");
    /* not negotiated */
    expect(WS_PLAIN, "8b 05 46494e2030", "error 1002");
    expect(WS_SUBPROTOCOL, "8b 05 46494e2030", "error 1002");
    /* Text is data unless it is the carrier */
    expect(WS_EXTENSION, "81 05 46494e2030", "data 1 46494e2030.");
    expect(WS_PLAIN, "81 05 46494e2030", "data 1 46494e2030.");
    /* what a message says is judged elsewhere, empty ones too */
    expect(WS_EXTENSION, "8b 00", "control");
    expect(WS_SUBPROTOCOL, "81 00 81 01 ff", "control  control ff");
}

static void test_between_messages(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0x02, 0x01, 'a', 0x89, 0x01, 'p', 0x80, 0x01, 'b', 0x82, 0x00};
    static const bool is_between[] = {true,  false, false, false, false, false,
                                      false, false, false, true,  false, true};
    for (size_t n = 0; n <= sizeof(bytes); n++) {
        uint8_t copy[sizeof(bytes)];
        memcpy(copy, bytes, sizeof(bytes));
        struct span in = {copy, n};
        struct ws_reader r;
        struct ws_event e;
        ws_reader_init(&r, WS_CLIENT, WS_PLAIN);
        while (ws_reader_next(&r, &in, &e))
            assert_int_equal(e.type == WS_EVENT_ERROR, false);
        assert_int_equal(ws_reader_is_between_messages(&r), is_between[n]);
        ws_reader_clear(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_examples),
        cmocka_unit_test(test_protocol_examples),
        cmocka_unit_test(test_14_reserved_bits),
        cmocka_unit_test(test_21_masking_by_role),
        cmocka_unit_test(test_22_huge_lengths),
        cmocka_unit_test(test_23_sum_of_lengths_cannot_wrap),
        cmocka_unit_test(test_24_lengths_must_be_minimal),
        cmocka_unit_test(test_25_unknown_opcodes),
        cmocka_unit_test(test_26_control_frames),
        cmocka_unit_test(test_26_memory_for_pieces_goes),
        cmocka_unit_test(test_27_sequence),
        cmocka_unit_test(test_28_endless_fragments),
        cmocka_unit_test(test_29_text_is_utf8),
        cmocka_unit_test(test_30_close_codes),
        cmocka_unit_test(test_31_nothing_after_close),
        cmocka_unit_test(test_32_many_frames),
        cmocka_unit_test(test_33_empty_data_frames),
        cmocka_unit_test(test_39_control_message_rules),
        cmocka_unit_test(test_between_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
