#include "option_table.h"

#include "log.h"

/* Scope and offset. */
#define LINE(member)  OPTION_SCOPE_LINE, offsetof(struct settings, member)
#define START(member) OPTION_SCOPE_START, offsetof(struct settings, member)
#define AT(member)    OPTION_SCOPE_TOP, offsetof(struct settings, member)
#define ROUTE(member) OPTION_SCOPE_ROUTE, offsetof(struct route_settings, member)

#define CLIENTS  (COMMAND_TUNNEL | COMMAND_STDIO | COMMAND_PROBE)
#define SERVERS  (COMMAND_SERVE | COMMAND_DEMO)
#define SERVICES (SERVERS | COMMAND_TUNNEL)
#define CARRIERS (COMMAND_TUNNEL | COMMAND_STDIO) /* clients that relay */
#define ALL      (SERVERS | CLIENTS)
#define QUIET    (COMMAND_STDIO | COMMAND_PROBE) /* stderr is the terminal of somebody else */

const struct option option_table[] = {
    {"url", OPTION_URL, CLIENTS, LINE(tunnel.dial.dialer.url), "URL", NULL, 0, true,
     "the server: ws:// or wss://HOST[:PORT][/PATH]"},
    {"config", OPTION_PATH, COMMAND_SERVE, LINE(config_file), "FILE", NULL, 0, false,
     "read settings and routes from it, too; flags and environment win"},
    {"print-config", OPTION_FLAG, COMMAND_SERVE, LINE(prints_config), NULL, NULL, 0, false,
     "print all settings, and where each comes from; then exit"},
    {"listen", OPTION_ADDRESSES, COMMAND_SERVE, START(service.listen), "ADDR", NULL, 0, true,
     "where to accept WebSocket clients; may be repeated"},
    {"listen", OPTION_ADDRESSES, COMMAND_TUNNEL, START(service.listen), "ADDR", NULL, 0, true,
     "where to accept local programs; may be repeated"},
    {"backend", OPTION_BACKENDS, COMMAND_SERVE, ROUTE(backends), "ADDR", NULL, 0, false,
     "where to connect each of them; tls://HOST:PORT: with TLS; may be repeated"},
    {"tls-cert", OPTION_PATHS, COMMAND_SERVE, AT(tls_certs), "FILE", NULL, 0, false,
     "clients come with wss://: our certificate chain, in PEM; may be repeated"},
    {"tls-key", OPTION_PATHS, COMMAND_SERVE, AT(tls_keys), "FILE", NULL, 0, false,
     "the key of it, in PEM; the n-th is that of the n-th --tls-cert"},
    {"client-ca", OPTION_PATH, COMMAND_SERVE, AT(server.tls.client_ca_file), "FILE", NULL, 0, false,
     "ask clients for a certificate of these authorities, in PEM"},
    {"client-verify", OPTION_CHOICE, COMMAND_SERVE, AT(server.tls.client_verify),
     "require|optional", "require", 0, false, "whether a client without one is refused"},
    {"backend-ca", OPTION_PATH, COMMAND_SERVE, ROUTE(backend_tls.ca_file), "FILE", NULL, 0, false,
     "authorities for tls:// in PEM (default: the system's)"},
    {"backend-server-name", OPTION_PATH, COMMAND_SERVE, ROUTE(backend_tls.server_name), "NAME",
     NULL, 0, false, "that its certificate must prove (default: HOST)"},
    {"backend-tls-finish", OPTION_CHOICE, COMMAND_SERVE, ROUTE(backend_tls_finish),
     "notify+fin|notify", "notify+fin", 0, false, "how our end is told to it"},
    {"backend-insecure", OPTION_FLAG, COMMAND_SERVE, ROUTE(backend_tls.is_insecure), NULL, NULL, 0,
     false, "DANGER: do not check its certificate at all"},
    {"backend-cert", OPTION_PATH, COMMAND_SERVE, ROUTE(backend_tls.pair.cert_file), "FILE", NULL, 0,
     false, "our certificate, if it asks for one, in PEM"},
    {"backend-key", OPTION_PATH, COMMAND_SERVE, ROUTE(backend_tls.pair.key_file), "FILE", NULL, 0,
     false, "the key of it, in PEM"},
    {"ca-file", OPTION_PATH, CLIENTS, LINE(tunnel.dial.dialer.tls_options.ca_file), "FILE", NULL, 0,
     false, "authorities for wss:// in PEM (default: the system's)"},
    {"server-name", OPTION_PATH, CLIENTS, LINE(tunnel.dial.dialer.tls_options.server_name), "NAME",
     NULL, 0, false, "that the certificate must prove (default: HOST)"},
    {"pin-sha256", OPTION_PIN, CLIENTS, LINE(tunnel.dial.dialer.tls_options.pin_sha256), "BASE64",
     NULL, 0, false, "digest of the server's public key, checked as well"},
    {"client-cert", OPTION_PATH, CLIENTS, LINE(tunnel.dial.dialer.tls_options.pair.cert_file),
     "FILE", NULL, 0, false, "our certificate, if the server asks for one, in PEM"},
    {"client-key", OPTION_PATH, CLIENTS, LINE(tunnel.dial.dialer.tls_options.pair.key_file), "FILE",
     NULL, 0, false, "the key of it, in PEM"},
    {"insecure", OPTION_FLAG, CLIENTS, LINE(tunnel.dial.dialer.tls_options.is_insecure), NULL, NULL,
     0, false, "DANGER: do not check the server's certificate (a pin is)"},
    {"listen", OPTION_ADDRESSES, COMMAND_DEMO, START(service.listen), "ADDR", "127.0.0.1:0", 0,
     false, "where the demo's proxy accepts clients"},
    {"once", OPTION_FLAG, COMMAND_DEMO, LINE(is_once), NULL, NULL, 0, false,
     "exit after the show: with 0 if the answer was right"},
    {"header", OPTION_HEADER, CLIENTS, LINE(tunnel.dial.dialer.fields), "'NAME: VALUE'", NULL, 0,
     false, "a field to send with the request; may be repeated"},
    {"token-file", OPTION_PATH, CLIENTS, LINE(tunnel.dial.dialer.token_file), "PATH", NULL, 0,
     false, "send its first line as Authorization: Bearer; read for each connection"},
    {"proxy", OPTION_PROXY, CLIENTS, LINE(tunnel.dial.dialer.proxy), "http://HOST:PORT", NULL, 0,
     false, "go through this HTTP proxy (default: http_proxy, no_proxy)"},
    {"plain", OPTION_FLAG, CLIENTS, LINE(tunnel.dial.dialer.allows_plain), NULL, NULL, 0, false,
     "go on with a server that does not speak half-close"},
    {"retry", OPTION_RETRY, CLIENTS, LINE(tunnel.dial), "N|TIME", "0", 0, false,
     "so often, or for so long, if the server cannot be reached"},
    {"connect-timeout", OPTION_DURATION, SERVERS, ROUTE(connect_timeout_ms), "TIME", "10s", 1,
     false, "for the backend to accept"},
    {"connect-timeout", OPTION_DURATION, CLIENTS, AT(service.connect_timeout_ms), "TIME", "10s", 1,
     false, "for each attempt to get a WebSocket"},
    {"handshake-timeout", OPTION_DURATION, SERVERS, AT(server.handshake_timeout_ms), "TIME", "10s",
     1, false, "for a client to send its whole request"},
    {"max-handshakes", OPTION_NUMBER, SERVERS, START(server.max_handshakes), "N", "1000", 1, false,
     "under way at a time; above it the oldest is refused"},
    {"idle-timeout", OPTION_DURATION, SERVERS, ROUTE(relay.idle_ms), "TIME", "0", 0, false,
     "without a byte either way while both directions are open; 0: none"},
    {"idle-timeout", OPTION_DURATION, CARRIERS, AT(service.relay.idle_ms), "TIME", "0", 0, false,
     "without a byte either way while both directions are open; 0: none"},
    {"half-closed-timeout", OPTION_DURATION, SERVERS, ROUTE(relay.half_closed_ms), "TIME", "1h", 0,
     false, "without a byte after one direction has ended; 0: none"},
    {"half-closed-timeout", OPTION_DURATION, CARRIERS, AT(service.relay.half_closed_ms), "TIME",
     "1h", 0, false, "without a byte after one direction has ended; 0: none"},
    {"ping-interval", OPTION_DURATION, SERVERS, ROUTE(ws.ping_interval_ms), "TIME", "25s", 0, false,
     "between pings to a quiet peer; 0: no pings"},
    {"ping-interval", OPTION_DURATION, CLIENTS, AT(service.ws.ping_interval_ms), "TIME", "25s", 0,
     false, "between pings to a quiet peer; 0: no pings"},
    {"ping-timeout", OPTION_DURATION, SERVERS, ROUTE(ws.ping_timeout_ms), "TIME", "20s", 1, false,
     "after a ping, for any sign of life"},
    {"ping-timeout", OPTION_DURATION, CLIENTS, AT(service.ws.ping_timeout_ms), "TIME", "20s", 1,
     false, "after a ping, for any sign of life"},
    {"linger", OPTION_DURATION, ALL, START(service.stream.linger_ms), "TIME", "5s", 0, false,
     "for what is still under way when a connection ends or fails"},
    {"drain-timeout", OPTION_DURATION, SERVICES, START(service.drain_timeout_ms), "TIME", "20s", 0,
     false, "for open connections to end after SIGTERM"},
    {"reload-interval", OPTION_DURATION, COMMAND_SERVE | COMMAND_TUNNEL,
     START(service.reload_interval_ms), "TIME", "10s", 0, false,
     "between looks whether the files of TLS have changed; 0: only on SIGHUP"},
    {"max-connections", OPTION_NUMBER, SERVICES, START(service.max_connections), "N", NULL, 1,
     false, "at a time (default: what the descriptor limit allows)"},
    {"token-name", OPTION_NAME, COMMAND_TOKEN, LINE(token.name), "NAME", NULL, 0, true,
     "what the log calls its bearer"},
    {"append", OPTION_PATH, COMMAND_TOKEN, LINE(token.append_file), "FILE", NULL, 0, false,
     "add the server's line to it (default: print it on standard error)"},
    {"log-level", OPTION_CHOICE, SERVICES, AT(log_level), "debug|info|warn|error", "info", 0, false,
     "the least level that is logged"},
    {"log-level", OPTION_CHOICE, QUIET, AT(log_level), "debug|info|warn|error", "warn", 0, false,
     "the least level that is logged"},
    {"log-format", OPTION_CHOICE, ALL, AT(log_format), "text|json", "text", 0, false,
     "of the records on stderr"},
};

const size_t option_table_count = array_count(option_table);

_Static_assert(array_count(option_table) <= OPTION_MAX, "settings have an origin for each");
_Static_assert(LOG_DEBUG == 0 && LOG_ERROR == 3, "--log-level stores the index of its word");
_Static_assert(LOG_TEXT == 0 && LOG_JSON == 1, "--log-format stores the index of its word");
