/* The demo's client: a real WebSocket client, on the project's own connect, handshake and WebSocket
 * duplex. Sends a few lines in pieces, says that it is finished, and reads the answer. */
#ifndef TIDEGATE_DEMO_CLIENT_H
#define TIDEGATE_DEMO_CLIENT_H

#include "address.h"
#include "loop.h"
#include "timeline.h"

struct demo_client_report {
    bool has_finished; /* the connection came to its proper end */
    bool is_right;     /* the answer is the tally of what was sent */
    uint64_t sent, received;
};

struct demo_client;

/* Connects to the proxy. `is_plain`: offers no half-close, so that Close 1000 is the one way to say
 * "I am finished". `on_over` comes once, from the loop. NULL when out of memory: it does not come.
 */
struct demo_client *
demo_client_start(struct loop *l, const struct address *proxy, bool is_plain,
                  struct timeline *timeline,
                  void (*on_over)(void *arg, const struct demo_client_report *report), void *arg);

#endif
