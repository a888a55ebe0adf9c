#include "scheduler.h"

#include <assert.h>
#include <stddef.h>

static void list_init(struct task_list *list)
{
    list->first = NULL;
    list->tail = &list->first;
}

void scheduler_init(struct scheduler *s, uint64_t now_ms)
{
    s->now_ms = now_ms;
    s->root = NULL;
    s->armed = 0;
    list_init(&s->tasks);
    list_init(&s->costly);
}

/* Deadlines form a pairing heap: each knows its first child, its next sibling, and the pointer that
 * points at it (`link`), so that it can be taken out from anywhere without a search. */

static struct deadline *heap_meld(struct deadline *a, struct deadline *b)
{
    if (a == NULL)
        return b;
    if (b == NULL)
        return a;
    if (b->at_ms < a->at_ms) {
        struct deadline *swap = a;
        a = b;
        b = swap;
    }
    b->sibling = a->child;
    if (b->sibling != NULL)
        b->sibling->link = &b->sibling;
    a->child = b;
    b->link = &a->child;
    return a;
}

/* Melds a list of siblings into one heap, in pairs and then from the back, without recursion. */
static struct deadline *heap_meld_siblings(struct deadline *list)
{
    struct deadline *pairs = NULL;
    while (list != NULL) {
        struct deadline *a = list;
        struct deadline *b = a->sibling;
        list = b != NULL ? b->sibling : NULL;
        a->sibling = NULL;
        if (b != NULL)
            b->sibling = NULL;
        struct deadline *pair = heap_meld(a, b);
        pair->sibling = pairs;
        pairs = pair;
    }
    struct deadline *root = NULL;
    while (pairs != NULL) {
        struct deadline *next = pairs->sibling;
        pairs->sibling = NULL;
        root = heap_meld(root, pairs);
        pairs = next;
    }
    return root;
}

static void heap_set_root(struct scheduler *s, struct deadline *root)
{
    s->root = root;
    if (root != NULL) {
        root->sibling = NULL;
        root->link = &s->root;
    }
}

void deadline_init(struct deadline *d, void (*fire)(struct deadline *d))
{
    *d = (struct deadline){.fire = fire};
}

void deadline_set(struct scheduler *s, struct deadline *d, uint64_t delay_ms)
{
    assert(d->fire != NULL);
    deadline_clear(s, d);
    d->at_ms = delay_ms > UINT64_MAX - s->now_ms ? UINT64_MAX : s->now_ms + delay_ms;
    d->child = d->sibling = NULL;
    heap_set_root(s, heap_meld(s->root, d));
    s->armed++;
}

void deadline_clear(struct scheduler *s, struct deadline *d)
{
    if (!deadline_is_set(d))
        return;
    *d->link = d->sibling;
    if (d->sibling != NULL)
        d->sibling->link = d->link;
    struct deadline *children = heap_meld_siblings(d->child);
    heap_set_root(s, heap_meld(s->root, children));
    d->child = d->sibling = NULL;
    d->link = NULL;
    s->armed--;
}

bool scheduler_next(const struct scheduler *s, uint64_t *at_ms)
{
    if (s->root == NULL)
        return false;
    *at_ms = s->root->at_ms;
    return true;
}

void scheduler_fire(struct scheduler *s, uint64_t until_ms)
{
    /* What is set anew while firing waits for the next call, or a zero delay would never let go. */
    struct deadline *due = NULL, **end = &due;
    while (s->root != NULL && s->root->at_ms <= until_ms) {
        struct deadline *d = s->root;
        heap_set_root(s, heap_meld_siblings(d->child));
        /* Still counted as set, and linked, so that one that fires may clear another that is due.
         */
        d->child = NULL;
        d->sibling = NULL;
        d->link = end;
        *end = d;
        end = &d->sibling;
    }
    while (due != NULL) {
        struct deadline *d = due;
        due = d->sibling;
        if (due != NULL)
            due->link = &due;
        d->sibling = NULL;
        d->link = NULL;
        s->armed--;
        d->fire(d);
    }
}

void scheduler_advance(struct scheduler *s, uint64_t now_ms)
{
    scheduler_set_now(s, now_ms);
    scheduler_fire(s, s->now_ms);
}

void task_init(struct task *t, void (*run)(struct task *t))
{
    *t = (struct task){.run = run};
}

static void list_append(struct task_list *list, struct task *t)
{
    if (task_is_queued(t))
        return;
    t->next = NULL;
    t->link = list->tail;
    *list->tail = t;
    list->tail = &t->next;
}

void task_defer(struct scheduler *s, struct task *t)
{
    list_append(&s->tasks, t);
}

void task_defer_costly(struct scheduler *s, struct task *t)
{
    list_append(&s->costly, t);
}

void task_cancel(struct scheduler *s, struct task *t)
{
    if (!task_is_queued(t))
        return;
    *t->link = t->next;
    if (t->next != NULL)
        t->next->link = t->link;
    else if (s->tasks.tail == &t->next)
        s->tasks.tail = t->link;
    else
        s->costly.tail = t->link;
    t->link = NULL;
}

bool scheduler_has_tasks(const struct scheduler *s)
{
    return s->tasks.first != NULL || s->costly.first != NULL;
}

static void run_first(struct scheduler *s, const struct task_list *list)
{
    struct task *t = list->first;

    task_cancel(s, t);
    t->run(t);
}

void scheduler_run_tasks(struct scheduler *s)
{
    while (s->tasks.first != NULL)
        run_first(s, &s->tasks);
    if (s->costly.first == NULL)
        return;
    run_first(s, &s->costly);
    while (s->tasks.first != NULL)
        run_first(s, &s->tasks);
}
