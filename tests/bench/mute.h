/* Two mute duplexes and a relay between them, one under a WebSocket server: what is written goes
 * nowhere, what arrives is told by the caller. No cost but that of the code in between. */
#ifndef TIDEGATE_BENCH_MUTE_H
#define TIDEGATE_BENCH_MUTE_H

#include "relay.h"
#include "ws_duplex.h"

struct mute {
    struct duplex duplex;
    uint64_t written;
};

struct mute_world {
    struct scheduler scheduler;
    struct mute client, backend;
    struct relay relay;
    struct relay_limits limits;
};

/* A client that speaks half-close and a backend, both connected. Ends the program if it cannot. */
void mute_set_up(struct mute_world *w);

/* Bytes from the client (frames) or from the backend, and the end of the loop's turn. */
void mute_tell(struct mute_world *w, struct mute *from, struct span data);

void mute_tear_down(struct mute_world *w);

#endif
