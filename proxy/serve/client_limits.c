#include "client_limits.h"

#include "crypto.h"
#include "siphash.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS_LEAST 64
#define FULL_MS       1000 /* in which an empty bucket of tokens fills up */

/* Tokens, in thousandths. */
struct tokens {
    uint64_t left, at_ms; /* at that time */
};

struct client {
    struct ip ip; /* its first address */
    struct client *next;
    uint64_t connections, half_closed_count;
    struct client_slot *half_closed;
    struct tokens rate, told;
    struct client *younger, *older; /* of the idle ones, which have no connections */
    uint64_t idle_since_ms;
};

struct client_limits {
    pthread_mutex_t lock;
    uint64_t now_ms; /* the latest that a caller has told */
    uint8_t key[SIPHASH_KEY_SIZE];
    struct client **buckets;
    uint64_t bucket_count, count; /* the former a power of two */
    struct client *oldest, *youngest;
    uint64_t idle_count;
};

/* ---- tokens ---- */

static struct tokens tokens_full(const struct client_limits *l)
{
    return (struct tokens){UINT64_MAX, l->now_ms};
}

/* `per_s` come in a second, and so many fit. */
static bool tokens_take(const struct client_limits *l, struct tokens *t, uint64_t per_s)
{
    uint64_t most = per_s > UINT64_MAX / 1000 ? UINT64_MAX : per_s * 1000;
    uint64_t ms = l->now_ms - t->at_ms;
    uint64_t room = t->left < most ? most - t->left : 0;

    t->at_ms = l->now_ms;
    if (ms >= FULL_MS || ms * (most / 1000) >= room)
        t->left = most;
    else
        t->left += ms * (most / 1000);
    if (t->left < 1000)
        return false;
    t->left -= 1000;
    return true;
}

/* ---- the table ---- */

static struct ip first_of(const struct ip *ip)
{
    struct ip first = *ip;

    if (!ip_is_v4(ip))
        memset(first.bytes + 8, 0, 8);
    return first;
}

static struct client **bucket_of(const struct client_limits *l, const struct ip *first)
{
    return &l->buckets[siphash(l->key, first->bytes, sizeof(first->bytes)) & (l->bucket_count - 1)];
}

static struct client *find(const struct client_limits *l, const struct ip *first)
{
    struct client *c = *bucket_of(l, first);

    while (c != NULL && !ip_equals(&c->ip, first))
        c = c->next;
    return c;
}

/* As many buckets as clients. Without memory for them chains grow longer, that is all. */
static void grow(struct client_limits *l)
{
    struct client **old = l->buckets;
    uint64_t old_count = l->bucket_count;
    struct client **fresh = calloc(old_count * 2, sizeof(struct client *));

    if (fresh == NULL)
        return;
    l->buckets = fresh;
    l->bucket_count = old_count * 2;
    for (uint64_t i = 0; i < old_count; i++) {
        for (struct client *next, *c = old[i]; c != NULL; c = next) {
            struct client **bucket = bucket_of(l, &c->ip);
            next = c->next;
            c->next = *bucket;
            *bucket = c;
        }
    }
    free(old);
}

static void forget(struct client_limits *l, struct client *c)
{
    struct client **link = bucket_of(l, &c->ip);

    while (*link != c)
        link = &(*link)->next;
    *link = c->next;
    l->count--;
    free(c);
}

/* ---- those without connections ---- */

static void leave_idle(struct client_limits *l, struct client *c)
{
    if (c->older != NULL)
        c->older->younger = c->younger;
    else
        l->oldest = c->younger;
    if (c->younger != NULL)
        c->younger->older = c->older;
    else
        l->youngest = c->older;
    l->idle_count--;
}

static void forget_oldest(struct client_limits *l)
{
    struct client *c = l->oldest;

    assert(c != NULL && c->older == NULL);
    l->oldest = c->younger;
    if (l->oldest != NULL)
        l->oldest->older = NULL;
    else
        l->youngest = NULL;
    l->idle_count--;
    forget(l, c);
}

/* Those who have their whole rate again are as good as unknown. */
static void expire(struct client_limits *l)
{
    while (l->oldest != NULL && l->now_ms - l->oldest->idle_since_ms >= FULL_MS)
        forget_oldest(l);
}

static void enter_idle(struct client_limits *l, struct client *c)
{
    if (l->idle_count == CLIENT_LIMITS_IDLE_MAX)
        forget_oldest(l);
    c->idle_since_ms = l->now_ms;
    c->older = l->youngest;
    c->younger = NULL;
    if (l->youngest != NULL)
        l->youngest->younger = c;
    else
        l->oldest = c;
    l->youngest = c;
    l->idle_count++;
}

/* The client of `ip`, idle if it is new. NULL when out of memory. */
static struct client *find_or_add(struct client_limits *l, const struct ip *ip)
{
    struct ip first = first_of(ip);
    struct client *c, **bucket;

    expire(l);
    c = find(l, &first);
    if (c != NULL)
        return c;
    c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    if (l->count >= l->bucket_count)
        grow(l);
    c->ip = first;
    c->rate = c->told = tokens_full(l);
    bucket = bucket_of(l, &first);
    c->next = *bucket;
    *bucket = c;
    l->count++;
    enter_idle(l, c);
    return c;
}

/* ---- from outside ---- */

/* Loops see their time when they wake up: one may be behind another. */
static void lock(struct client_limits *l, uint64_t now_ms)
{
    pthread_mutex_lock(&l->lock);
    if (now_ms > l->now_ms)
        l->now_ms = now_ms;
}

static void unlock(struct client_limits *l)
{
    pthread_mutex_unlock(&l->lock);
}

struct client_limits *client_limits_new(void)
{
    struct client_limits *l = calloc(1, sizeof(*l));

    if (l == NULL)
        return NULL;
    l->bucket_count = BUCKETS_LEAST;
    l->buckets = calloc(l->bucket_count, sizeof(struct client *));
    if (l->buckets == NULL || crypto_random(l->key, sizeof(l->key)) != 0) {
        free(l->buckets);
        free(l);
        return NULL;
    }
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

void client_limits_free(struct client_limits *l)
{
    if (l == NULL)
        return;
    while (l->oldest != NULL)
        forget_oldest(l);
    assert(l->count == 0);
    pthread_mutex_destroy(&l->lock);
    free(l->buckets);
    free(l);
}

static enum client_verdict judge(const struct client_limits *l, struct client *c,
                                 const struct client_bounds *bounds)
{
    if (bounds->connections != 0 && c->connections >= bounds->connections)
        return CLIENT_HAS_TOO_MANY;
    if (bounds->rate_per_s != 0 && !tokens_take(l, &c->rate, bounds->rate_per_s))
        return CLIENT_IS_TOO_FAST;
    return CLIENT_IS_WELCOME;
}

static enum client_verdict enter(struct client_limits *l, const struct ip *ip,
                                 const struct client_bounds *bounds, struct client_slot *slot,
                                 bool *is_told)
{
    struct client *c = find_or_add(l, ip);

    if (c == NULL)
        return CLIENT_NO_MEMORY;
    enum client_verdict verdict = judge(l, c, bounds);
    if (c->connections == 0)
        leave_idle(l, c);
    if (verdict == CLIENT_IS_WELCOME) {
        c->connections++;
        slot->client = c;
        return verdict;
    }
    *is_told = tokens_take(l, &c->told, CLIENT_LIMITS_TOLD_A_SECOND);
    if (c->connections == 0) /* it has lost tokens just now */
        enter_idle(l, c);
    return verdict;
}

enum client_verdict client_limits_enter(struct client_limits *l, uint64_t now_ms,
                                        const struct ip *ip, const struct client_bounds *bounds,
                                        struct client_slot *slot, bool *is_told)
{
    enum client_verdict verdict;

    assert(slot->client == NULL);
    *is_told = true;
    lock(l, now_ms);
    verdict = enter(l, ip, bounds, slot, is_told);
    unlock(l);
    return verdict;
}

static void leave(struct client_limits *l, struct client_slot *slot)
{
    struct client *c = slot->client;

    if (slot->link != NULL) {
        *slot->link = slot->next_half_closed;
        if (slot->next_half_closed != NULL)
            slot->next_half_closed->link = slot->link;
        c->half_closed_count--;
    }
    *slot = (struct client_slot){0};
    if (--c->connections == 0)
        enter_idle(l, c);
    expire(l);
}

void client_limits_leave(struct client_limits *l, uint64_t now_ms, struct client_slot *slot)
{
    if (slot->client == NULL)
        return;
    lock(l, now_ms);
    leave(l, slot);
    unlock(l);
}

/* How many there are then. */
static uint64_t half_close(struct client_slot *slot)
{
    struct client *c = slot->client;

    assert(slot->link == NULL);
    slot->next_half_closed = c->half_closed;
    slot->link = &c->half_closed;
    if (slot->next_half_closed != NULL)
        slot->next_half_closed->link = &slot->next_half_closed;
    c->half_closed = slot;
    return ++c->half_closed_count;
}

void client_limits_half_close(struct client_limits *l, struct client_slot *slot, uint64_t most,
                              void (*look)(void *arg, struct client_slot *slot), void *arg)
{
    if (slot->client == NULL)
        return;
    lock(l, 0);
    if (half_close(slot) > most && most != 0)
        for (struct client_slot *s = slot; s != NULL; s = s->next_half_closed)
            look(arg, s);
    unlock(l);
}

uint64_t client_limits_known(struct client_limits *l)
{
    uint64_t count;

    lock(l, 0);
    count = l->count;
    unlock(l);
    return count;
}
