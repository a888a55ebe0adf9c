/* One local connection, bridged to the server: dials, keeps what comes early, then relays.
 *
 *   local duplex --> dialling --> relaying --> on_done
 *                        |
 *                        +--> on_failed
 */
#ifndef TIDEGATE_TUNNEL_LINK_H
#define TIDEGATE_TUNNEL_LINK_H

#include "../service/early.h"
#include "config.h"
#include "loop.h"
#include "relay.h"

struct tunnel_link;

struct tunnel_link_handler {
    /* There is a WebSocket, over result->stream. on_done follows. */
    void (*on_open)(struct tunnel_link *link, const struct dialer_result *result);
    /* There is none: the local side has been reset, or it went first (DIALER_GIVEN_UP). The link
     * may be freed in it. */
    void (*on_failed)(struct tunnel_link *link, const struct dialer_result *result);
    /* All is over. The link may be freed in it. */
    void (*on_done)(struct tunnel_link *link, const struct relay_report *report);
};

struct tunnel_link {
    struct loop *loop;
    const struct tunnel_config *config;
    const struct tunnel_link_handler *handler;
    struct duplex *local;  /* NULL once the relay has it, or it is gone */
    struct redial *redial; /* NULL once it has answered */
    struct early early;    /* what the local side brought meanwhile */
    struct relay relay;
    enum ws_carrier carrier;
};

/* Takes over `local` (new, paused) and dials. The link is the caller's memory. False when out of
 * memory: `local` is untouched, nothing follows. Events come from the loop, never from this call.
 */
bool tunnel_link_start(struct tunnel_link *link, struct loop *l, const struct tunnel_config *config,
                       const struct tunnel_link_handler *handler, struct duplex *local);

bool tunnel_link_is_open(const struct tunnel_link *link);

/* Breaks it from our side. Before it was open on_failed is called by this; else on_done follows
 * from the loop. */
void tunnel_link_abort(struct tunnel_link *link, struct cause cause);

#endif
