/* The relay and the WebSocket duplexes: the input is a schedule for two programs and the network
 * between them (tests/model/model_world.h). Whatever the schedule, the properties hold. One
 * input in sixteen is with TLS, which is slow. */
#include "fuzz.h"
#include "model_tls.h"
#include "model_world.h"

#include <stdio.h>

static struct tls_config *tls[MODEL_TLS_COUNT];

static void free_tls(void)
{
    model_tls_free(tls);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t capacities[] = {0, 1, 64, 1000};
    static const uint32_t windows[] = {50, 150, 1000, 10000};
    if (size < 1 || size > 300)
        return 0;
    bool has_tls = data[0] >> 4 == 15;
    if (has_tls && tls[0] == NULL) {
        FUZZ_CHECK(model_tls_init(tls));
        atexit(free_tls);
    }
    struct world_options options = {
        .kind = data[0] & 1 ? WORLD_TUNNEL : WORLD_RELAY,
        .carrier = data[0] & 2 ? WS_EXTENSION : WS_SUBPROTOCOL,
        .window = data[0] & 32 ? windows[data[0] >> 6] : 0,
        .capacity = capacities[(data[0] >> 2) & 3],
        .tls = has_tls ? tls : NULL,
    };
    const char *problem = world_run(&options, data + 1, size - 1);
    if (problem != NULL)
        fprintf(stderr, "%s\n", problem);
    FUZZ_CHECK(problem == NULL);
    return 0;
}
