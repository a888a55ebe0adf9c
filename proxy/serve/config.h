/* What `tidegate serve` is told to do: the values behind its flags. Filled in by options.c,
 * read-only afterwards; outlives the server and everything that it starts. */
#ifndef TIDEGATE_SERVE_CONFIG_H
#define TIDEGATE_SERVE_CONFIG_H

#include "address.h"
#include "relay.h"
#include "stream.h"
#include "ws_duplex.h"

#define SERVER_LISTEN_MAX 16

struct address_list {
    unsigned count;
    struct address items[SERVER_LISTEN_MAX];
};

struct server_config {
    struct address_list listen;
    struct address backend;
    uint64_t connect_timeout_ms;
    uint64_t handshake_timeout_ms;
    uint64_t drain_timeout_ms;
    uint64_t max_connections; /* 0: not given; server_start wants it set */
    struct relay_limits relay;
    struct ws_duplex_config ws;
    struct stream_options stream;
};

#endif
