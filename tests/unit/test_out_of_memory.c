/* Checklist 91: each allocation of core and wire fails once. The linker sends malloc and calloc
 * here. */
#include "crypto.h"
#include "queue.h"
#include "ws_handshake.h"
#include "ws_message.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

static unsigned long calls, fail_at; /* the n-th call since fail_at was set fails; 0: none */

static bool is_refused(void)
{
    calls++;
    return calls == fail_at;
}

void *__wrap_malloc(size_t size)
{
    return is_refused() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return is_refused() ? NULL : __real_calloc(count, size);
}

static void fail_call(unsigned long n)
{
    calls = 0;
    fail_at = n;
}

static void test_91_heads(void **state)
{
    (void)state;
    for (int role = WS_SERVER; role <= WS_CLIENT; role++) {
        fail_call(1);
        assert_null(ws_head_new((enum ws_role)role));
        assert_int_equal(calls, 1);
        fail_call(0);
        struct ws_head *head = ws_head_new((enum ws_role)role);
        assert_non_null(head);
        assert_int_equal(calls, 1); /* one block, as the header promises */
        ws_head_free(head);
    }
}

/* A handshake allocates nothing beside its head. */
static void test_91_handshake_needs_no_more(void **state)
{
    (void)state;
    char request[] = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: v1.tidegate\r\n\r\n";
    struct ws_head *head = ws_head_new(WS_SERVER);
    struct span in = {(uint8_t *)request, sizeof(request) - 1};
    struct ws_offer offer;
    const char *problem;
    fail_call(0);
    assert_int_equal(ws_head_feed(head, &in), WS_HEAD_DONE);
    assert_int_equal(ws_handshake_judge(head, &offer, &problem), 101);
    assert_int_equal(calls, 0);
    ws_head_free(head);
}

/* A control frame in two reads is the one thing that the reader needs memory for. */
static void test_91_control_frame_in_pieces(void **state)
{
    (void)state;
    uint8_t frame[] = {0x89, 0x04, 'p', 'i', 'n', 'g'};
    for (size_t split = 0; split <= sizeof(frame); split++) {
        bool is_in_pieces = split > 2 && split < sizeof(frame);
        struct ws_reader reader;
        struct ws_event event;
        struct span one = {frame, split}, two = {frame + split, sizeof(frame) - split};
        fail_call(1);
        ws_reader_init(&reader, WS_CLIENT, WS_PLAIN);
        bool has_event = ws_reader_next(&reader, &one, &event);
        assert_int_equal(calls, is_in_pieces ? 1 : 0);
        assert_int_equal(has_event, is_in_pieces || split == sizeof(frame));
        if (!has_event)
            assert_true(ws_reader_next(&reader, &two, &event));
        assert_int_equal(event.type, is_in_pieces ? WS_EVENT_ERROR : WS_EVENT_PING);
        assert_int_equal(event.code, is_in_pieces ? 1011 : 0);
        ws_reader_clear(&reader);
    }
    fail_call(0);
}

static void test_91_queue(void **state)
{
    (void)state;
    uint8_t bytes[5000];
    memset(bytes, 'x', sizeof(bytes));
    unsigned long failures = 0;
    for (unsigned long n = 1; n <= 20; n++) {
        struct queue q = {0};
        size_t pushed = 0;
        fail_call(n);
        for (int i = 0; i < 60; i++) {
            size_t before = queue_size(&q);
            int r = queue_push(&q, (struct span){bytes, sizeof(bytes)});
            if (r == 0) {
                pushed += sizeof(bytes);
            } else {
                assert_int_equal(r, -ENOMEM);
                assert_int_equal(queue_size(&q), before);
                failures++;
            }
        }
        struct span spans[128];
        size_t count = queue_peek(&q, spans, 128), held = 0;
        for (size_t i = 0; i < count; i++)
            held += spans[i].len;
        assert_int_equal(queue_size(&q), pushed);
        assert_int_equal(held, pushed);
        queue_drop(&q, pushed);
        assert_true(queue_is_empty(&q));
    }
    fail_call(0);
    assert_in_range(failures, 15, 20);
}

static void test_91_sha256(void **state)
{
    (void)state;
    fail_call(1);
    assert_null(crypto_sha256_new());
    fail_call(0);
    crypto_sha256_free(crypto_sha256_new());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_91_heads),
        cmocka_unit_test(test_91_handshake_needs_no_more),
        cmocka_unit_test(test_91_control_frame_in_pieces),
        cmocka_unit_test(test_91_queue),
        cmocka_unit_test(test_91_sha256),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
