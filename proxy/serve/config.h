/* What `tidegate serve` is told to do, beside what it shares with the tunnel. Filled in by
 * options.c, read-only afterwards; outlives the server and everything that it starts. */
#ifndef TIDEGATE_SERVE_CONFIG_H
#define TIDEGATE_SERVE_CONFIG_H

#include "../service/config.h"
#include "tls_config.h"

struct backend_address {
    struct address address;
    bool is_tls;
};

/* How our side of a TLS backend ends: the order of the words of --backend-tls-finish. */
enum { BACKEND_TLS_NOTIFY_FIN, BACKEND_TLS_NOTIFY };

struct server_config {
    const struct service_config *service;
    struct backend_address backend;
    struct tls_client_options backend_tls;
    unsigned backend_tls_finish;
    struct tls_server_options tls; /* without pairs clients come without TLS */
    uint64_t handshake_timeout_ms;
};

#endif
