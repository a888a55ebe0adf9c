#include "balancer.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static struct backend_state *take(struct backend_pool *pool, const char *name)
{
    size_t size = strlen(name) + 1;
    struct backend_state *s;

    for (s = pool->first; s != NULL; s = s->next) {
        if (strcmp(s->name, name) == 0) {
            s->references++;
            return s;
        }
    }
    s = calloc(1, sizeof(*s) + size);
    if (s == NULL)
        return NULL;
    memcpy(s->name, name, size);
    s->references = 1;
    s->next = pool->first;
    pool->first = s;
    return s;
}

struct backend_state *backend_pool_take(struct backend_pool *pool, const char *name)
{
    pthread_mutex_lock(&pool->lock);
    struct backend_state *state = take(pool, name);
    pthread_mutex_unlock(&pool->lock);
    return state;
}

static void forget(struct backend_pool *pool, struct backend_state *state)
{
    struct backend_state **link = &pool->first;

    while (*link != state)
        link = &(*link)->next;
    *link = state->next;
    free(state);
}

void backend_pool_give(struct backend_pool *pool, struct backend_state *state)
{
    if (state == NULL)
        return;
    pthread_mutex_lock(&pool->lock);
    if (--state->references == 0)
        forget(pool, state);
    pthread_mutex_unlock(&pool->lock);
}

static bool is_resting(const struct backend_state *s, uint64_t now_ms)
{
    return now_ms < s->failed_until_ms;
}

bool backend_state_failed(struct backend_state *state, uint64_t now_ms)
{
    return atomic_exchange(&state->failed_until_ms, now_ms + BACKEND_REST_MS) == 0;
}

void backend_state_connected(struct backend_state *state)
{
    if (state->failed_until_ms != 0) /* rarely: the line stays in all caches */
        state->failed_until_ms = 0;
}

/* Whether `a` is to be tried before `b`, which comes behind it in turn. */
static bool is_before(enum balance how, const struct backend_state *a,
                      const struct backend_state *b, uint64_t now_ms)
{
    if (is_resting(a, now_ms) != is_resting(b, now_ms))
        return is_resting(b, now_ms);
    return how == BALANCE_ROUNDROBIN || a->connections <= b->connections;
}

void balancer_order(enum balance how, struct backend_state *const *states, size_t count,
                    _Atomic unsigned *turn, uint64_t now_ms, uint8_t *order)
{
    unsigned first = count < 2 ? 0 : atomic_fetch_add(turn, 1) % (unsigned)count;

    assert(count <= UINT8_MAX);
    for (size_t i = 0; i < count; i++) { /* insertion: what is equal stays in turn */
        uint8_t index = (uint8_t)((first + i) % count);
        size_t at = i;
        while (at > 0 && !is_before(how, states[order[at - 1]], states[index], now_ms)) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = index;
    }
}
