/* The relay and the WebSocket duplexes: the input is a schedule for two programs and the network
 * between them (tests/model/model_world.h). Whatever the schedule, the properties hold. */
#include "fuzz.h"
#include "model_world.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t capacities[] = {0, 1, 64, 1000};
    if (size < 1 || size > 300)
        return 0;
    struct world_options options = {
        .kind = data[0] & 1 ? WORLD_TUNNEL : WORLD_RELAY,
        .carrier = data[0] & 2 ? WS_EXTENSION : WS_SUBPROTOCOL,
        .capacity = capacities[(data[0] >> 2) & 3],
    };
    const char *problem = world_run(&options, data + 1, size - 1);
    if (problem != NULL)
        fprintf(stderr, "%s\n", problem);
    FUZZ_CHECK(problem == NULL);
    return 0;
}
