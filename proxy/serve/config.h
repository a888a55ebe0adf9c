/* What `tidegate serve` is told to do, beside what it shares with the tunnel. Filled in by
 * options.c, read-only afterwards; outlives the server and everything that it starts. */
#ifndef TIDEGATE_SERVE_CONFIG_H
#define TIDEGATE_SERVE_CONFIG_H

#include "../service/config.h"

struct server_config {
    const struct service_config *service;
    struct address backend;
    uint64_t handshake_timeout_ms;
};

#endif
