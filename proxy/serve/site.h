/* All that the server knows of who may go where, at one time: the routes and the TLS that a
 * configuration makes. Does not change once it is made. Each session keeps the site that it began
 * with, in whatever loop; a reload makes another one. */
#ifndef TIDEGATE_SITE_H
#define TIDEGATE_SITE_H

#include "../options.h"
#include "access/client_address.h"
#include "route.h"

struct site {
    _Atomic unsigned references;
    struct settings *settings; /* held */
    struct backend_pool *pool;
    struct tls_config *tls; /* NULL: no client comes with TLS */
    struct route *routes;
    size_t route_count;
    struct client_trust trust; /* the proxies whose word is taken for who the client is */
    struct arena arena;
};

/* Reads the files that the settings name. Holds `settings`; `pool` outlives it. 0 and `*out`, held,
 * or a negative errno with one line for people. */
int site_new(struct settings *settings, struct backend_pool *pool, struct site **out,
             struct text *problem);

struct site *site_hold(struct site *site);
void site_release(struct site *site); /* NULL is fine */

/* The route for a request whose host and path have been checked (route_match.h); NULL: none. */
struct route *site_find_route(const struct site *site, const char *host, const char *path,
                              size_t path_len);

/* Whether only this machine can reach it. */
bool site_is_local(const struct address *a);

/* Whether clients that come by this address have TLS. */
bool site_has_tls(const struct site *site, const struct listen_address *at);

/* False, with one line for people, if anybody who gets a packet here could use it unasked: it
 * listens beyond this machine, without TLS, and a route asks for no token. */
bool site_is_guarded(const struct site *site, struct text *problem);

#endif
