#include "options_settle.h"

#include "option_table.h"

#include <string.h>

static void finish_ws(struct ws_duplex_config *ws, const struct relay_limits *relay,
                      const struct settings *s)
{
    ws->linger_ms = s->service.stream.linger_ms;
    ws->close_timeout_ms = 5000; /* docs/protocol.md section 5 */
    ws->stall_ms = relay->half_closed_ms;
}

static bool is_given(const struct settings *s, const char *name)
{
    for (size_t i = 0; i < option_table_count; i++)
        if (s->origins[i].source != OPTION_DEFAULT && strcmp(option_table[i].name, name) == 0)
            return true;
    return false;
}

/* A certificate of ours for where we are the client. */
static bool is_pair(const struct tls_pair_files *pair, const char *names, struct text *problem)
{
    bool is_good = (pair->cert_file == NULL) == (pair->key_file == NULL);

    if (!is_good)
        text_addf(problem, "%s: give both or none", names);
    return is_good;
}

void options_derive(struct settings *s)
{
    struct server_config *server = &s->server;

    server->service = &s->service;
    finish_ws(&server->defaults.ws, &server->defaults.relay, s);
    for (size_t i = 0; i < server->route_count; i++) {
        struct route_settings *route = &server->routes[i].settings;
        finish_ws(&route->ws, &route->relay, s);
    }
}

static bool check_route(const struct settings *s, const struct route_settings *route,
                        struct text *problem)
{
    if (!is_pair(&route->backend_tls.pair, "--backend-cert and --backend-key", problem))
        return false;
    if (route->allow_client_name.count == 0 || s->server.tls.client_ca_file != NULL)
        return true;
    text_add(problem, "--allow-client-name: needs --client-ca, by which certificates are verified");
    return false;
}

static bool leads_somewhere(const struct route_settings *route)
{
    return route->backends.count > 0 || route->targets.count > 0;
}

/* Each route has somewhere to go to. */
static bool check_backends(const struct settings *s, struct text *problem)
{
    const struct server_config *server = &s->server;

    if (server->route_count == 0 && !leads_somewhere(&server->defaults)) {
        text_add(problem, "--backend ADDR: missing (HOST:PORT, :PORT, [V6]:PORT or unix:PATH)");
        return false;
    }
    for (size_t i = 0; i < server->route_count; i++) {
        const struct route_entry *route = &server->routes[i];
        if (!check_route(s, &route->settings, problem)) {
            text_addf(problem, " (route \"%s\")", route->name);
            return false;
        }
        if (leads_somewhere(&route->settings))
            continue;
        text_addf(problem, "%.200s:%u: backend: missing in the route \"%s\"", s->config_file,
                  route->line, route->name);
        return false;
    }
    return true;
}

/* Who asks /readyz needs a moment to see that no more connections are to be sent here; without a
 * status listener nobody can ask. */
#define DRAIN_DELAY_MS 5000

static enum options_result finish_server(enum command command, struct settings *s,
                                         struct text *problem)
{
    struct tls_server_options *tls = &s->server.tls;

    if (is_given(s, "status") && !is_given(s, "drain-delay"))
        s->service.drain_delay_ms = DRAIN_DELAY_MS;
    options_derive(s);
    if (!check_route(s, &s->server.defaults, problem))
        return OPTIONS_BAD;
    if (command == COMMAND_SERVE && !check_backends(s, problem))
        return OPTIONS_BAD;
    if (s->tls_certs.count != s->tls_keys.count || s->tls_certs.count > TLS_PAIRS_MAX) {
        text_addf(problem,
                  "--tls-cert and --tls-key: %zu of one and %zu of the other (each "
                  "certificate needs its key, %d of them at most)",
                  s->tls_certs.count, s->tls_keys.count, TLS_PAIRS_MAX);
        return OPTIONS_BAD;
    }
    if (tls->client_ca_file == NULL && is_given(s, "client-verify")) {
        text_add(problem, "--client-verify: needs --client-ca, by which certificates are verified");
        return OPTIONS_BAD;
    }
    if (tls->client_ca_file != NULL && s->tls_certs.count == 0) {
        text_add(problem, "--client-ca: needs --tls-cert and --tls-key (without TLS no client has "
                          "a certificate)");
        return OPTIONS_BAD;
    }
    tls->pair_count = s->tls_certs.count;
    for (size_t i = 0; i < tls->pair_count; i++)
        tls->pairs[i] = (struct tls_pair_files){s->tls_certs.items[i], s->tls_keys.items[i]};
    return OPTIONS_OK;
}

/* Only the server has something to do with what may stand before an address. */
static bool check_listen(const struct listen_list *listen, struct text *problem)
{
    char address[LISTEN_ADDRESS_TEXT_MAX];

    for (unsigned i = 0; i < listen->count; i++) {
        if (listen->items[i].scheme == LISTEN_ANY && !listen->items[i].has_header)
            continue;
        text_addf(problem, "--listen %s: ws://, wss:// and proxy+ are for serve",
                  listen_address_format(&listen->items[i], address, sizeof(address)));
        return false;
    }
    return true;
}

static enum options_result finish_tunnel(struct settings *s, struct text *problem)
{
    struct dialer_config *d = &s->tunnel.dial.dialer;
    char token[REQUEST_TOKEN_MAX + 1];
    const char *name, *why;

    s->tunnel.service = &s->service;
    d->timeout_ms = s->service.connect_timeout_ms;
    d->ws = &s->service.ws;
    d->stream = &s->service.stream;
    d->tls_options.speaks_http = true;
    if (!is_pair(&d->tls_options.pair, "--client-cert and --client-key", problem))
        return OPTIONS_BAD;
    if (!d->proxy.is_set && http_proxy_from_environment(&d->url, &d->proxy, &name, &why) != 0) {
        text_addf(problem, "%s in the environment: %s", name, why);
        return OPTIONS_BAD;
    }
    if (d->token_file == NULL)
        return OPTIONS_OK;
    if (request_fields_have(&d->fields, "authorization")) {
        text_add(problem,
                 "--token-file: there is a --header Authorization, too (give one of them)");
        return OPTIONS_BAD;
    }
    /* Each connection reads it anew, but a mistake is told at once. */
    if (request_token_read(d->token_file, token, &why) != 0) {
        text_addf(problem, "--token-file: %.200s: %s", d->token_file, why);
        return OPTIONS_BAD;
    }
    return OPTIONS_OK;
}

/* What is wanted and not there. A list in a file may be empty. */
static bool is_missing(const struct option *o, const struct settings *s)
{
    if (o->kind == OPTION_ADDRESSES)
        return ((const struct listen_list *)((const char *)s + o->offset))->count == 0;
    return s->origins[o - option_table].source == OPTION_DEFAULT;
}

static enum options_result check_required(enum command command, struct settings *s,
                                          struct text *problem)
{
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option *o = &option_table[i];
        if (!(o->commands & command) || !o->is_required || !is_missing(o, s))
            continue;
        if (o->kind == OPTION_URL)
            text_add(problem, "URL: missing (ws:// or wss://HOST[:PORT][/PATH])");
        else if (o->kind == OPTION_NAME)
            text_add(problem, "NAME: missing (whose token it is to be)");
        else
            text_addf(problem, "--%s %s: missing (HOST:PORT, :PORT, [V6]:PORT or unix:PATH)",
                      o->name, o->value);
        return OPTIONS_BAD;
    }
    return OPTIONS_OK;
}

enum options_result options_settle(enum command command, struct settings *s, struct text *problem)
{
    enum options_result result = check_required(command, s, problem);

    if (result != OPTIONS_OK || command == COMMAND_TOKEN)
        return result;
    if (command != COMMAND_SERVE && !check_listen(&s->service.listen, problem))
        return OPTIONS_BAD;
    finish_ws(&s->service.ws, &s->service.relay, s);
    return command & (COMMAND_TUNNEL | COMMAND_STDIO | COMMAND_PROBE)
               ? finish_tunnel(s, problem)
               : finish_server(command, s, problem);
}
