/* Checklist 91: the n-th allocation fails, for every n, where TLS is set up, shakes hands and
 * talks. What is meant ends with an error or a break; never with an end or with bytes that nobody
 * sent.
 *
 * The libraries allocate by calloc, which --wrap does not reach: this program has a calloc of its
 * own, that they find before the C library's. Ours allocate by malloc, too, which is wrapped.
 *
 * Nine in ten allocations of a handshake are limbs of big numbers: of those, only some fail. */
#include "memory_pipe.h"
#include "model_tls.h"
#include "tls_certs.h"
#include "tls_duplex.h"
#include "tls_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LIMB_SIZE sizeof(uint64_t)

enum counted { BLOCKS, LIMBS };

static enum counted counted;
static unsigned long calls, fail_at; /* the n-th call fails; 0: none does, and none is counted */

static bool is_refused(enum counted what)
{
    return fail_at > 0 && what == counted && ++calls == fail_at;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
    return is_refused(BLOCKS) ? NULL : __real_malloc(size);
}

/* A sanitizer's allocator, if there is one, is the one that frees. */
void *__libc_calloc(size_t count, size_t size);
void *__interceptor_calloc(size_t count, size_t size) __attribute__((weak));

void *calloc(size_t count, size_t size)
{
    if (is_refused(size == LIMB_SIZE ? LIMBS : BLOCKS))
        return NULL;
    return __interceptor_calloc != NULL ? __interceptor_calloc(count, size)
                                        : __libc_calloc(count, size);
}

static void count_from_here(void)
{
    calls = 0;
}

/* Runs `attempt` with each allocation failing in turn. How many did fail. */
static unsigned long fail_each(enum counted what, unsigned long first, unsigned long stride,
                               void (*attempt)(void))
{
    unsigned long failed = 0;
    counted = what;
    for (unsigned long n = first;; n += stride) {
        calls = 0;
        fail_at = n;
        attempt();
        fail_at = 0;
        if (calls < n)
            return failed;
        failed++;
    }
}

static void fail_all(void (*attempt)(void), unsigned long at_least, unsigned long limb_stride)
{
    assert_in_range(fail_each(BLOCKS, 1, 1, attempt), at_least, 10000);
    assert_in_range(fail_each(LIMBS, 1, limb_stride, attempt), 5, 10000);
}

/* ---- settings ---- */

static struct tls_certs certs;
static struct tls_config *configs[MODEL_TLS_COUNT];

static void check_loaded(int status, struct tls_config *config, const struct text *problem)
{
    if (status == 0) {
        assert_non_null(config);
        tls_config_free(config);
    } else {
        assert_true(status < 0);
        assert_null(config);
        assert_true(problem->len > 0);
    }
}

static void load_settings(void)
{
    char buffer[512];
    struct text problem;
    struct tls_config *config = NULL;
    struct tls_client_options client = {.ca_file = certs.ca,
                                        .pair = {certs.good, certs.key},
                                        .pin_sha256 = certs.pin,
                                        .speaks_http = true};
    struct tls_server_options server = {
        .pairs = {{certs.good, certs.key}, {certs.no_names, certs.key}},
        .pair_count = 2,
        .client_ca_file = certs.ca};
    text_init(&problem, buffer, sizeof buffer);
    int status = tls_config_new_server(&server, &config, &problem);
    check_loaded(status, config, &problem);
    config = NULL;
    text_init(&problem, buffer, sizeof buffer);
    status = tls_config_new_client(&client, &config, &problem);
    check_loaded(status, config, &problem);
}

static void test_91_settings(void **state)
{
    (void)state;
    fail_all(load_settings, 15, 41);
}

/* ---- connections ---- */

/* Writes in the handshake, while the other does not read, both ways, and both ends. */
static const uint8_t schedule[] = {
    TLS_WORLD_BYTE(TLS_WORLD_CLIENT_SEND, 15),
    TLS_WORLD_BYTE(TLS_WORLD_SERVER_SEND, 3),
    TLS_WORLD_BYTE(TLS_WORLD_PAUSE, 1),
    TLS_WORLD_STEP_UP,
    TLS_WORLD_STEP_DOWN,
    TLS_WORLD_STEP_UP,
    TLS_WORLD_STEP_DOWN,
    TLS_WORLD_STEP_UP,
    TLS_WORLD_STEP_DOWN,
    TLS_WORLD_BYTE(TLS_WORLD_SEND_MUCH, 0),
    TLS_WORLD_BYTE(TLS_WORLD_STEP_UP, 5),
    TLS_WORLD_BYTE(TLS_WORLD_SEND_MUCH, 1),
    TLS_WORLD_BYTE(TLS_WORLD_STEP_DOWN, 5),
    TLS_WORLD_BYTE(TLS_WORLD_END, 0),
    TLS_WORLD_BYTE(TLS_WORLD_PAUSE, 1),
    TLS_WORLD_BYTE(TLS_WORLD_STEP_UP, 5),
    TLS_WORLD_BYTE(TLS_WORLD_END, 1),
};

static void talk(void)
{
    struct tls_world_options options = {
        .configs = configs, .capacity = 1000, .asks_client = true, .on_ready = count_from_here};
    unsigned long n = fail_at;
    const char *problem = tls_world_run(&options, schedule, sizeof schedule);
    fail_at = 0;
    if (problem != NULL)
        fail_msg("%s %lu fails: %s", counted == LIMBS ? "number" : "block", n, problem);
}

static void test_91_conversation(void **state)
{
    (void)state;
    fail_all(talk, 70, 401);
}

/* ---- who is believed ---- */

static void never_data(void *owner, struct span data)
{
    (void)owner;
    (void)data;
    fail();
}

static void ignore(void *owner)
{
    (void)owner;
}

static void on_abort(void *owner, struct cause cause)
{
    struct duplex **d = owner;
    (void)cause;
    *d = NULL;
}

static const struct duplex_events events = {never_data, ignore, on_abort, ignore, ignore};

static void never_open(void *owner)
{
    (void)owner;
    fail_at = 0;
    fail_msg("a peer that nobody vouches for is believed");
}

/* `doubter`: whose peer is not what it should be. */
static void meet(struct tls_config *const met[2], const char *host, int doubter)
{
    struct scheduler scheduler;
    struct memory_pipe wire;
    struct duplex *side[2];
    scheduler_init(&scheduler, 1000);
    memory_pipe_init(&wire, 1 << 20);
    for (int i = 0; i < 2; i++) {
        struct tls_duplex_options o = {.config = met[i], .host = host, .linger_ms = 1000};
        if (i == doubter)
            o.on_open = never_open;
        side[i] = tls_duplex_new(&scheduler, &wire.end[i].duplex, &o);
        if (side[i] == NULL) {
            duplex_abort(&wire.end[i].duplex, (struct cause){.what = CAUSE_NO_MEMORY});
            continue;
        }
        duplex_own(side[i], &events, &side[i]);
        duplex_resume(side[i]);
    }
    bool is_moving = true;
    while (is_moving) {
        scheduler_run_tasks(&scheduler);
        is_moving = memory_pipe_step(&wire, 0, SIZE_MAX);
        is_moving |= memory_pipe_step(&wire, 1, SIZE_MAX);
        is_moving |= scheduler_has_tasks(&scheduler);
    }
    assert_null(side[doubter]);
    if (side[1 - doubter] != NULL)
        duplex_abort(side[1 - doubter], (struct cause){.what = CAUSE_CLOSED});
    scheduler_run_tasks(&scheduler);
    memory_pipe_clear(&wire);
}

static struct tls_config *stranger; /* a client, signed by itself */

static void meet_a_wrong_server(void)
{
    meet(configs, "other.test", MODEL_TLS_CLIENT); /* the chain is good, the name is not */
}

static void meet_a_wrong_client(void)
{
    struct tls_config *const met[] = {stranger, configs[MODEL_TLS_ASKING_SERVER]};
    meet(met, MODEL_TLS_HOST, MODEL_TLS_SERVER);
}

static void test_91_no_stranger_is_believed(void **state)
{
    (void)state;
    fail_all(meet_a_wrong_server, 30, 401);
    char buffer[512];
    struct text problem;
    struct tls_client_options o = {.pair = {certs.self, certs.key}, .is_insecure = true};
    text_init(&problem, buffer, sizeof buffer);
    assert_int_equal(tls_config_new_client(&o, &stranger, &problem), 0);
    fail_all(meet_a_wrong_client, 30, 401);
    tls_config_free(stranger);
}

static int set_up(void **state)
{
    (void)state;
    return tls_certs_make(&certs) && model_tls_init(configs) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    model_tls_free(configs);
    tls_certs_remove(&certs);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_91_settings),
        cmocka_unit_test(test_91_conversation),
        cmocka_unit_test(test_91_no_stranger_is_believed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
