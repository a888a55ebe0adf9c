/* A route, ready for use: where it leads to, and who may take it. Made of the settings of one, and
 * part of a site (site.h); read-only but for its turn. */
#ifndef TIDEGATE_ROUTE_H
#define TIDEGATE_ROUTE_H

#include "access/origin.h"
#include "access/target_rule.h"
#include "access/token_file.h"
#include "arena.h"
#include "balancer.h"
#include "cidr.h"
#include "config.h"
#include "route_match.h"

struct route {
    const char *name;
    struct route_pattern pattern;
    const struct route_settings *settings;
    struct tls_config *backend_tls; /* NULL: no backend has TLS */
    struct backend_state **states;  /* one for each backend of the settings, in their order */
    _Atomic unsigned turn;          /* balancer.h */
    struct origin *origins;
    size_t origin_count;
    struct cidr *sources;
    size_t source_count;
    struct target_rule *targets;
    size_t target_count;
    struct token_file *tokens; /* NULL: none are asked for */
};

/* Fills in all but the first three members. 0, or a negative errno with one line for people, and
 * `*key`: the name of the setting it is about. After either, route_tear_down. */
int route_set_up(struct route *r, struct arena *arena, struct backend_pool *pool, const char **key,
                 struct text *problem);
void route_tear_down(struct route *r, struct backend_pool *pool);

#endif
