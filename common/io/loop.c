#include "loop_internal.h"

#include "stream_internal.h"
#include "watch_internal.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>

struct signal_watch {
    uv_signal_t handle;
    struct loop *loop;
    struct signal_watch *next;
    void (*fn)(void *arg, int signum);
    void *arg;
};

static bool loop_has_work(const struct loop *l)
{
    return l->stream_count > 0 || l->items != NULL || l->holds > 0 || l->closing > 0 ||
           scheduler_has_tasks(&l->scheduler);
}

/* It has woken the loop up: on_prepare sees to what is due. */
static void on_timer(uv_timer_t *timer)
{
    struct loop *l = timer->data;
    l->is_armed = false;
}

static void on_awake(uv_idle_t *idle)
{
    (void)idle;
}

/* Runs before the loop sleeps: deadlines, what this turn deferred, then the alarm for the next
 * deadline. One fires when the sockets have been looked at behind its time: who was held up, with
 * the answer that it waits for in a socket, must not find that none came. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct loop *l = prepare->data;
    l->turn++;
    loop_touch(l);
    scheduler_fire(&l->scheduler, l->looked_ms);
    scheduler_run_tasks(&l->scheduler);
    stream_free_gone(l);
    if (scheduler_has_tasks(&l->scheduler))
        uv_idle_start(&l->awake, on_awake);
    else
        uv_idle_stop(&l->awake);

    uint64_t at_ms;
    l->looked_ms = uv_now(&l->uv);
    if (!scheduler_next(&l->scheduler, &at_ms)) {
        if (l->is_armed)
            uv_timer_stop(&l->timer);
        l->is_armed = false;
    } else if (!l->is_armed || at_ms != l->armed_ms) {
        uv_timer_start(&l->timer, on_timer, at_ms > l->looked_ms ? at_ms - l->looked_ms : 0, 0);
        l->armed_ms = at_ms;
        l->is_armed = true;
    }
    /* A task may have ended the last open thing, and nothing would wake the loop any more. */
    if (!loop_has_work(l))
        uv_stop(&l->uv);
}

/* ---- calls from other threads ---- */

void loop_call_init(struct loop_call *c, void (*run)(struct loop_call *c))
{
    *c = (struct loop_call){.run = run};
}

void loop_send(struct loop *l, struct loop_call *c)
{
    pthread_mutex_lock(&l->calls_lock);
    if (!c->is_sent) {
        c->is_sent = true;
        c->next = NULL;
        *l->calls_end = c;
        l->calls_end = &c->next;
    }
    pthread_mutex_unlock(&l->calls_lock);
    uv_async_send(&l->called);
}

static struct loop_call *take_call(struct loop *l)
{
    pthread_mutex_lock(&l->calls_lock);
    struct loop_call *c = l->calls;
    if (c != NULL) {
        l->calls = c->next;
        if (l->calls == NULL)
            l->calls_end = &l->calls;
        c->is_sent = false;
    }
    pthread_mutex_unlock(&l->calls_lock);
    return c;
}

static void on_called(uv_async_t *called)
{
    struct loop *l = called->data;
    struct loop_call *c;
    loop_touch(l);
    while ((c = take_call(l)) != NULL)
        c->run(c);
}

/* ---- the beginning ---- */

/* libuv makes its threads when the first is needed, 4 of them, and lets no more than half of them
 * look up names: two names that nobody answers for would keep all others waiting. */
#define THREADS "64"

struct loop *loop_new(void)
{
    signal(SIGPIPE, SIG_IGN);
    setenv("UV_THREADPOOL_SIZE", THREADS, 0);
    struct loop *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return NULL;
    l->buffer = malloc(LOOP_BUFFER_SIZE);
    if (l->buffer == NULL || uv_loop_init(&l->uv) != 0) {
        free(l->buffer);
        free(l);
        return NULL;
    }
    if (uv_async_init(&l->uv, &l->called, on_called) != 0) {
        uv_loop_close(&l->uv);
        free(l->buffer);
        free(l);
        return NULL;
    }
    pthread_mutex_init(&l->calls_lock, NULL);
    l->calls_end = &l->calls;
    scheduler_init(&l->scheduler, uv_now(&l->uv));
    uv_prepare_init(&l->uv, &l->prepare);
    uv_timer_init(&l->uv, &l->timer);
    uv_idle_init(&l->uv, &l->awake);
    l->uv.data = l->prepare.data = l->timer.data = l->called.data = l;
    /* The prepare handle stays referenced: to libuv the loop is always alive, so that it sleeps
     * even when all streams are paused. When to return is decided here, by loop_has_work. */
    uv_prepare_start(&l->prepare, on_prepare);
    uv_unref((uv_handle_t *)&l->timer);
    uv_unref((uv_handle_t *)&l->called);
    return l;
}

void loop_run(struct loop *l)
{
    l->is_stopping = false;
    uv_update_time(&l->uv);
    while (!l->is_stopping && loop_has_work(l))
        uv_run(&l->uv, UV_RUN_ONCE);
}

const char *loop_library_version(void)
{
    return uv_version_string();
}

void loop_stop(struct loop *l)
{
    l->is_stopping = true;
    uv_stop(&l->uv);
}

void loop_hold(struct loop *l)
{
    l->holds++;
}

void loop_release(struct loop *l)
{
    assert(l->holds > 0);
    l->holds--;
}

static void on_signal_closed(uv_handle_t *handle)
{
    free(container_of(handle, struct signal_watch, handle));
}

void loop_free(struct loop *l)
{
    if (l == NULL)
        return;
    l->is_ending = true;
    l->calls = NULL; /* whom they are for has gone */
    l->calls_end = &l->calls;
    while (l->items != NULL)
        l->items->end(l->items);
    loop_reset_streams(l);
    stream_free_gone(l);
    watch_free_kept(l);
    while (l->signals != NULL) {
        struct signal_watch *w = l->signals;
        l->signals = w->next;
        uv_close((uv_handle_t *)&w->handle, on_signal_closed);
    }
    resolve_end_lookups(l);
    uv_close((uv_handle_t *)&l->prepare, NULL);
    uv_close((uv_handle_t *)&l->timer, NULL);
    uv_close((uv_handle_t *)&l->awake, NULL);
    uv_close((uv_handle_t *)&l->called, NULL);
    /* Also waits for a getaddrinfo(3) that runs in a thread and cannot be called back. */
    uv_run(&l->uv, UV_RUN_DEFAULT);
    int status = uv_loop_close(&l->uv);
    assert(status == 0 && l->stream_count == 0 && l->lookups == NULL);
    (void)status;
    pthread_mutex_destroy(&l->calls_lock);
    free(l->buffer);
    free(l);
}

bool loop_is_looking_up(const struct loop *l)
{
    return l->lookups != NULL;
}

struct scheduler *loop_scheduler(struct loop *l)
{
    return &l->scheduler;
}

uint64_t loop_now_ms(const struct loop *l)
{
    return uv_now(&l->uv);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct signal_watch *w = container_of(handle, struct signal_watch, handle);
    loop_touch(w->loop);
    w->fn(w->arg, signum);
}

int loop_on_signal(struct loop *l, int signum, void (*fn)(void *arg, int signum), void *arg)
{
    for (struct signal_watch *w = l->signals; w != NULL; w = w->next) {
        if (w->handle.signum == signum) {
            w->fn = fn;
            w->arg = arg;
            return 0;
        }
    }
    struct signal_watch *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return UV_ENOMEM;
    int status = uv_signal_init(&l->uv, &w->handle);
    if (status != 0) {
        free(w);
        return status;
    }
    status = uv_signal_start(&w->handle, on_signal, signum);
    if (status != 0) {
        uv_close((uv_handle_t *)&w->handle, on_signal_closed);
        return status;
    }
    uv_unref((uv_handle_t *)&w->handle);
    w->loop = l;
    w->fn = fn;
    w->arg = arg;
    w->next = l->signals;
    l->signals = w;
    return 0;
}

unsigned loop_open_streams(const struct loop *l)
{
    return l->stream_count;
}

static void discard_if_stream(uv_handle_t *handle, void *arg)
{
    (void)arg;
    stream_discard(handle);
}

void loop_reset_streams(struct loop *l)
{
    uv_walk(&l->uv, discard_if_stream, NULL);
}

void loop_add_item(struct loop *l, struct loop_item *item, void (*end)(struct loop_item *item))
{
    item->end = end;
    item->next = l->items;
    item->link = &l->items;
    if (item->next != NULL)
        item->next->link = &item->next;
    l->items = item;
}

void loop_remove_item(struct loop_item *item)
{
    if (item->link == NULL)
        return;
    *item->link = item->next;
    if (item->next != NULL)
        item->next->link = item->link;
    item->link = NULL;
}
