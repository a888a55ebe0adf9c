#include "route.h"

#include "tls_config.h"

#include <errno.h>

static int no_memory(struct text *problem)
{
    text_add(problem, "out of memory");
    return -ENOMEM;
}

static int set_up_backends(struct route *r, struct arena *arena, struct backend_pool *pool,
                           struct text *problem)
{
    const struct backend_list *list = &r->settings->backends;
    char name[sizeof("tls://") + ADDRESS_TEXT_MAX], address[ADDRESS_TEXT_MAX];

    r->states = arena_alloc(arena, (list->count + 1) * sizeof(struct backend_state *));
    if (r->states == NULL)
        return no_memory(problem);
    for (size_t i = 0; i < list->count; i++) {
        const struct backend_address *b = &list->items[i];
        struct text t;
        text_init(&t, name, sizeof(name));
        text_addf(&t, "%s%s", b->is_tls ? "tls://" : "",
                  address_format(&b->address, address, sizeof(address)));
        r->states[i] = backend_pool_take(pool, name);
        if (r->states[i] == NULL)
            return no_memory(problem);
        if (b->is_tls && r->backend_tls == NULL) {
            int status = tls_config_new_client(&r->settings->backend_tls, &r->backend_tls, problem);
            if (status != 0)
                return status;
        }
    }
    return 0;
}

/* The settings were checked word by word when they were read. */
static int set_up_rules(struct route *r, struct arena *arena, struct text *problem)
{
    const struct route_settings *s = r->settings;
    char why_long[CIDR_WHY_MAX];
    const char *why;

    r->origins = arena_alloc(arena, (s->allow_origin.count + 1) * sizeof(*r->origins));
    r->sources = arena_alloc(arena, (s->allow_from.count + 1) * sizeof(*r->sources));
    r->targets = arena_alloc(arena, (s->targets.count + 1) * sizeof(*r->targets));
    if (r->origins == NULL || r->sources == NULL || r->targets == NULL)
        return no_memory(problem);
    for (size_t i = 0; i < s->allow_origin.count; i++)
        if (origin_parse(s->allow_origin.items[i], &r->origins[r->origin_count++], &why) != 0)
            return -EINVAL;
    for (size_t i = 0; i < s->allow_from.count; i++)
        if (cidr_parse(s->allow_from.items[i], &r->sources[r->source_count++], why_long) != 0)
            return -EINVAL;
    for (size_t i = 0; i < s->targets.count; i++)
        if (target_rule_parse(s->targets.items[i], &r->targets[r->target_count++], why_long) != 0)
            return -EINVAL;
    return 0;
}

int route_set_up(struct route *r, struct arena *arena, struct backend_pool *pool, const char **key,
                 struct text *problem)
{
    *key = "backend";
    int status = set_up_backends(r, arena, pool, problem);
    if (status != 0)
        return status;
    *key = "name";
    status = set_up_rules(r, arena, problem);
    if (status != 0)
        return status;
    *key = "tokens";
    return r->settings->tokens == NULL ? 0
                                       : token_file_read(r->settings->tokens, &r->tokens, problem);
}

void route_tear_down(struct route *r, struct backend_pool *pool)
{
    for (size_t i = 0; r->states != NULL && i < r->settings->backends.count; i++)
        backend_pool_give(pool, r->states[i]);
    tls_config_free(r->backend_tls);
    token_file_free(r->tokens);
}
