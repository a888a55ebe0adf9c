/* Checklist 91: the n-th allocation fails, for every n, on a run that allocates on every path: both
 * pipes are slow, so that queues fill on all sides. The connection may break; nothing may be lost
 * in silence or leak. */
#include "model_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_91_every_allocation_fails_once),
        cmocka_unit_test(test_91_every_allocation_fails_once_with_windows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
