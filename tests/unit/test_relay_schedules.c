/* The relay, alone and as the pair of a tunnel and a server, under every short schedule and many
 * random ones; with TLS under some. */
#include "model_tls.h"
#include "model_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect_holds(const struct world_options *options, const uint8_t *schedule, size_t len)
{
    const char *problem = world_run(options, schedule, len);
    if (problem == NULL)
        return;
    /* The shortest prefix that still fails says most. */
    for (size_t n = 0; n < len; n++) {
        if (world_run(options, schedule, n) != NULL) {
            len = n;
            break;
        }
    }
    char text[512] = "";
    size_t used = 0;
    for (size_t i = 0; i < len && used + 4 < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%02x ", schedule[i]);
    fail_msg("%s; kind %d%s carrier %d window %u capacity %zu, schedule: %s", problem,
             options->kind, options->tls != NULL ? " TLS" : "", options->carrier,
             (unsigned)options->window, options->capacity, text);
}

static void run_all(const struct world_options *options, const uint8_t *alphabet, size_t letters,
                    size_t depth)
{
    uint8_t schedule[16];
    size_t digits[16] = {0};
    for (;;) {
        for (size_t i = 0; i < depth; i++)
            schedule[i] = alphabet[digits[i]];
        expect_holds(options, schedule, depth);
        size_t at = 0;
        while (at < depth && ++digits[at] == letters)
            digits[at++] = 0;
        if (at == depth)
            return;
    }
}

static const uint8_t every_op[] = {
    WORLD_BYTE(WORLD_A_SEND, 2),
    WORLD_BYTE(WORLD_B_SEND, 3),
    WORLD_A_END,
    WORLD_B_END,
    WORLD_A_ABORT,
    WORLD_B_ABORT,
    WORLD_A_PAUSE,
    WORLD_B_PAUSE,
    WORLD_STEP_UP,
    WORLD_STEP_DOWN,
    WORLD_BYTE(WORLD_WAIT, 2),
    WORLD_BREAK,
};

static void test_every_schedule_of_four_through_a_relay(void **state)
{
    (void)state;
    struct world_options options = {.kind = WORLD_RELAY, .capacity = 64};
    run_all(&options, every_op, sizeof every_op, 4);
}

static void test_every_schedule_of_three_through_a_tunnel(void **state)
{
    (void)state;
    struct world_options options = {.kind = WORLD_TUNNEL, .carrier = WS_EXTENSION, .capacity = 64};
    run_all(&options, every_op, sizeof every_op, 3);
    options.carrier = WS_SUBPROTOCOL;
    run_all(&options, every_op, sizeof every_op, 3);
    options.window = 100;
    run_all(&options, every_op, sizeof every_op, 3);
}

static uint64_t random_state;

static uint32_t random_next(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33);
}

/* Breaks are rare, or most schedules would be short ones. */
static uint8_t random_byte(void)
{
    uint8_t amount = (uint8_t)(random_next() % 16);
    uint8_t op = (uint8_t)(random_next() % WORLD_OP_COUNT);
    bool is_break = op == WORLD_A_ABORT || op == WORLD_B_ABORT || op == WORLD_BREAK;
    bool is_end = op == WORLD_A_END || op == WORLD_B_END;
    if ((is_break && random_next() % 20 != 0) || (is_end && random_next() % 5 != 0))
        op = WORLD_STEP_ONE;
    return (uint8_t)(op | amount << 4);
}

static void run_random(struct world_options options, unsigned count)
{
    static const size_t capacities[] = {0, 1, 64, 1000, 100000};
    const char *seed = getenv("TIDEGATE_SEED");
    random_state = seed != NULL ? strtoull(seed, NULL, 10) : 20261122;
    const char *factor = getenv("TIDEGATE_RANDOM_FACTOR");
    count *= factor != NULL ? (unsigned)strtoul(factor, NULL, 10) : 1;
    uint8_t schedule[200];
    for (unsigned i = 0; i < count; i++) {
        size_t len = random_next() % sizeof schedule;
        for (size_t k = 0; k < len; k++)
            schedule[k] = random_byte();
        options.capacity = capacities[random_next() % 5];
        expect_holds(&options, schedule, len);
    }
}

static void test_random_schedules_through_a_relay(void **state)
{
    (void)state;
    run_random((struct world_options){.kind = WORLD_RELAY}, 3000);
}

static void test_random_schedules_through_a_tunnel_extension(void **state)
{
    (void)state;
    run_random((struct world_options){.kind = WORLD_TUNNEL, .carrier = WS_EXTENSION}, 1500);
}

static void test_random_schedules_through_a_tunnel_subprotocol(void **state)
{
    (void)state;
    run_random((struct world_options){.kind = WORLD_TUNNEL, .carrier = WS_SUBPROTOCOL}, 1500);
}

static void test_random_schedules_through_a_tunnel_with_windows(void **state)
{
    static const uint32_t windows[] = {50, 150, 1000};
    (void)state;
    for (size_t i = 0; i < array_count(windows); i++)
        run_random((struct world_options){.kind = WORLD_TUNNEL,
                                          .carrier = WS_SUBPROTOCOL,
                                          .window = windows[i]},
                   400);
}

/* A handshake costs as much as a hundred schedules without. */
static struct tls_config *tls[MODEL_TLS_COUNT];

static void test_47_random_schedules_over_tls(void **state)
{
    (void)state;
    run_random((struct world_options){.kind = WORLD_RELAY, .tls = tls}, 250);
    run_random((struct world_options){.kind = WORLD_TUNNEL, .carrier = WS_EXTENSION, .tls = tls},
               150);
    run_random((struct world_options){.kind = WORLD_TUNNEL, .carrier = WS_SUBPROTOCOL, .tls = tls},
               150);
}

static int set_up(void **state)
{
    (void)state;
    return model_tls_init(tls) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    model_tls_free(tls);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_schedule_of_four_through_a_relay),
        cmocka_unit_test(test_every_schedule_of_three_through_a_tunnel),
        cmocka_unit_test(test_random_schedules_through_a_relay),
        cmocka_unit_test(test_random_schedules_through_a_tunnel_extension),
        cmocka_unit_test(test_random_schedules_through_a_tunnel_subprotocol),
        cmocka_unit_test(test_random_schedules_through_a_tunnel_with_windows),
        cmocka_unit_test(test_47_random_schedules_over_tls),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
