/* Time and order, without a clock: deadlines, and tasks that run at the end of the loop's turn.
 *
 * One a loop. io/loop.c feeds it the real time, tests a virtual one. Nothing here allocates:
 * deadlines and tasks are members of the structures they serve. Not thread-safe: each belongs to
 * one loop.
 *
 * Deadlines are meant to be armed rarely. What every byte restarts (an idle timer) keeps a time
 * stamp instead, and looks at it when the deadline fires. */
#ifndef TIDEGATE_SCHEDULER_H
#define TIDEGATE_SCHEDULER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct deadline;
struct task;

struct task_list {
    struct task *first, **tail;
};

struct scheduler {
    uint64_t now_ms; /* monotonic */
    struct deadline *root;
    size_t armed; /* deadlines that are set, for who watches */
    struct task_list tasks, costly;
};

struct deadline {
    uint64_t at_ms;
    void (*fire)(struct deadline *d); /* d is cleared before; it may be set again, or freed */
    struct deadline *child, *sibling, **link; /* pairing heap, private; link NULL: not set */
};

struct task {
    void (*run)(
        struct task *t);       /* t is out of the list before; it may be deferred again, or freed */
    struct task *next, **link; /* private; link NULL: not queued */
};

void scheduler_init(struct scheduler *s, uint64_t now_ms);

/* Moves time to `now_ms` (never back), and fires nothing. */
static inline void scheduler_set_now(struct scheduler *s, uint64_t now_ms)
{
    if (now_ms > s->now_ms)
        s->now_ms = now_ms;
}

/* Fires all that was due at `until_ms`, earliest first. */
void scheduler_fire(struct scheduler *s, uint64_t until_ms);

/* Both. */
void scheduler_advance(struct scheduler *s, uint64_t now_ms);

/* The time of the earliest deadline; false if there is none. */
bool scheduler_next(const struct scheduler *s, uint64_t *at_ms);

/* Runs the deferred tasks, those deferred by them too, and of the costly ones the first. The loop
 * calls it once a turn, and does not sleep while there are tasks. */
void scheduler_run_tasks(struct scheduler *s);
bool scheduler_has_tasks(const struct scheduler *s);

/* Not set, and set to no time. */
void deadline_init(struct deadline *d, void (*fire)(struct deadline *d));
/* Arms, or arms anew, `delay_ms` from now. */
void deadline_set(struct scheduler *s, struct deadline *d, uint64_t delay_ms);
/* Harmless if not set. */
void deadline_clear(struct scheduler *s, struct deadline *d);

static inline bool deadline_is_set(const struct deadline *d)
{
    return d->link != NULL;
}

void task_init(struct task *t, void (*run)(struct task *t));
/* Runs once at the end of this turn, in the order of deferral; harmless if already queued. */
void task_defer(struct scheduler *s, struct task *t);
/* The same for one that takes a millisecond or more: one of these runs in a turn, in the order of
 * deferral, so that what others wait for comes in between. */
void task_defer_costly(struct scheduler *s, struct task *t);
/* Takes it out of the list; harmless if not queued. */
void task_cancel(struct scheduler *s, struct task *t);

static inline bool task_is_queued(const struct task *t)
{
    return t->link != NULL;
}

#endif
