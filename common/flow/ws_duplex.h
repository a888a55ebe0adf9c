/* A WebSocket, after its handshake, as a duplex: both roles, all three carriers. Sits on a lower
 * duplex (TCP, unix, TLS) and owns it. docs/protocol.md sections 3 to 5, 7 and 8 are this duplex.
 *
 *   lower says                          told as
 *   Binary (and Text where it is data)  on_data
 *   FIN n, n right                      on_end
 *   Close, end or break of the lower,
 *   anything wrong                      on_abort, behind the data that came before
 *   WINDOW n                            lets write() go on up to n
 *   Ping                                answered here, also while paused, up to WS_READ_AHEAD bytes
 * behind the data that the owner does not take
 *
 * With windows of our own (ws_duplex_begin_with_windows) all that a peer who keeps to them may send
 * is read, paused or not: nothing that it says is ever held up by its own data.
 */
#ifndef TIDEGATE_WS_DUPLEX_H
#define TIDEGATE_WS_DUPLEX_H

#include "duplex.h"
#include "scheduler.h"
#include "ws_message.h"

/* How far a paused WebSocket is still read, so that pings and Close behind a little data are seen.
 * A peer that has been sent more than this since its last sign of life may be paused itself, and
 * owes no pong. */
#define WS_READ_AHEAD 65536

/* How far a page may be ahead of what its backend has taken. It is what one stalled connection may
 * hold in memory, against what one connection can carry: so much in each round trip, 42 Mbit/s over
 * 100 ms. */
#define WS_WINDOW (512 * 1024)

struct ws_duplex_config {
    uint64_t ping_interval_ms; /* 0: no pings */
    uint64_t ping_timeout_ms;  /* after a ping, for any sign of life */
    uint64_t
        linger_ms; /* for what a failed connection had still brought, and its owner must take */
    /* For the peer's answer to our Close, once it has it: 5000 (docs/protocol.md section 5). */
    uint64_t close_timeout_ms;
    /* For a peer that takes nothing of what still waits for it when we have closed; 0: any time. */
    uint64_t stall_ms;
};

/* `early` is what came behind the handshake head: copied. `config` is copied; above 2^32 ms (49
 * days) its times are that. NULL when out of memory; `lower` is then untouched. `lower` is paused
 * until this duplex is resumed. */
struct duplex *ws_duplex_new(struct scheduler *s, struct duplex *lower, enum ws_role role,
                             enum ws_carrier carrier, const struct ws_duplex_config *config,
                             struct span early);

/* Both streams begin with windows, as v1.tidegate.window.N has it (docs/protocol.md section 2).
 * Before anything else is called, and not for WS_PLAIN. The peer takes `send` bytes until it says
 * WINDOW. It is let `receive` bytes (1 to 2^31) ahead of what the owner has taken, the owner paused
 * or not: a server says so here, a client has said it in its handshake. A peer that sends more is
 * not read until its backlog is below that again. */
void ws_duplex_begin_with_windows(struct duplex *d, uint64_t send, uint32_t receive);

#endif
