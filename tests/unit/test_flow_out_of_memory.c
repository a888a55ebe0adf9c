/* Checklist 91: the n-th allocation fails, for every n, on a run that allocates on every path: both
 * pipes are slow, so that queues fill on all sides. The connection may break; nothing may be lost
 * in silence or leak. */
#include "memory_pipe.h"
#include "model_world.h"
#include "ws_duplex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int countdown; /* to the allocation that fails; 0: none does */
static bool has_failed;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

static bool fails_now(void)
{
    if (countdown == 0 || --countdown > 0)
        return false;
    has_failed = true;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_calloc(count, size);
}

static int fails_at;

static void start_counting(void)
{
    countdown = fails_at;
}

static const uint8_t schedule[] = {
    WORLD_B_PAUSE,
    WORLD_BYTE(WORLD_A_SEND, 15),
    WORLD_STEP_UP,
    WORLD_BYTE(WORLD_A_SEND, 15),
    WORLD_STEP_UP,
    WORLD_BYTE(WORLD_A_SEND, 15),
    WORLD_STEP_UP,
    WORLD_BYTE(WORLD_WAIT, 3),
    WORLD_STEP_UP,
    WORLD_A_PAUSE,
    WORLD_BYTE(WORLD_B_SEND, 15),
    WORLD_STEP_DOWN,
    WORLD_BYTE(WORLD_B_SEND, 15),
    WORLD_STEP_DOWN,
    WORLD_A_END,
    WORLD_STEP_UP,
    WORLD_B_PAUSE,
    WORLD_STEP_UP,
    WORLD_STEP_UP,
    WORLD_B_END,
    WORLD_STEP_DOWN,
    WORLD_A_PAUSE,
    WORLD_STEP_DOWN,
};

static void fail_each_allocation(struct world_options options)
{
    int runs = 0;
    options.kind = WORLD_TUNNEL;
    options.on_ready = start_counting;
    for (int n = 1;; n++) {
        fails_at = n;
        has_failed = false;
        const char *problem = world_run(&options, schedule, sizeof schedule);
        countdown = 0;
        if (!has_failed)
            break;
        if (problem != NULL)
            fail_msg("allocation %d fails: %s", n, problem);
        runs++;
    }
    assert_true(runs >= 10); /* or the run no longer tests what it is for */
}

static void test_91_every_allocation_fails_once(void **state)
{
    (void)state;
    fail_each_allocation((struct world_options){.carrier = WS_EXTENSION});
}

static void test_91_every_allocation_fails_once_with_windows(void **state)
{
    (void)state;
    fail_each_allocation((struct world_options){.carrier = WS_SUBPROTOCOL, .window = 500});
}

/* ---- a control frame in two reads ---- */

static struct cause told_cause;
static uint8_t told_bytes[16];
static size_t told_len;

static void note_data(void *owner, struct span data)
{
    (void)owner;
    for (size_t i = 0; i < data.len && told_len < sizeof told_bytes; i++)
        told_bytes[told_len++] = data.data[i];
}

static void note_abort(void *owner, struct cause cause)
{
    (void)owner;
    told_cause = cause;
}

static void ignore(void *owner)
{
    (void)owner;
}

static void test_91_a_control_frame_in_pieces_needs_memory(void **state)
{
    (void)state;
    static const struct duplex_events events = {note_data, ignore, note_abort, ignore, ignore};
    static const struct ws_duplex_config config = {.linger_ms = 5000, .close_timeout_ms = 5000};
    uint8_t ping[] = {0x89, 0x84, 0, 0, 0, 0, 'p', 'i', 'n', 'g'};
    struct scheduler scheduler;
    struct memory_pipe pipe;
    struct span none = {NULL, 0};
    scheduler_init(&scheduler, 1000);
    memory_pipe_init(&pipe, 1000);
    struct duplex *far = &pipe.end[0].duplex;
    struct duplex *ws =
        ws_duplex_new(&scheduler, &pipe.end[1].duplex, WS_SERVER, WS_EXTENSION, &config, none);
    assert_non_null(ws);
    duplex_own(far, &events, NULL);
    duplex_own(ws, &events, NULL);
    duplex_resume(far);
    duplex_resume(ws);
    duplex_write(far, &(struct span){ping, sizeof ping}, 1);
    countdown = 1;
    memory_pipe_step(&pipe, 0, sizeof ping - 1);
    assert_int_equal(countdown, 0);
    memory_pipe_step(&pipe, 0, SIZE_MAX);
    scheduler_run_tasks(&scheduler);
    memory_pipe_step(&pipe, 1, SIZE_MAX);
    assert_int_equal(told_cause.what, CAUSE_NO_MEMORY);
    assert_memory_equal(told_bytes, "\x88\x0f\x03\xf3out of memory", sizeof told_bytes);
    memory_pipe_clear(&pipe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_91_every_allocation_fails_once),
        cmocka_unit_test(test_91_every_allocation_fails_once_with_windows),
        cmocka_unit_test(test_91_a_control_frame_in_pieces_needs_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
