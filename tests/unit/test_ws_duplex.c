/* The WebSocket duplex on raw bytes: what it writes for what it is asked, what it tells for what
 * arrives. */
#include "memory_pipe.h"
#include "ws_duplex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* The network side: end 0 of the pipe. What the WebSocket wrote, as hex; what became of its
 * transport. */
struct far {
    char hex[8192];
    size_t len;
    bool has_ended, has_broken;
};

/* The owner: what it was told, as text. */
struct near {
    char told[8192];
    uint64_t bytes;
    struct cause cause;
    bool is_over; /* on_abort came, or it closed or aborted itself */
    bool pauses_at_data;
};

static struct scheduler scheduler;
static struct memory_pipe lower;
static struct duplex *ws;
static struct far far;
static struct near near;
static struct ws_duplex_config config;
static uint64_t stall_ms; /* of the next one that is opened */
static struct {
    bool has;
    uint64_t send;
    uint32_t receive;
} windows; /* the same */
static enum ws_role role;

static void far_on_data(void *owner, struct span data)
{
    (void)owner;
    for (size_t i = 0; i < data.len && far.len + 3 < sizeof far.hex; i++)
        far.len += (size_t)snprintf(far.hex + far.len, 4, "%02x ", data.data[i]);
}

static void far_on_end(void *owner)
{
    (void)owner;
    far.has_ended = true;
}

static void far_on_abort(void *owner, struct cause cause)
{
    (void)owner;
    (void)cause;
    far.has_broken = true;
}

static void far_ignore(void *owner)
{
    (void)owner;
}

static const struct duplex_events far_events = {far_on_data, far_on_end, far_on_abort, far_ignore,
                                                far_ignore};

static void tell(const char *what)
{
    size_t used = strlen(near.told);
    snprintf(near.told + used, sizeof near.told - used, "%s;", what);
}

static void near_on_data(void *owner, struct span data)
{
    (void)owner;
    near.bytes += data.len;
    if (data.len <= 32) {
        char text[40];
        snprintf(text, sizeof text, "%.*s", (int)data.len, (const char *)data.data);
        tell(text);
    }
    if (near.pauses_at_data)
        duplex_pause(ws);
}

static void near_on_end(void *owner)
{
    (void)owner;
    tell("END");
}

static void near_on_abort(void *owner, struct cause cause)
{
    (void)owner;
    near.cause = cause;
    near.is_over = true;
    tell("ABORT");
}

static void near_on_drain(void *owner)
{
    (void)owner;
    tell("DRAIN");
}

static void near_on_finished(void *owner)
{
    (void)owner;
    tell("FINISHED");
}

static const struct duplex_events near_events = {near_on_data, near_on_end, near_on_abort,
                                                 near_on_drain, near_on_finished};

static void open_with(enum ws_role our_role, enum ws_carrier carrier, const char *early)
{
    memset(&far, 0, sizeof far);
    memset(&near, 0, sizeof near);
    config = (struct ws_duplex_config){
        .linger_ms = 5000, .close_timeout_ms = 5000, .stall_ms = stall_ms};
    stall_ms = 0;
    role = our_role;
    scheduler_init(&scheduler, 1000);
    memory_pipe_init(&lower, 100000);
    duplex_own(&lower.end[0].duplex, &far_events, NULL);
    duplex_resume(&lower.end[0].duplex);
    struct span head = {(uint8_t *)(uintptr_t)early, strlen(early)};
    ws = ws_duplex_new(&scheduler, &lower.end[1].duplex, our_role, carrier, &config, head);
    assert_non_null(ws);
    if (windows.has)
        ws_duplex_begin_with_windows(ws, windows.send, windows.receive);
    windows.has = false;
    duplex_own(ws, &near_events, NULL);
    duplex_resume(ws);
}

static void flow(void)
{
    bool is_moving = true;
    while (is_moving) {
        scheduler_run_tasks(&scheduler);
        is_moving = memory_pipe_step(&lower, 0, SIZE_MAX);
        is_moving |= memory_pipe_step(&lower, 1, SIZE_MAX);
        is_moving |= scheduler_has_tasks(&scheduler);
    }
}

static void wait_ms(uint64_t ms)
{
    scheduler_advance(&scheduler, scheduler.now_ms + ms);
    flow();
}

/* One frame from the network: masked with an all-zero key where we are the server. */
static void frame(uint8_t first, const void *payload, size_t len)
{
    struct ws_frame_header h = {.fin = first >> 7,
                                .rsv = (first >> 4) & 7,
                                .opcode = first & 15,
                                .masked = role == WS_SERVER,
                                .length = len};
    uint8_t head[WS_FRAME_HEADER_MAX];
    size_t head_len = ws_frame_write(&h, head);
    static uint8_t copy[1 << 20];
    assert_true(len <= sizeof copy);
    if (len > 0)
        memcpy(copy, payload, len);
    struct span spans[] = {{head, head_len}, {copy, len}};
    duplex_write(&lower.end[0].duplex, spans, 2);
}

static void text_frame(uint8_t first, const char *text)
{
    frame(first, text, strlen(text));
    flow();
}

static void close_frame(uint16_t code)
{
    uint8_t payload[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    frame(0x88, payload, code == 0 ? 0 : 2);
    flow();
}

static bool write_text(const char *text)
{
    uint8_t copy[256];
    size_t len = strlen(text);
    memcpy(copy, text, len);
    bool is_full = duplex_write(ws, &(struct span){copy, len}, 1);
    flow();
    return is_full;
}

static void finish(void)
{
    duplex_finish(ws);
    flow();
}

static void near_close(void)
{
    near.is_over = true;
    duplex_close(ws);
    flow();
}

/* Whatever is left is let go, and nothing may be left behind it. */
static int teardown(void **state)
{
    (void)state;
    if (!near.is_over)
        duplex_abort(ws, (struct cause){.what = CAUSE_SHUTDOWN});
    memory_pipe_break(&lower, CAUSE_LOST);
    scheduler_run_tasks(&scheduler);
    uint64_t at_ms;
    assert_false(scheduler_next(&scheduler, &at_ms));
    memory_pipe_clear(&lower);
    return 0;
}

static void expect_told(const char *expected)
{
    assert_string_equal(near.told, expected);
}

static void expect_wire(const char *expected)
{
    assert_string_equal(far.hex, expected);
}

static void expect_wire_close(uint16_t code)
{
    char head[16];
    snprintf(head, sizeof head, "%02x %02x ", code >> 8, code & 0xff);
    const char *at = strstr(far.hex, "88 ");
    assert_non_null(at);
    assert_memory_equal(at + 6, head, 6);
}

/* ---- protocol.md section 9 ---- */

static void test_examples_extension(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_EXTENSION, "");
    write_text("hello");
    finish();
    expect_wire("82 05 68 65 6c 6c 6f 8b 05 46 49 4e 20 35 ");
    expect_told("FINISHED;");
}

static void test_examples_subprotocol(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_SUBPROTOCOL, "");
    write_text("hello");
    finish();
    expect_wire("82 05 68 65 6c 6c 6f 81 05 46 49 4e 20 35 ");
}

static void test_37_end_with_no_byte_before_it(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_EXTENSION, "");
    finish();
    expect_wire("8b 05 46 49 4e 20 30 ");
    text_frame(0x8b, "FIN 0");
    expect_told("FINISHED;END;");
}

static void test_client_masks_with_a_fresh_key(void **state)
{
    (void)state;
    open_with(WS_CLIENT, WS_EXTENSION, "");
    write_text("aaaa");
    write_text("aaaa");
    assert_memory_equal(far.hex, "82 84 ", 6);
    assert_memory_not_equal(far.hex + 6, far.hex + 36, 12); /* the two keys */
}

static void test_client_masks_all_spans_of_a_write_as_one_payload(void **state)
{
    (void)state;
    open_with(WS_CLIENT, WS_EXTENSION, "");
    uint8_t one[] = "one", two[] = " two ", three[] = "three";
    struct span spans[] = {{one, 3}, {two, 5}, {three, 5}};
    duplex_write(ws, spans, 3);
    struct span sent;
    uint8_t copy[64];
    assert_int_equal(queue_peek(&lower.end[1].out, &sent, 1), 1);
    assert_int_equal(sent.len, 2 + 4 + 13);
    memcpy(copy, sent.data, sent.len);
    struct ws_reader reader;
    struct ws_event event;
    struct span in = {copy, sent.len};
    ws_reader_init(&reader, WS_SERVER, WS_EXTENSION);
    assert_true(ws_reader_next(&reader, &in, &event));
    assert_memory_equal(event.payload.data, "one two three", 13);
    ws_reader_clear(&reader);
}

/* ---- the end of the peer's side ---- */

static void test_34_end_behind_all_bytes(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_EXTENSION, "");
    text_frame(0x82, "one");
    text_frame(0x02, "two");
    text_frame(0x00, "");
    text_frame(0x80, "three");
    text_frame(0x8b, "FIN 11");
    expect_told("one;two;three;END;");
    write_text("still open");
    assert_false(near.is_over);
}

static void test_39_violations_of_the_protocol_have_their_codes(void **state)
{
    static const struct {
        enum ws_carrier carrier;
        uint8_t first;
        const char *text;
        uint16_t code;
    } cases[] = {
        {WS_EXTENSION, 0x8b, "FIN 4", 4002},
        {WS_EXTENSION, 0x8b, "FIN 2", 4002},
        {WS_EXTENSION, 0x8b, "FIN 03", 4001},
        {WS_EXTENSION, 0x8b, "FIN", 4001},
        {WS_EXTENSION, 0x8b, "FIN  3", 4001},
        {WS_EXTENSION, 0x8b, "fIN 3 ", 0},
        {WS_EXTENSION, 0x8b, "Fin 3", 4001},
        {WS_EXTENSION, 0x8b, "note 3 x", 0},
        {WS_EXTENSION, 0x8b, "STOP 3", 4001},
        {WS_EXTENSION, 0x8b, "", 4001},
        {WS_EXTENSION, 0x0b, "FIN 3", 4001},
        {WS_SUBPROTOCOL, 0x81, "FIN 4", 4002},
        {WS_SUBPROTOCOL, 0x01, "FIN 3", 4001},
        {WS_SUBPROTOCOL, 0x8b, "FIN 3", 1002},
        {WS_PLAIN, 0x8b, "FIN 3", 1002},
        {WS_EXTENSION, 0x8c, "FIN 3", 1002},
        {WS_EXTENSION, 0x8b, "FIN 9007199254740992", 4001},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        open_with(WS_SERVER, cases[i].carrier, "");
        text_frame(0x82, "abc");
        text_frame(cases[i].first, cases[i].text);
        if (cases[i].code == 0) {
            expect_told("abc;");
        } else {
            expect_told("abc;ABORT;");
            expect_wire_close(cases[i].code);
        }
        teardown(state);
    }
    open_with(WS_SERVER, WS_EXTENSION, "");
}

static void test_39_nothing_may_come_behind_an_end(void **state)
{
    static const struct {
        uint8_t first;
        const char *text;
    } cases[] = {{0x82, "x"}, {0x82, ""}, {0x8b, "FIN 3"}};
    for (size_t i = 0; i < array_count(cases); i++) {
        open_with(WS_SERVER, WS_EXTENSION, "");
        text_frame(0x82, "abc");
        text_frame(0x8b, "FIN 3");
        text_frame(cases[i].first, cases[i].text);
        expect_told("abc;END;ABORT;");
        assert_int_equal(near.cause.what, CAUSE_VIOLATION);
        expect_wire_close(4001);
        teardown(state);
    }
    open_with(WS_SERVER, WS_EXTENSION, "");
    text_frame(0x8b, "FIN 0");
    text_frame(0x89, "still");
    text_frame(0x8b, "WINDOW 5");
    expect_told("END;");
}

static void test_46_transport_end_without_fin_is_a_break(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_EXTENSION, "");
    text_frame(0x82, "abc");
    duplex_finish(&lower.end[0].duplex);
    flow();
    expect_told("abc;ABORT;");
    assert_int_equal(near.cause.what, CAUSE_LOST);
    assert_true(lower.end[1].is_closed);
}

static void test_46_transport_end_in_the_middle_of_a_frame_is_a_break(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_EXTENSION, "");
    uint8_t half[] = {0x82, 0x85, 0, 0, 0, 0, 'a', 'b'};
    duplex_write(&lower.end[0].duplex, &(struct span){half, sizeof half}, 1);
    duplex_finish(&lower.end[0].duplex);
    flow();
    expect_told("ab;ABORT;");
}

static void test_49_close_before_the_end_is_a_break(void **state)
{
    static const uint16_t codes[] = {1000, 1001, 4000, 0};
    for (size_t i = 0; i < array_count(codes); i++) {
        open_with(WS_SERVER, WS_EXTENSION, "");
        text_frame(0x82, "abc");
        close_frame(codes[i]);
        expect_told("abc;ABORT;");
        assert_int_equal(near.cause.what, CAUSE_CLOSED);
        if (codes[i] != 0)
            expect_wire_close(codes[i]);
        else
            expect_wire("88 00 ");
        assert_true(far.has_ended);
        teardown(state);
    }
    open_with(WS_SERVER, WS_EXTENSION, "");
}

/* ---- the end of the connection ---- */

static void complete_both(void)
{
    text_frame(0x8b, "FIN 0");
    finish();
}

static void test_rule_7_server_closes_with_1000_and_waits_for_the_answer(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_EXTENSION, "");
    complete_both();
    expect_told("END;FINISHED;");
    near_close();
    expect_wire("8b 05 46 49 4e 20 30 88 02 03 e8 ");
    assert_false(far.has_ended);
    close_frame(1000);
    assert_true(far.has_ended);
    assert_true(lower.end[1].is_closed);
}

static void test_an_unanswered_close_is_waited_for_five_seconds(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_EXTENSION, "");
    complete_both();
    near_close();
    wait_ms(4999);
    assert_false(far.has_ended);
    wait_ms(1);
    assert_true(far.has_ended);
}

static void test_38_a_slow_peer_has_time_to_take_what_waits_before_the_close(void **state)
{
    (void)state;
    stall_ms = 60000;
    open_with(WS_SERVER, WS_EXTENSION, "");
    duplex_pause(&lower.end[0].duplex);
    write_text("the last word");
    finish();
    duplex_resume(&lower.end[0].duplex);
    text_frame(0x8b, "FIN 0");
    duplex_pause(&lower.end[0].duplex);
    near_close(); /* Close waits: the peer is busy */
    for (int i = 0; i < 10; i++)
        wait_ms(5000);
    assert_false(memory_end_is_released(&lower.end[1]));
    duplex_resume(&lower.end[0].duplex);
    wait_ms(4999); /* it has it now, and five seconds to answer */
    assert_false(far.has_ended);
    for (int i = 0; i < 2; i++)
        wait_ms(5000);
    assert_true(far.has_ended);
}

static void test_38_but_not_for_ever(void **state)
{
    (void)state;
    stall_ms = 60000;
    open_with(WS_SERVER, WS_EXTENSION, "");
    complete_both();
    duplex_pause(&lower.end[0].duplex);
    near_close();
    for (int i = 0; i < 12; i++)
        wait_ms(5000);
    assert_false(memory_end_is_released(&lower.end[1]));
    wait_ms(5000);
    assert_true(memory_end_is_released(&lower.end[1]));
}

static void test_client_is_finished_when_the_server_confirms(void **state)
{
    (void)state;
    open_with(WS_CLIENT, WS_EXTENSION, "");
    complete_both();
    expect_told("END;");
    close_frame(1000);
    expect_told("END;FINISHED;");
    near_close();
    assert_false(far.has_ended); /* the server ends the transport */
    duplex_finish(&lower.end[0].duplex);
    flow();
    assert_true(far.has_ended);
}

static void test_client_is_told_when_the_server_could_not_deliver(void **state)
{
    (void)state;
    open_with(WS_CLIENT, WS_EXTENSION, "");
    complete_both();
    close_frame(4000);
    expect_told("END;ABORT;");
}

static void test_a_lost_transport_harms_nothing_once_both_are_complete(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_EXTENSION, "");
    complete_both();
    memory_pipe_break(&lower, CAUSE_RESET);
    flow();
    expect_told("END;FINISHED;");
    near_close();
}

static void test_a_client_without_confirmation_does_not_take_a_loss_for_success(void **state)
{
    (void)state;
    open_with(WS_CLIENT, WS_EXTENSION, "");
    complete_both();
    memory_pipe_break(&lower, CAUSE_RESET);
    flow();
    expect_told("END;ABORT;");
    teardown(state);
    open_with(WS_CLIENT, WS_EXTENSION, "");
    complete_both();
    duplex_finish(&lower.end[0].duplex);
    flow();
    expect_told("END;ABORT;");
    teardown(state);
    open_with(WS_CLIENT, WS_EXTENSION, "");
    complete_both();
    close_frame(1000);
    memory_pipe_break(&lower, CAUSE_RESET); /* in the same turn or later: it is confirmed */
    flow();
    expect_told("END;FINISHED;");
    near_close();
}

static void test_abort_says_why_behind_what_was_written(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_EXTENSION, "");
    write_text("x");
    near.is_over = true;
    duplex_abort(ws, (struct cause){.what = CAUSE_IDLE});
    flow();
    assert_memory_equal(far.hex, "82 01 78 88 0f 0f a5 ", 21);
    assert_true(far.has_ended);
    assert_false(far.has_broken);
}

/* ---- WINDOW ---- */

static void test_window_is_exact_from_the_first_byte(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_EXTENSION, "");
    text_frame(0x8b, "WINDOW 3");
    assert_true(write_text("abcdef"));
    expect_wire("82 03 61 62 63 ");
    text_frame(0x8b, "WINDOW 2"); /* smaller than before: ignored */
    finish();
    expect_wire("82 03 61 62 63 ");
    text_frame(0x8b, "WINDOW 5");
    expect_wire("82 03 61 62 63 82 02 64 65 ");
    expect_told("");
    text_frame(0x8b, "WINDOW 6");
    expect_wire("82 03 61 62 63 82 02 64 65 82 01 66 8b 05 46 49 4e 20 36 ");
    expect_told("DRAIN;FINISHED;");
}

static void test_window_below_what_was_sent_stops_at_once_and_fin_needs_none(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_SUBPROTOCOL, "");
    assert_false(write_text("abc"));
    text_frame(0x81, "WINDOW 0");
    finish();
    expect_wire("82 03 61 62 63 81 05 46 49 4e 20 33 ");
}

static void test_a_smaller_window_than_before_is_ignored(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_EXTENSION, "");
    text_frame(0x8b, "WINDOW 6");
    text_frame(0x8b, "WINDOW 2");
    assert_false(write_text("abcdef"));
    expect_wire("82 06 61 62 63 64 65 66 ");
}

/* ---- windows on both sides, from the first byte ---- */

#define HEX_WINDOW "57 49 4e 44 4f 57 20 " /* "WINDOW " */

static void open_windowed(enum ws_role our_role, uint64_t send, uint32_t receive)
{
    windows.has = true;
    windows.send = send;
    windows.receive = receive;
    open_with(our_role, WS_SUBPROTOCOL, "");
    flow();
}

/* A data message of this many bytes. */
static void data_frame(size_t len)
{
    static const uint8_t block[1 << 16];
    frame(0x82, block, len);
    flow();
}

static void test_windows_a_server_says_its_own_first_and_keeps_the_clients(void **state)
{
    (void)state;
    open_windowed(WS_SERVER, 3, 100);
    expect_wire("81 0a " HEX_WINDOW "31 30 30 ");
    assert_true(write_text("abcdef"));
    expect_wire("81 0a " HEX_WINDOW "31 30 30 82 03 61 62 63 ");
    text_frame(0x81, "WINDOW 2");
    text_frame(0x81, "WINDOW 6");
    expect_wire("81 0a " HEX_WINDOW "31 30 30 82 03 61 62 63 82 03 64 65 66 ");
    expect_told("DRAIN;");
}

static void test_windows_a_client_waits_for_the_servers_but_its_fin_does_not(void **state)
{
    (void)state;
    open_windowed(WS_CLIENT, 0, 100);
    assert_true(write_text("abc"));
    expect_wire("");
    text_frame(0x81, "WINDOW 2");
    assert_int_equal(lower.end[1].written, 2 + 4 + 2);
    text_frame(0x81, "WINDOW 3");
    expect_told("DRAIN;");
    teardown(state);
    open_windowed(WS_CLIENT, 0, 100);
    finish();
    assert_int_equal(lower.end[1].written, 2 + 4 + 5);
}

static void test_windows_all_that_the_peer_may_send_is_read_and_what_is_behind_it(void **state)
{
    (void)state;
    open_windowed(WS_SERVER, 3, 100);
    duplex_pause(ws);
    write_text("abcdef");
    far.hex[far.len = 0] = '\0';
    data_frame(60);
    data_frame(40);
    text_frame(0x89, "hi");
    expect_wire("8a 02 68 69 "); /* at once */
    text_frame(0x81, "WINDOW 6");
    expect_wire("8a 02 68 69 82 03 64 65 66 ");
    text_frame(0x81, "FIN 100");
    assert_int_equal(near.bytes, 0);
    duplex_resume(ws);
    flow();
    assert_int_equal(near.bytes, 100);
    expect_told("DRAIN;END;");
}

static void test_windows_of_who_disregards_them_no_more_is_read(void **state)
{
    (void)state;
    open_windowed(WS_SERVER, 3, 100);
    duplex_pause(ws);
    data_frame(100);
    assert_false(lower.end[1].is_paused);
    data_frame(1);
    assert_true(lower.end[1].is_paused);
    for (int i = 0; i < 10; i++)
        data_frame(100);
    wait_ms(1000); /* nothing else reads ahead, either */
    assert_int_equal(queue_size(&lower.end[0].out), 10 * 106);
    duplex_resume(ws);
    flow();
    assert_int_equal(near.bytes, 1101);
    assert_false(near.is_over);
}

static void test_windows_grow_as_data_is_taken_not_as_it_comes(void **state)
{
    (void)state;
    open_windowed(WS_SERVER, 3, 101);
    far.hex[far.len = 0] = '\0';
    data_frame(50);
    expect_wire(""); /* less than half */
    data_frame(1);
    expect_wire("81 0a " HEX_WINDOW "31 35 32 "); /* 51 + 101 */
    duplex_pause(ws);
    data_frame(51);
    data_frame(50);
    expect_wire("81 0a " HEX_WINDOW "31 35 32 ");
    duplex_resume(ws);
    flow();
    expect_wire("81 0a " HEX_WINDOW "31 35 32 81 0a " HEX_WINDOW "32 35 33 ");
    assert_int_equal(near.bytes, 152);
}

static void test_windows_of_a_client_grow_from_what_its_handshake_said(void **state)
{
    (void)state;
    open_windowed(WS_CLIENT, 0, 1);
    assert_int_equal(lower.end[1].written, 0);
    data_frame(1);
    assert_int_equal(lower.end[1].written, 2 + 4 + strlen("WINDOW 2"));
}

/* Of many only the last is kept, as of pongs; and it does not wait for payload. */
static void test_windows_wait_for_a_full_transport(void **state)
{
    (void)state;
    open_windowed(WS_SERVER, 3, 100);
    far.hex[far.len = 0] = '\0';
    lower.end[1].capacity = 0;
    duplex_pause(&lower.end[0].duplex);
    assert_true(write_text("abcdef"));
    uint64_t written = lower.end[1].written;
    for (int i = 0; i < 1000; i++)
        data_frame(70);
    text_frame(0x81, "WINDOW 6");
    assert_int_equal(lower.end[1].written, written);
    duplex_resume(&lower.end[0].duplex);
    flow();
    expect_wire("82 03 61 62 63 81 0c " HEX_WINDOW "37 30 31 30 30 82 03 64 65 66 ");
    expect_told("DRAIN;");
}

static void test_windows_are_not_said_to_who_has_ended(void **state)
{
    (void)state;
    open_windowed(WS_SERVER, 3, 100);
    far.hex[far.len = 0] = '\0';
    duplex_pause(ws);
    data_frame(100);
    text_frame(0x81, "FIN 100");
    duplex_resume(ws);
    flow();
    expect_told("END;");
    expect_wire("");
}

static void test_an_end_is_finished_when_the_transport_has_taken_it(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_EXTENSION, "");
    lower.end[1].capacity = 0;
    duplex_pause(&lower.end[0].duplex);
    assert_true(write_text("x"));
    finish();
    expect_told("");
    duplex_resume(&lower.end[0].duplex);
    flow();
    expect_told("DRAIN;FINISHED;");
}

/* ---- reading, or not ---- */

static void test_10_frames_that_came_with_the_handshake(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_EXTENSION, "\x82\x81@@@@\x21");
    expect_told("");
    text_frame(0x82, "later");
    expect_told("a;later;");
}

static void test_a_paused_owner_is_read_ahead_for_and_its_pings_answered(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_EXTENSION, "");
    duplex_pause(ws);
    text_frame(0x82, "abc");
    text_frame(0x89, "hi");
    expect_wire("");
    wait_ms(100);
    expect_told("");
    expect_wire("8a 02 68 69 ");
    text_frame(0x8b, "FIN 3");
    duplex_resume(ws);
    flow();
    expect_told("abc;END;");
}

static void test_51_read_ahead_is_bounded(void **state)
{
    (void)state;
    static uint8_t block[30000];
    open_with(WS_SERVER, WS_EXTENSION, "");
    duplex_pause(ws);
    for (int i = 0; i < 10; i++)
        frame(0x82, block, sizeof block);
    wait_ms(100);
    wait_ms(1000);
    assert_true(lower.end[1].is_paused);
    uint64_t taken = 10 * (sizeof block + 8) - queue_size(&lower.end[0].out);
    assert_true(taken >= WS_READ_AHEAD && taken < WS_READ_AHEAD + 2 * sizeof block);
    duplex_resume(ws);
    flow();
    assert_int_equal(near.bytes, 10 * sizeof block);
}

/* Bytes that the owner did not take in time are lost, and an end behind them would be a lie. */
static void test_rule_3_no_end_behind_bytes_that_were_given_up(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_EXTENSION, "");
    near.pauses_at_data = true;
    text_frame(0x82, "a");
    duplex_resume(&lower.end[1].duplex); /* the rest of a read under way */
    frame(0x82, "bc", 2);
    frame(0x8b, "FIN 3", 5);
    close_frame(4000);
    wait_ms(config.linger_ms);
    expect_told("a;ABORT;");
}

static void test_rule_4_bytes_before_a_break_are_delivered_first(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_EXTENSION, "");
    duplex_pause(ws);
    text_frame(0x82, "abc");
    wait_ms(100);
    memory_pipe_break(&lower, CAUSE_RESET);
    flow();
    expect_told("");
    duplex_resume(ws);
    flow();
    expect_told("abc;ABORT;");
    assert_int_equal(near.cause.what, CAUSE_RESET);
}

static void test_rule_4_but_not_for_ever(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_EXTENSION, "");
    duplex_pause(ws);
    text_frame(0x82, "abc");
    wait_ms(100);
    memory_pipe_break(&lower, CAUSE_RESET);
    wait_ms(4999);
    expect_told("");
    wait_ms(1);
    expect_told("ABORT;");
}

static void test_messages_that_come_together_are_told_together(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_EXTENSION, "");
    frame(0x82, "one", 3);
    frame(0x82, "", 0);
    frame(0x02, "t", 1);
    frame(0x80, "wo", 2);
    frame(0x8b, "FIN 6", 5);
    flow();
    expect_told("onetwo;END;");
}

static void test_pause_from_within_on_data(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_EXTENSION, "");
    near.pauses_at_data = true;
    frame(0x82, "a", 1);
    frame(0x89, "", 0); /* keeps the two apart */
    frame(0x82, "b", 1);
    frame(0x8b, "FIN 2", 5);
    flow();
    expect_told("a;");
    duplex_resume(ws);
    flow();
    expect_told("a;b;END;"); /* an end takes no room: it need not wait */
}

/* ---- liveness ---- */

static void test_53_pongs_wait_for_a_full_transport_and_only_the_last_is_kept(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_EXTENSION, "");
    lower.end[1].capacity = 0;
    duplex_pause(&lower.end[0].duplex);
    assert_true(write_text("x"));
    for (int i = 0; i < 1000; i++)
        text_frame(0x89, i < 999 ? "no" : "yes");
    assert_int_equal(lower.end[1].written, 3);
    duplex_resume(&lower.end[0].duplex);
    flow();
    expect_wire("82 01 78 8a 03 79 65 73 ");
    expect_told("DRAIN;");
}

static void open_with_pings_every(uint64_t interval_ms, uint64_t timeout_ms)
{
    open_with(WS_SERVER, WS_EXTENSION, "");
    near.is_over = true;
    duplex_abort(ws, (struct cause){.what = CAUSE_SHUTDOWN});
    flow();
    memory_pipe_clear(&lower);
    memset(&far, 0, sizeof far);
    memset(&near, 0, sizeof near);
    memory_pipe_init(&lower, 100000);
    duplex_own(&lower.end[0].duplex, &far_events, NULL);
    duplex_resume(&lower.end[0].duplex);
    config.ping_interval_ms = interval_ms;
    config.ping_timeout_ms = timeout_ms;
    ws = ws_duplex_new(&scheduler, &lower.end[1].duplex, WS_SERVER, WS_EXTENSION, &config,
                       (struct span){NULL, 0});
    duplex_own(ws, &near_events, NULL);
    duplex_resume(ws);
}

static void open_with_pings(void)
{
    open_with_pings_every(25000, 20000);
}

/* One that is awaited when the next ping is due: that one goes out when it has come. */
static void test_62_a_late_pong_does_not_put_off_pings_for_long(void **state)
{
    (void)state;
    open_with_pings_every(300, 20000);
    wait_ms(300);
    expect_wire("89 00 ");
    for (int i = 0; i < 10; i++)
        wait_ms(300);
    expect_wire("89 00 ");
    text_frame(0x8a, "");
    wait_ms(300);
    expect_wire("89 00 89 00 ");
    for (int i = 0; i < 66; i++)
        wait_ms(300);
    expect_told("");
    wait_ms(300);
    expect_told("ABORT;");
    assert_int_equal(near.cause.what, CAUSE_PING_TIMEOUT);
}

static void test_62_an_unanswered_ping_is_a_break(void **state)
{
    (void)state;
    open_with_pings();
    wait_ms(24999);
    expect_wire("");
    wait_ms(1);
    expect_wire("89 00 ");
    text_frame(0x8a, "");
    wait_ms(25000);
    expect_wire("89 00 89 00 ");
    wait_ms(19999);
    expect_told("");
    wait_ms(1);
    expect_told("ABORT;");
    assert_int_equal(near.cause.what, CAUSE_PING_TIMEOUT);
}

static void test_62_a_peer_held_up_by_its_own_sink_owes_no_pong(void **state)
{
    (void)state;
    open_with_pings();
    static uint8_t block[WS_READ_AHEAD + 1];
    duplex_write(ws, &(struct span){block, sizeof block}, 1);
    flow();
    wait_ms(25000);
    for (int i = 0; i < 100; i++)
        wait_ms(20000);
    expect_told("");
    text_frame(0x8a, ""); /* it is back: from here on it owes again */
    for (int i = 0; i < 3; i++)
        wait_ms(25000);
    expect_told("ABORT;");
}

static void test_our_own_pause_is_not_counted_against_the_peer(void **state)
{
    (void)state;
    open_with_pings();
    duplex_pause(ws);
    static uint8_t block[WS_READ_AHEAD + 1];
    frame(0x82, block, sizeof block);
    flow();
    for (int i = 0; i < 10; i++) {
        wait_ms(20000);
        text_frame(0x8a, "");
    }
    expect_told("");
    duplex_resume(ws);
    flow();
    assert_false(near.is_over);
}

/* Two timers at a time: neither goes for the other, and both are due if time has leapt. */
static void test_62_a_pause_does_not_put_off_pings(void **state)
{
    (void)state;
    open_with_pings();
    wait_ms(24950);
    duplex_pause(ws);
    frame(0x82, "ab", 2);
    flow();
    wait_ms(50); /* the ping, in the middle of the pause before reading ahead */
    expect_wire("89 00 ");
    text_frame(0x89, "");
    expect_wire("89 00 ");
    wait_ms(50);
    expect_wire("89 00 8a 00 ");
    duplex_resume(ws);
    flow();
    expect_told("ab;");
    duplex_pause(ws);
    wait_ms(25000);
    wait_ms(0);
    expect_wire("89 00 8a 00 89 00 ");
    text_frame(0x89, "x");
    expect_wire("89 00 8a 00 89 00 8a 01 78 ");
}

/* ---- plain: protocol.md section 8 ---- */

static void test_42_plain_close_is_the_end_of_the_peers_side(void **state)
{
    static const uint16_t codes[] = {1000, 0};
    for (size_t i = 0; i < array_count(codes); i++) {
        open_with(WS_SERVER, WS_PLAIN, "");
        text_frame(0x81, "text");
        text_frame(0x82, "binary");
        close_frame(codes[i]);
        expect_told("text;binary;END;");
        expect_wire(codes[i] == 0 ? "88 00 " : "88 02 03 e8 ");
        assert_true(far.has_ended);
        assert_false(write_text("for nobody"));
        finish();
        expect_told("text;binary;END;FINISHED;");
        near_close();
        teardown(state);
    }
    open_with(WS_SERVER, WS_PLAIN, "");
}

static void test_42_plain_close_of_another_kind_is_a_break(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_PLAIN, "");
    close_frame(1001);
    expect_told("ABORT;");
    assert_int_equal(near.cause.native, 1001);
}

static void test_42_plain_end_of_our_side_is_close_1000(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_PLAIN, "");
    write_text("all");
    finish();
    expect_wire("82 03 61 6c 6c 88 02 03 e8 ");
    expect_told("FINISHED;");
    text_frame(0x82, "late");
    close_frame(1000);
    expect_told("FINISHED;late;END;");
    near_close();
    assert_true(far.has_ended);
}

static void test_42_plain_close_unanswered_is_a_break(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_PLAIN, "");
    finish();
    wait_ms(4000);
    text_frame(0x82, "on its way");
    wait_ms(4999);
    expect_told("FINISHED;on its way;");
    wait_ms(1);
    expect_told("FINISHED;on its way;ABORT;");
}

static void test_plain_close_lets_a_full_owner_go_on(void **state)
{
    (void)state;
    open_with(WS_SERVER, WS_PLAIN, "");
    lower.end[1].capacity = 0;
    duplex_pause(&lower.end[0].duplex);
    assert_true(write_text("x"));
    close_frame(1000);
    expect_told("DRAIN;END;");
}

#define ws_test(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ws_test(test_examples_extension),
        ws_test(test_examples_subprotocol),
        ws_test(test_37_end_with_no_byte_before_it),
        ws_test(test_client_masks_with_a_fresh_key),
        ws_test(test_client_masks_all_spans_of_a_write_as_one_payload),
        ws_test(test_a_smaller_window_than_before_is_ignored),
        ws_test(test_an_end_is_finished_when_the_transport_has_taken_it),
        ws_test(test_34_end_behind_all_bytes),
        ws_test(test_39_violations_of_the_protocol_have_their_codes),
        ws_test(test_39_nothing_may_come_behind_an_end),
        ws_test(test_46_transport_end_without_fin_is_a_break),
        ws_test(test_46_transport_end_in_the_middle_of_a_frame_is_a_break),
        ws_test(test_49_close_before_the_end_is_a_break),
        ws_test(test_rule_7_server_closes_with_1000_and_waits_for_the_answer),
        ws_test(test_an_unanswered_close_is_waited_for_five_seconds),
        ws_test(test_38_a_slow_peer_has_time_to_take_what_waits_before_the_close),
        ws_test(test_38_but_not_for_ever),
        ws_test(test_client_is_finished_when_the_server_confirms),
        ws_test(test_client_is_told_when_the_server_could_not_deliver),
        ws_test(test_a_client_without_confirmation_does_not_take_a_loss_for_success),
        ws_test(test_a_lost_transport_harms_nothing_once_both_are_complete),
        ws_test(test_abort_says_why_behind_what_was_written),
        ws_test(test_window_is_exact_from_the_first_byte),
        ws_test(test_window_below_what_was_sent_stops_at_once_and_fin_needs_none),
        ws_test(test_windows_a_server_says_its_own_first_and_keeps_the_clients),
        ws_test(test_windows_a_client_waits_for_the_servers_but_its_fin_does_not),
        ws_test(test_windows_all_that_the_peer_may_send_is_read_and_what_is_behind_it),
        ws_test(test_windows_of_who_disregards_them_no_more_is_read),
        ws_test(test_windows_grow_as_data_is_taken_not_as_it_comes),
        ws_test(test_windows_of_a_client_grow_from_what_its_handshake_said),
        ws_test(test_windows_wait_for_a_full_transport),
        ws_test(test_windows_are_not_said_to_who_has_ended),
        ws_test(test_10_frames_that_came_with_the_handshake),
        ws_test(test_a_paused_owner_is_read_ahead_for_and_its_pings_answered),
        ws_test(test_51_read_ahead_is_bounded),
        ws_test(test_rule_3_no_end_behind_bytes_that_were_given_up),
        ws_test(test_rule_4_bytes_before_a_break_are_delivered_first),
        ws_test(test_rule_4_but_not_for_ever),
        ws_test(test_messages_that_come_together_are_told_together),
        ws_test(test_pause_from_within_on_data),
        ws_test(test_53_pongs_wait_for_a_full_transport_and_only_the_last_is_kept),
        ws_test(test_62_a_late_pong_does_not_put_off_pings_for_long),
        ws_test(test_62_an_unanswered_ping_is_a_break),
        ws_test(test_62_a_peer_held_up_by_its_own_sink_owes_no_pong),
        ws_test(test_our_own_pause_is_not_counted_against_the_peer),
        ws_test(test_62_a_pause_does_not_put_off_pings),
        ws_test(test_42_plain_close_is_the_end_of_the_peers_side),
        ws_test(test_42_plain_close_of_another_kind_is_a_break),
        ws_test(test_42_plain_end_of_our_side_is_close_1000),
        ws_test(test_42_plain_close_unanswered_is_a_break),
        ws_test(test_plain_close_lets_a_full_owner_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
