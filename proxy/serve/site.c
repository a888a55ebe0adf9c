#include "site.h"

#include "../option_table.h"
#include "inherited.h"
#include "tls_config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* To who speaks HTTP on the TLS port. */
static const char plain_answer[] =
    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    "This port speaks TLS: use wss:// or https://\n";

static int set_up_tls(struct site *site, struct text *problem)
{
    struct tls_server_options options = site->settings->server.tls;

    if (options.pair_count == 0)
        return 0;
    options.plain_answer =
        (struct span){(uint8_t *)(uintptr_t)plain_answer, sizeof(plain_answer) - 1};
    return tls_config_new_server(&options, &site->tls, problem);
}

/* ---- routes ---- */

/* "FILE:LINE: KEY: ", as far as it is from a file. */
static void say_where(const struct settings *s, const struct route_entry *entry, const char *key,
                      struct text *problem)
{
    unsigned line = entry == NULL ? 0 : entry->line;

    for (size_t i = 0; i < option_table_count; i++) {
        if (strcmp(option_table[i].name, key) != 0)
            continue;
        if (entry != NULL && entry->key_lines[i] != 0)
            line = entry->key_lines[i];
        else if (s->origins[i].source == OPTION_IN_FILE)
            line = s->origins[i].line;
    }
    if (line != 0)
        text_addf(problem, "%.200s:%u: %s: ", s->config_file, line, key);
    else
        text_addf(problem, "--%s: ", key);
}

/* `entry` NULL: the one route of settings without any. */
static int add_route(struct site *site, const struct route_entry *entry, struct text *problem)
{
    struct route *r = &site->routes[site->route_count];
    char why[256];
    struct text t;
    const char *key;

    *r = (struct route){.name = "default", .settings = &site->settings->server.defaults};
    if (entry != NULL) {
        r->name = entry->name;
        r->pattern = (struct route_pattern){entry->host, entry->path};
        r->settings = &entry->settings;
    }
    site->route_count++;
    text_init(&t, why, sizeof(why));
    int status = route_set_up(r, &site->arena, site->pool, &key, &t);
    if (status != 0) {
        say_where(site->settings, entry, key, problem);
        text_add(problem, why);
    }
    return status;
}

static int set_up_routes(struct site *site, struct text *problem)
{
    const struct server_config *server = &site->settings->server;
    size_t count = server->route_count == 0 ? 1 : server->route_count;
    int status = 0;

    site->routes = arena_alloc(&site->arena, count * sizeof(*site->routes));
    if (site->routes == NULL) {
        text_add(problem, "out of memory");
        return -ENOMEM;
    }
    for (size_t i = 0; i < count && status == 0; i++)
        status = add_route(site, server->route_count == 0 ? NULL : &server->routes[i], problem);
    return status;
}

struct route *site_find_route(const struct site *site, const char *host, const char *path,
                              size_t path_len)
{
    struct route *best = NULL;
    unsigned best_rank = 0;

    for (size_t i = 0; i < site->route_count; i++) {
        unsigned rank = route_match_rank(&site->routes[i].pattern, host, path, path_len);
        if (rank > best_rank) {
            best_rank = rank;
            best = &site->routes[i];
        }
    }
    return best;
}

/* ---- who may come ---- */

/* The settings were checked word by word when they were read. */
static int set_up_trust(struct site *site, struct text *problem)
{
    const struct word_list *words = &site->settings->server.trusted_proxies;
    char why[CIDR_WHY_MAX];
    struct cidr *networks = arena_alloc(&site->arena, (words->count + 1) * sizeof(*networks));

    if (networks == NULL) {
        text_add(problem, "out of memory");
        return -ENOMEM;
    }
    for (size_t i = 0; i < words->count; i++)
        if (cidr_parse(words->items[i], &networks[i], why) != 0)
            return -EINVAL;
    site->trust = (struct client_trust){networks, words->count, words->count > 0};
    return 0;
}

bool site_is_local(const struct address *a)
{
    struct ip ip;
    size_t len = strlen(a->host);

    if (a->kind == ADDRESS_SYSTEMD)
        return inherited_is_local(a->host);
    if (a->kind == ADDRESS_UNIX || strcmp(a->host, "localhost") == 0)
        return true;
    if (!ip_parse(a->host, len, &ip))
        return false;
    return ip_is_v4(&ip) ? ip.bytes[12] == 127
                         : memcmp(ip.bytes, (const uint8_t[16]){[15] = 1}, sizeof(ip.bytes)) == 0;
}

bool site_has_tls(const struct site *site, const struct listen_address *at)
{
    return listen_address_has_tls(at, site->tls != NULL);
}

/* A listener cannot change while the program runs, but a reload may take the certificates away. */
static bool has_certificates(const struct site *site, struct text *problem)
{
    const struct listen_list *listen = &site->settings->service.listen;
    char address[LISTEN_ADDRESS_TEXT_MAX];

    for (unsigned i = 0; i < listen->count; i++) {
        if (site->tls != NULL || !site_has_tls(site, &listen->items[i]))
            continue;
        text_addf(problem, "--listen %s: needs --tls-cert and --tls-key",
                  listen_address_format(&listen->items[i], address, sizeof(address)));
        return false;
    }
    return true;
}

bool site_is_guarded(const struct site *site, struct text *problem)
{
    const struct listen_list *listen = &site->settings->service.listen;
    const struct route *open = NULL;
    char address[LISTEN_ADDRESS_TEXT_MAX];

    for (size_t i = 0; i < site->route_count && open == NULL; i++)
        if (site->routes[i].tokens == NULL)
            open = &site->routes[i];
    if (site->settings->server.allows_anyone || open == NULL)
        return true;
    for (unsigned i = 0; i < listen->count; i++) {
        if (site_is_local(&listen->items[i].address) || site_has_tls(site, &listen->items[i]))
            continue;
        text_addf(problem,
                  "--listen %s: anybody who reaches it could use the route \"%s\": give it TLS "
                  "(--tls-cert), tokens (--tokens), or say that this is meant (--allow-anyone)",
                  listen_address_format(&listen->items[i], address, sizeof(address)), open->name);
        return false;
    }
    return true;
}

/* ---- its life ---- */

int site_new(struct settings *settings, struct backend_pool *pool, struct site **out,
             struct text *problem)
{
    struct site *site = calloc(1, sizeof(*site));

    if (site == NULL) {
        text_add(problem, "out of memory");
        return -ENOMEM;
    }
    site->references = 1;
    site->settings = options_hold(settings);
    site->pool = pool;
    int status = set_up_tls(site, problem);
    if (status == 0)
        status = set_up_routes(site, problem);
    if (status == 0)
        status = set_up_trust(site, problem);
    if (status == 0 && !has_certificates(site, problem))
        status = -EINVAL;
    if (status == 0 && !site_is_guarded(site, problem))
        status = -EACCES;
    if (status != 0) {
        site_release(site);
        return status;
    }
    *out = site;
    return 0;
}

struct site *site_hold(struct site *site)
{
    site->references++;
    return site;
}

void site_release(struct site *site)
{
    if (site == NULL || --site->references > 0)
        return;
    for (size_t i = 0; i < site->route_count; i++)
        route_tear_down(&site->routes[i], site->pool);
    tls_config_free(site->tls);
    options_release(site->settings);
    arena_clear(&site->arena);
    free(site);
}
