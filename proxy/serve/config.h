/* What `tidegate serve` is told to do, beside what it shares with the tunnel. Filled in by
 * options.c and config_file.c, read-only afterwards. Everything in it lives as long as the struct
 * settings (options.h) that it is a part of. */
#ifndef TIDEGATE_SERVE_CONFIG_H
#define TIDEGATE_SERVE_CONFIG_H

#include "../service/config.h"
#include "client_limits.h"
#include "tls_config.h"
#include "word_list.h"

struct backend_address {
    struct address address;
    bool is_tls;
};

#define BACKENDS_MAX 64

struct backend_list {
    size_t count;
    struct backend_address *items; /* in the arena of the settings */
};

/* How our side of a TLS backend ends: the order of the words of --backend-tls-finish. */
enum { BACKEND_TLS_NOTIFY_FIN, BACKEND_TLS_NOTIFY };

/* What a backend is told of its client: the order of the words of --send-proxy. */
enum { SEND_PROXY_NONE, SEND_PROXY_V1, SEND_PROXY_V2 };

/* Clients without half-close: the order of the words of --plain. */
enum { PLAIN_ALLOW, PLAIN_REFUSE };

/* Everything that can differ from route to route. The top level of the settings has one, which each
 * route starts from. */
struct route_settings {
    struct backend_list backends;
    unsigned balance; /* enum balance */
    struct word_list allow_from, allow_origin, allow_client_name, targets;
    const char *tokens; /* file; NULL: none are asked for */
    unsigned plain;     /* above */
    unsigned send_proxy;
    struct tls_client_options backend_tls;
    unsigned backend_tls_finish;
    uint64_t connect_timeout_ms;
    uint64_t max_connections; /* 0: no limit */
    struct relay_limits relay;
    struct ws_duplex_config ws;
};

/* One of the file's `routes`. */
struct route_entry {
    const char *name, *host, *path; /* host and path NULL: any (route_match.h) */
    unsigned line;
    unsigned *key_lines; /* by row of the option table; 0: not said here, from the top level */
    struct route_settings settings;
};

struct server_config {
    const struct service_config *service;
    struct route_settings defaults; /* without routes: the one route there is */
    struct route_entry *routes;
    size_t route_count;
    unsigned routes_line;          /* in the file; 0: it has none */
    struct tls_server_options tls; /* without pairs clients come without TLS */
    bool allows_anyone;
    struct word_list trusted_proxies;
    uint64_t handshake_timeout_ms;
    uint64_t max_handshakes; /* under way at a time */
    struct address status;   /* host empty: no status port */
    struct client_bounds per_client;
};

#endif
