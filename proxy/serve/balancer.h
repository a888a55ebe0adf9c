/* Which of several backends the next connection goes to.
 *
 * A backend is known by its name to all routes and through every reload: how many connections it
 * has, and whether it failed of late. Health is passive: a backend that could not be connected to
 * is tried behind the others for BACKEND_REST_MS, never left out. All loops share
 * them: a lock on the list, which only changes with the configuration; the rest is atomic. */
#ifndef TIDEGATE_BALANCER_H
#define TIDEGATE_BALANCER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BACKEND_REST_MS 10000

/* The order of the words of --balance. */
enum balance { BALANCE_ROUNDROBIN, BALANCE_LEASTCONN };

struct backend_state {
    struct backend_state *next;
    unsigned references;
    _Atomic uint64_t connections;     /* being made, or open */
    _Atomic uint64_t failed_until_ms; /* 0: has not failed, or was connected to since */
    char name[];
};

/* Nothing to free once all have been given back. */
struct backend_pool {
    pthread_mutex_t lock;
    struct backend_state *first;
};

#define BACKEND_POOL_INIT                                                                          \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER                                                          \
    }

/* The one of that name, made if there is none yet; to be given back. NULL when out of memory. */
struct backend_state *backend_pool_take(struct backend_pool *pool, const char *name);
void backend_pool_give(struct backend_pool *pool, struct backend_state *state); /* NULL is fine */

/* It could not be connected to. True if that is news. */
bool backend_state_failed(struct backend_state *state, uint64_t now_ms);
void backend_state_connected(struct backend_state *state);

/* In which order `count` backends are to be tried: their indices into `order`. `turn` is the
 * route's, and moves on by one. */
void balancer_order(enum balance how, struct backend_state *const *states, size_t count,
                    _Atomic unsigned *turn, uint64_t now_ms, uint8_t *order);

#endif
