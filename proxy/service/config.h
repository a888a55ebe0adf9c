/* What every subcommand that relays connections is told: the values behind the flags that `serve`
 * and `tunnel` have in common. Filled in by options.c, read-only afterwards; outlives whatever is
 * started with it. */
#ifndef TIDEGATE_SERVICE_CONFIG_H
#define TIDEGATE_SERVICE_CONFIG_H

#include "listen_address.h"
#include "relay.h"
#include "stream.h"
#include "ws_duplex.h"

#define SERVICE_LISTEN_MAX 16

struct listen_list {
    unsigned count;
    struct listen_address items[SERVICE_LISTEN_MAX];
};

struct service_config {
    struct listen_list listen;
    uint64_t max_connections;  /* 0: not given; service_open wants it set */
    uint64_t also_descriptors; /* needed for other things than connections */
    uint64_t workers;          /* loops, each in a thread of its own; 0: one */
    uint64_t drain_delay_ms, drain_timeout_ms;
    uint64_t reload_interval_ms; /* between two looks at the files that TLS needs; 0: none */
    uint64_t connect_timeout_ms;
    struct relay_limits relay;
    struct ws_duplex_config ws;
    struct stream_options stream;
};

#endif
