/* core/queue.h */
#include "queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t seed;

static size_t random_below(size_t n)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (size_t)(seed >> 33) % n;
}

/* The byte at position n of the stream that every test pushes. */
static uint8_t byte_at(size_t n)
{
    return (uint8_t)(n * 31 + (n >> 8) * 7 + (n >> 16));
}

static void push(struct queue *q, size_t from, size_t len)
{
    uint8_t *bytes = malloc(len + 1);
    for (size_t i = 0; i < len; i++)
        bytes[i] = byte_at(from + i);
    assert_int_equal(queue_push(q, (struct span){bytes, len}), 0);
    free(bytes); /* the queue has a copy */
}

/* Checks up to `max` spans against the stream from position `from`; returns the bytes seen. */
static size_t check(const struct queue *q, size_t from, size_t max)
{
    struct span spans[64];
    size_t n = queue_peek(q, spans, max), seen = 0;
    assert_true(n <= max);
    for (size_t i = 0; i < n; i++) {
        assert_true(spans[i].len > 0);
        for (size_t k = 0; k < spans[i].len; k++)
            assert_int_equal(spans[i].data[k], byte_at(from + seen + k));
        seen += spans[i].len;
    }
    assert_true(seen <= queue_size(q));
    if (n < max)
        assert_int_equal(seen, queue_size(q));
    return seen;
}

static void test_empty_owns_nothing(void **state)
{
    (void)state;
    struct queue q = {0};
    struct span s;
    assert_int_equal(queue_peek(&q, &s, 1), 0);
    assert_int_equal(queue_push(&q, (struct span){NULL, 0}), 0);
    assert_true(queue_is_empty(&q));
    queue_drop(&q, 0);
    push(&q, 0, 10);
    queue_drop(&q, 10);
    assert_true(queue_is_empty(&q));
    assert_int_equal(queue_size(&q), 0);
    push(&q, 0, 10);
    queue_clear(&q);
    assert_true(queue_is_empty(&q));
    push(&q, 0, 10);
    assert_int_equal(check(&q, 0, 8), 10);
    queue_clear(&q);
    queue_clear(&q);
}

static void test_first_in_first_out(void **state)
{
    (void)state;
    for (seed = 1; seed < 40; seed++) {
        uint64_t start = seed;
        struct queue q;
        queue_init(&q);
        size_t pushed = 0, dropped = 0;
        for (int i = 0; i < 300; i++) {
            if (random_below(2) == 0) {
                size_t n = random_below(random_below(4) == 0 ? 60000 : 40);
                push(&q, pushed, n);
                pushed += n;
            } else {
                size_t n = random_below(queue_size(&q) + 1);
                queue_drop(&q, n);
                dropped += n;
            }
            assert_int_equal(queue_size(&q), pushed - dropped);
            check(&q, dropped, 1 + random_below(64));
        }
        queue_clear(&q);
        seed = start;
    }
}

static void test_push_does_not_move_what_was_seen(void **state)
{
    (void)state;
    struct queue q = {0};
    struct span before, after;
    push(&q, 0, 100);
    assert_int_equal(queue_peek(&q, &before, 1), 1);
    push(&q, 100, 100000);
    assert_int_equal(queue_peek(&q, &after, 1), 1);
    assert_ptr_equal(before.data, after.data);
    assert_int_equal(check(&q, 0, 64), 100100);
    queue_clear(&q);
}

static void test_many_small_pushes_share_chunks(void **state)
{
    (void)state;
    struct queue q = {0};
    struct span spans[64];
    for (size_t i = 0; i < 100000; i++)
        push(&q, i, 1);
    assert_true(queue_peek(&q, spans, 64) < 10);
    assert_int_equal(check(&q, 0, 64), 100000);
    queue_clear(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_owns_nothing),
        cmocka_unit_test(test_first_in_first_out),
        cmocka_unit_test(test_push_does_not_move_what_was_seen),
        cmocka_unit_test(test_many_small_pushes_share_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
