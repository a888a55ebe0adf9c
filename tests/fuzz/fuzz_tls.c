/* TLS. Input: a byte of options; then, by its lowest bit,
 *
 *   0  what a peer sends that may speak anything: in pieces of the size of the next byte, to a
 * server or a client. It has no keys: nothing opens, nothing is told but one break. 1  a schedule
 * for a client, a server and the network between them (tests/model/tls_world.h).
 *
 * What is random in the library comes from a counter here (TLS 1.2), so that an input does the same
 * each time. */
#include "crypto.h"
#include "fuzz.h"
#include "memory_pipe.h"
#include "model_tls.h"
#include "tls_duplex.h"
#include "tls_duplex_internal.h"
#include "tls_world.h"

#include <string.h>

#define RAW_MAX      40000
#define SCHEDULE_MAX 120

static struct tls_config *configs[MODEL_TLS_COUNT];
static uint64_t random_state;

int __wrap_crypto_random(void *out, size_t len);

int __wrap_crypto_random(void *out, size_t len)
{
    uint8_t *bytes = out;
    for (size_t i = 0; i < len; i++) {
        random_state = random_state * 6364136223846793005u + 1442695040888963407u;
        bytes[i] = (uint8_t)(random_state >> 56);
    }
    return 0;
}

static void free_configs(void)
{
    model_tls_free(configs);
}

/* ---- a schedule ---- */

static void run_schedule(uint8_t choice, const uint8_t *schedule, size_t len)
{
    static const size_t capacities[] = {0, 64, 1000, 100000};
    struct tls_world_options options = {
        .configs = configs,
        .capacity = capacities[(choice >> 1) & 3],
        .keeps_lower_open = (choice & 8) != 0,
        .asks_client = (choice & 32) != 0,
        .is_shaken = (choice & 16) != 0,
    };
    if (len > SCHEDULE_MAX)
        return;
    const char *problem = tls_world_run(&options, schedule, len);
    if (problem != NULL)
        fprintf(stderr, "%s\n", problem);
    FUZZ_CHECK(problem == NULL);
}

/* ---- bytes ---- */

struct raw {
    struct duplex *duplex;
    int breaks;
    struct cause cause;
    uint8_t heard[128]; /* the first bytes of what the bare peer was told */
    size_t heard_len;
};

static void never_data(void *owner, struct span data)
{
    (void)owner;
    bool has_keys = data.len == 0;
    FUZZ_CHECK(has_keys);
}

static void never(void *owner)
{
    bool has_keys = owner == NULL;
    FUZZ_CHECK(has_keys);
}

static void on_abort(void *owner, struct cause cause)
{
    struct raw *r = owner;
    r->breaks++;
    r->cause = cause;
}

static const struct duplex_events tls_events = {never_data, never, on_abort, never, never};

static void peer_on_data(void *owner, struct span data)
{
    struct raw *r = owner;
    size_t n = sizeof r->heard - r->heard_len;
    n = n < data.len ? n : data.len;
    memcpy(r->heard + r->heard_len, data.data, n);
    r->heard_len += n;
}

static void ignore(void *owner)
{
    (void)owner;
}

static const struct duplex_events peer_events = {peer_on_data, ignore, on_abort, ignore, ignore};

static void move(struct scheduler *s, struct memory_pipe *wire)
{
    bool is_moving = true;
    while (is_moving) {
        scheduler_run_tasks(s);
        is_moving = memory_pipe_step(wire, 0, SIZE_MAX);
        is_moving |= memory_pipe_step(wire, 1, SIZE_MAX);
        is_moving |= scheduler_has_tasks(s);
    }
}

static void check_plain_http(enum model_tls_role role, uint8_t first, const struct raw *us,
                             const struct raw *peer)
{
    bool is_plain = role != MODEL_TLS_CLIENT && first >= 'A' && first <= 'Z';
    size_t len = strlen(model_tls_plain_answer);
    FUZZ_CHECK(is_plain == (us->cause.native == TLS_PROBLEM_PLAIN_HTTP));
    FUZZ_CHECK(!is_plain ||
               (peer->heard_len == len && memcmp(peer->heard, model_tls_plain_answer, len) == 0));
}

static void run_bytes(uint8_t choice, size_t piece, const uint8_t *bytes, size_t len)
{
    enum model_tls_role server = choice & 16 ? MODEL_TLS_ASKING_SERVER : MODEL_TLS_SERVER;
    enum model_tls_role role = choice & 2 ? MODEL_TLS_CLIENT : server;
    bool writes_early = (choice & 4) != 0, is_paused = (choice & 8) != 0;
    struct scheduler scheduler;
    struct memory_pipe wire;
    struct raw us = {0}, peer = {0};
    struct tls_duplex_options options = {
        .config = configs[role], .host = MODEL_TLS_HOST, .linger_ms = 5000, .on_open = never};
    scheduler_init(&scheduler, 1000);
    memory_pipe_init(&wire, 1000);
    us.duplex = tls_duplex_new(&scheduler, &wire.end[0].duplex, &options);
    peer.duplex = &wire.end[1].duplex;
    FUZZ_CHECK(us.duplex != NULL);
    duplex_own(us.duplex, &tls_events, &us);
    duplex_own(peer.duplex, &peer_events, &peer);
    duplex_resume(us.duplex);
    duplex_resume(peer.duplex);
    if (writes_early)
        FUZZ_CHECK(duplex_write(us.duplex, &(struct span){(uint8_t[]){1, 2, 3}, 3}, 1));
    if (is_paused)
        duplex_pause(us.duplex);
    for (size_t done = 0; done < len && peer.breaks == 0;) {
        uint8_t copy[256];
        size_t n = len - done < piece ? len - done : piece;
        memcpy(copy, bytes + done, n);
        duplex_write(peer.duplex, &(struct span){copy, n}, 1);
        done += n;
        move(&scheduler, &wire);
        FUZZ_CHECK(us.breaks <= 1);
        FUZZ_CHECK(us.breaks == 1 ||
                   queue_size(&container_of(us.duplex, struct tls_duplex, duplex)->held) <= 65536);
    }
    if (peer.breaks == 0)
        duplex_finish(peer.duplex);
    move(&scheduler, &wire);
    FUZZ_CHECK(us.breaks == 1);
    FUZZ_CHECK(us.cause.what == CAUSE_TLS || us.cause.what == CAUSE_LOST);
    if (len > 0)
        check_plain_http(role, bytes[0], &us, &peer);
    FUZZ_CHECK(memory_end_is_released(&wire.end[0]));
    scheduler_advance(&scheduler, 100000);
    scheduler_run_tasks(&scheduler);
    uint64_t at_ms;
    FUZZ_CHECK(!scheduler_next(&scheduler, &at_ms));
    memory_pipe_clear(&wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (configs[0] == NULL) {
        FUZZ_CHECK(model_tls_init(configs));
        atexit(free_configs);
    }
    random_state = 1;
    if (size < 2 || size > RAW_MAX)
        return 0;
    if (data[0] & 1)
        run_schedule(data[0], data + 1, size - 1);
    else
        run_bytes(data[0], 1 + (size_t)data[1], data + 2, size - 2);
    return 0;
}
