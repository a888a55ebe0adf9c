#include "crew.h"

#include "service.h"
#include "span.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct member {
    struct crew *crew;
    struct loop *loop;
    struct service *service;
    pthread_t thread;
    bool is_running; /* crew_join has to wait for it */
    bool has_run;
    bool is_delayed;                             /* of the drain: set before `drain` is sent */
    struct loop_call drain, stop, dismiss, ping; /* into its loop */
    struct loop_call drained, pong;              /* into the leader's */
    bool was_cut;                   /* written before `drained` is sent, and by crew_join */
    bool has_drained, has_answered; /* as the leader knows */
};

struct crew {
    struct loop *leader;
    void (*on_drained)(void *arg);
    void *on_drained_arg;
    unsigned count, drained_count, max;
    bool is_dismissed;
    struct member members[];
};

/* ---- in the thread of a member ---- */

static void run_drain(struct loop_call *c)
{
    struct member *m = container_of(c, struct member, drain);

    service_drain(m->service, m->is_delayed);
}

static void run_stop(struct loop_call *c)
{
    service_stop(container_of(c, struct member, stop)->service);
}

static void run_dismiss(struct loop_call *c)
{
    loop_release(container_of(c, struct member, dismiss)->loop);
}

static void run_ping(struct loop_call *c)
{
    struct member *m = container_of(c, struct member, ping);

    loop_send(m->crew->leader, &m->pong);
}

static void on_member_drained(void *arg)
{
    struct member *m = arg;

    m->was_cut = service_was_cut(m->service);
    loop_send(m->crew->leader, &m->drained);
}

static void *run(void *arg)
{
    struct member *m = arg;

    loop_run(m->loop);
    if (service_was_cut(m->service))
        loop_reset_streams(m->loop);
    return NULL;
}

/* ---- in the thread of the leader ---- */

static void run_drained(struct loop_call *c)
{
    struct member *m = container_of(c, struct member, drained);
    struct crew *crew = m->crew;

    m->has_drained = true;
    if (++crew->drained_count < crew->count)
        return;
    loop_release(crew->leader);
    crew->on_drained(crew->on_drained_arg);
}

static void run_pong(struct loop_call *c)
{
    container_of(c, struct member, pong)->has_answered = true;
}

struct crew *crew_new(struct loop *leader, unsigned max)
{
    struct crew *c = calloc(1, sizeof(*c) + max * sizeof(c->members[0]));

    if (c == NULL)
        return NULL;
    c->leader = leader;
    c->max = max;
    return c;
}

void crew_add(struct crew *c, struct loop *l, struct service *s)
{
    struct member *m = &c->members[c->count++];

    assert(c->count <= c->max);
    *m = (struct member){.crew = c, .loop = l, .service = s, .has_answered = true};
    loop_call_init(&m->drain, run_drain);
    loop_call_init(&m->stop, run_stop);
    loop_call_init(&m->dismiss, run_dismiss);
    loop_call_init(&m->ping, run_ping);
    loop_call_init(&m->drained, run_drained);
    loop_call_init(&m->pong, run_pong);
    loop_hold(l);
    service_on_drained(s, on_member_drained, m);
}

int crew_start(struct crew *c)
{
    sigset_t all, before;
    int status = 0;

    /* Signals are for the leader: libuv's handler runs where they are not blocked. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    loop_hold(c->leader);
    for (unsigned i = 0; i < c->count && status == 0; i++) {
        struct member *m = &c->members[i];
        status = -pthread_create(&m->thread, NULL, run, m);
        m->is_running = m->has_run = status == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status != 0)
        crew_drain(c, false);
    return status;
}

void crew_on_drained(struct crew *c, void (*fn)(void *arg), void *arg)
{
    c->on_drained = fn;
    c->on_drained_arg = arg;
}

bool crew_is_drained(const struct crew *c)
{
    return c->drained_count == c->count;
}

void crew_drain(struct crew *c, bool is_delayed)
{
    for (unsigned i = 0; i < c->count; i++) {
        c->members[i].is_delayed = is_delayed;
        loop_send(c->members[i].loop, &c->members[i].drain);
    }
}

void crew_stop(struct crew *c)
{
    for (unsigned i = 0; i < c->count; i++)
        loop_send(c->members[i].loop, &c->members[i].stop);
}

void crew_dismiss(struct crew *c)
{
    if (c->is_dismissed)
        return;
    c->is_dismissed = true;
    for (unsigned i = 0; i < c->count; i++)
        loop_send(c->members[i].loop, &c->members[i].dismiss);
}

void crew_join(struct crew *c)
{
    crew_dismiss(c);
    for (unsigned i = 0; i < c->count; i++) {
        struct member *m = &c->members[i];
        if (!m->is_running)
            continue;
        pthread_join(m->thread, NULL);
        m->is_running = false;
        m->was_cut = service_was_cut(m->service);
    }
}

uint64_t crew_connections(const struct crew *c)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < c->count; i++)
        sum += service_connections(c->members[i].service);
    return sum;
}

bool crew_goes_round(struct crew *c)
{
    bool all = true;

    for (unsigned i = 0; i < c->count; i++) {
        struct member *m = &c->members[i];
        if (m->has_drained)
            continue;
        all = all && m->has_answered;
        m->has_answered = false;
        loop_send(m->loop, &m->ping);
    }
    return all;
}

bool crew_was_cut(const struct crew *c)
{
    for (unsigned i = 0; i < c->count; i++)
        if (c->members[i].was_cut)
            return true;
    return false;
}

bool crew_is_looking_up(const struct crew *c)
{
    for (unsigned i = 0; i < c->count; i++)
        if (loop_is_looking_up(c->members[i].loop))
            return true;
    return false;
}

static void free_member(struct member *m)
{
    if (!m->has_run)
        loop_release(m->loop);
    service_free(m->service);
    loop_free(m->loop);
}

void crew_free(struct crew *c)
{
    if (c == NULL)
        return;
    crew_join(c);
    for (unsigned i = 0; i < c->count; i++)
        free_member(&c->members[i]);
    free(c);
}
