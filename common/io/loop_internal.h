/* The loop as the other files of common/io see it. Private to this floor: includes <uv.h>. */
#ifndef TIDEGATE_LOOP_INTERNAL_H
#define TIDEGATE_LOOP_INTERNAL_H

#include "loop.h"

#include <pthread.h>
#include <stdbool.h>
#include <uv.h>

/* On loopback a write becomes packets of nearly 64 KiB: four for this, and five for a KiB more. */
#define LOOP_BUFFER_SIZE 261120

#define LOOP_KEPT 256 /* poll handles that are kept, see watch_internal.h */

struct stream;

/* Something open that loop_free must end: first member of a listener, a dial or a question to the
 * resolver. While one is registered, loop_run goes on. */
struct loop_item {
    void (*end)(
        struct loop_item *item); /* closes it without any event to its owner; takes it out */
    struct loop_item *next, **link;
};

struct loop {
    uv_loop_t uv; /* its data: this */
    uv_prepare_t prepare;
    uv_timer_t timer; /* for the scheduler's earliest deadline */
    uv_idle_t awake;  /* active while tasks are left for the next turn: the loop does not sleep */
    struct scheduler scheduler;
    uint64_t looked_ms; /* what had come by then has been read */
    uint64_t armed_ms;  /* what the timer is set to */
    bool is_armed;
    bool is_stopping;
    bool is_ending;        /* in loop_free */
    unsigned turn;         /* counts the loop's turns */
    unsigned holds;        /* loop_hold */
    unsigned closing;      /* handles closed by us whose memory is not free yet */
    uint8_t *buffer;       /* LOOP_BUFFER_SIZE bytes that all reads share */
    unsigned stream_count; /* the streams themselves are the data of libuv's handles */
    struct stream *gone;   /* closed, with memory that is freed at the end of the turn */
    uv_poll_t *kept[LOOP_KEPT];
    struct loop_item *items;
    struct lookup *lookups; /* resolve.c: names being looked up */
    struct signal_watch *signals;
    uv_async_t called; /* wakes the loop up for what is in `calls` */
    pthread_mutex_t calls_lock;
    struct loop_call *calls, **calls_end; /* from any thread */
};

/* Every callback of libuv begins with this: libuv has moved its time when it woke up, and the
 * deadlines that the callback sets must count from there. */
static inline void loop_touch(struct loop *l)
{
    scheduler_set_now(&l->scheduler, uv_now(&l->uv));
}

void loop_add_item(struct loop *l, struct loop_item *item, void (*end)(struct loop_item *item));
void loop_remove_item(struct loop_item *item); /* harmless if it is not registered */

void resolve_end_lookups(struct loop *l); /* calls back what no thread has begun yet */

#endif
