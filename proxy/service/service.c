#include "service.h"

#include "crew.h"
#include "listener.h"
#include "log.h"
#include "text.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#define EXTRA_LEAST   4 /* connections above the limit that are being told so, at a time */
#define EXTRA_MOST    16
#define PEER_NAME_MAX 64
#define FLUSH_MS      1000 /* for the last Close of all to leave */

/* PHASE_LEAVING: still taking connections, but nobody is to send us any. */
enum phase { PHASE_SERVING, PHASE_LEAVING, PHASE_DRAINING, PHASE_FLUSHING, PHASE_CUT };

/* One address: whom its listener tells of a connection. */
struct entrance {
    struct service *service;
    const struct listen_address *at;
    struct listener *listener;
};

/* What those have in common that follow one. */
struct slots {
    _Atomic uint64_t free_descriptors; /* two for each connection */
    _Atomic uint64_t last_id;
};

struct service {
    struct loop *loop;
    const struct service_config *config;
    const struct service_handler *handler;
    void *owner;
    const char *far_name;
    struct entrance entrances[SERVICE_LISTEN_MAX];
    unsigned entrance_count;
    struct service_session *first;
    _Atomic uint64_t connections;   /* sessions in the list */
    uint64_t descriptors;           /* of its connections */
    struct slots own_slots, *slots; /* the latter those of its leader */
    struct crew *crew;              /* NULL: nobody follows it */
    unsigned extra, extra_max;
    bool is_paused;
    enum phase phase;
    struct service_walk *walks;
    void (*on_drained)(void *arg); /* NULL once called */
    void *on_drained_arg;
    struct deadline patience; /* the drain delay, the drain timeout, then the flush */
};

static bool is_accepting(const struct service *s)
{
    return s->phase == PHASE_SERVING || s->phase == PHASE_LEAVING;
}

/* ---- slots ---- */

static bool is_full(const struct service *s)
{
    return s->slots->free_descriptors < 2;
}

/* Descriptors for both ends of a connection. False: there is no room. */
static bool take_slot(struct service *s)
{
    if (atomic_fetch_sub(&s->slots->free_descriptors, 2) - 2 > UINT64_MAX / 2) {
        s->slots->free_descriptors += 2;
        return false;
    }
    s->descriptors += 2;
    return true;
}

static void give_descriptor(struct service *s)
{
    s->descriptors--;
    s->slots->free_descriptors++;
}

/* They use spare descriptors (fd_limit.c), of which there are fewer where connections are few. */
static unsigned extra_for(const struct service_config *config)
{
    uint64_t extra = config->max_connections / 6;
    uint64_t workers = config->workers > 1 ? config->workers : 1;

    extra = extra < EXTRA_LEAST ? EXTRA_LEAST : extra > EXTRA_MOST ? EXTRA_MOST : extra;
    return extra > workers ? (unsigned)(extra / workers) : 1;
}

static void pause_if_overrun(struct service *s)
{
    if (s->is_paused || !is_full(s) || s->extra < s->extra_max)
        return;
    s->is_paused = true;
    for (unsigned i = 0; i < s->entrance_count; i++)
        listener_pause(s->entrances[i].listener);
}

static void resume_if_room(struct service *s)
{
    if (!s->is_paused || !is_accepting(s) || (is_full(s) && s->extra >= s->extra_max))
        return;
    s->is_paused = false;
    for (unsigned i = 0; i < s->entrance_count; i++)
        listener_resume(s->entrances[i].listener);
}

static void tell_drained(struct service *s)
{
    void (*fn)(void *arg) = s->on_drained;

    if (s->crew != NULL && !crew_is_drained(s->crew) && s->phase != PHASE_CUT)
        return;
    s->on_drained = NULL;
    if (fn != NULL)
        fn(s->on_drained_arg);
    if (s->crew != NULL)
        crew_dismiss(s->crew);
}

static bool is_empty(const struct service *s)
{
    return s->connections == 0 && s->extra == 0 && s->descriptors == 0;
}

static void tell_if_drained(struct service *s)
{
    if (is_accepting(s) || !is_empty(s))
        return;
    deadline_clear(loop_scheduler(s->loop), &s->patience);
    tell_drained(s);
}

static void on_descriptor_released(void *arg)
{
    struct service *s = arg;

    give_descriptor(s);
    resume_if_room(s);
    tell_if_drained(s);
}

static void on_extra_released(void *arg)
{
    struct service *s = arg;

    s->extra--;
    resume_if_room(s);
    tell_if_drained(s);
}

/* ---- accepting ---- */

static void add_session(struct service *s, uint64_t id, struct duplex *near,
                        const struct service_arrival *arrival)
{
    struct service_session *session = s->handler->start(s->owner, near, arrival);

    if (session == NULL) {
        give_descriptor(s); /* the far end's */
        duplex_abort(near, (struct cause){.what = CAUSE_NO_MEMORY});
        log_line(LOG_ERROR, "out of memory: connection refused");
        return;
    }
    *session = (struct service_session){
        .next = s->first,
        .id = id,
        .started_ms = loop_now_ms(s->loop),
    };
    if (s->first != NULL)
        s->first->previous = session;
    s->first = session;
    s->connections++;
}

static bool admits(const struct service *s, uint64_t id, struct duplex *near,
                   const struct service_arrival *arrival)
{
    return s->handler->admit == NULL || s->handler->admit(s->owner, id, near, arrival);
}

static void on_accept(void *owner, int fd, enum stream_kind kind)
{
    struct entrance *entrance = owner;
    struct service *s = entrance->service;
    char buffer[PEER_NAME_MAX];
    struct service_arrival arrival = {
        .at = entrance->at,
        .name = listener_peer_name(entrance->listener, buffer, sizeof(buffer)),
    };
    struct duplex *near = stream_open(s->loop, fd, kind, &s->config->stream);

    arrival.has_peer = listener_peer(entrance->listener, &arrival.peer);
    if (near == NULL) {
        log_line(LOG_ERROR, "out of memory: connection refused");
        return;
    }
    uint64_t id = ++s->slots->last_id;
    if (!take_slot(s)) {
        s->extra++;
        stream_on_release(near, on_extra_released, s);
        s->handler->turn_away(s->owner, id, near, &arrival);
    } else {
        stream_on_release(near, on_descriptor_released, s);
        if (admits(s, id, near, &arrival))
            add_session(s, id, near, &arrival);
        else
            give_descriptor(s); /* the far end's */
    }
    pause_if_overrun(s);
}

/* ---- what sessions tell ---- */

void service_session_connected(struct service *s, struct service_session *session,
                               struct duplex *far)
{
    assert(!session->has_far);
    session->has_far = true;
    stream_on_release(far, on_descriptor_released, s);
}

void service_session_over(struct service *s, struct service_session *session)
{
    for (struct service_walk *w = s->walks; w != NULL; w = w->next)
        if (w->at == session)
            w->at = session->next;
    if (session->previous != NULL)
        session->previous->next = session->next;
    else
        s->first = session->next;
    if (session->next != NULL)
        session->next->previous = session->previous;
    s->connections--;
    if (!session->has_far)
        on_descriptor_released(s);
}

/* ---- who looks at them ---- */

void service_walk_begin(struct service *s, struct service_walk *w)
{
    *w = (struct service_walk){.service = s, .at = s->first, .next = s->walks, .link = &s->walks};
    if (w->next != NULL)
        w->next->link = &w->next;
    s->walks = w;
}

struct service_session *service_walk_next(struct service_walk *w)
{
    struct service_session *session = w->at;

    if (session != NULL)
        w->at = session->next;
    return session;
}

void service_walk_end(struct service_walk *w)
{
    *w->link = w->next;
    if (w->next != NULL)
        w->next->link = w->link;
}

/* ---- the end ---- */

static void for_each_session(struct service *s, void (*act)(struct service_session *))
{
    for (struct service_session *next, *session = s->first; session != NULL; session = next) {
        next = session->next; /* `act` may free this one, but no other */
        act(session);
    }
}

static void close_listeners(struct service *s)
{
    for (unsigned i = 0; i < s->entrance_count; i++)
        listener_close(s->entrances[i].listener);
    s->entrance_count = 0;
}

static void wait_for(struct service *s, uint64_t ms)
{
    deadline_set(loop_scheduler(s->loop), &s->patience, ms);
}

static void begin_drain(struct service *s)
{
    s->phase = PHASE_DRAINING;
    close_listeners(s);
    for_each_session(s, s->handler->drain);
    tell_if_drained(s);
}

static void begin_flush(struct service *s)
{
    s->phase = PHASE_FLUSHING;
    for_each_session(s, s->handler->abort);
}

static void on_patience_over(struct deadline *d)
{
    struct service *s = container_of(d, struct service, patience);

    switch (s->phase) {
    case PHASE_LEAVING:
        wait_for(s, s->config->drain_timeout_ms);
        begin_drain(s);
        return;
    case PHASE_DRAINING:
        wait_for(s, FLUSH_MS);
        begin_flush(s);
        return;
    case PHASE_SERVING:
    case PHASE_FLUSHING:
    case PHASE_CUT:
        break;
    }
    s->phase = PHASE_CUT;
    tell_drained(s);
    loop_stop(s->loop); /* the rest of this turn still needs the streams */
}

static void log_draining(const struct service *s, uint64_t delay_ms)
{
    struct log_record r;

    log_begin(&r, LOG_INFO, "draining");
    log_num(&r, "delay_ms", delay_ms);
    log_num(&r, "connections", service_connections(s));
    log_end(&r);
}

static bool is_follower(const struct service *s)
{
    return s->slots != &s->own_slots;
}

void service_drain(struct service *s, bool is_delayed)
{
    uint64_t delay_ms = is_delayed ? s->config->drain_delay_ms : 0;

    if (s->phase != PHASE_SERVING)
        return;
    if (!is_follower(s))
        log_draining(s, delay_ms);
    if (s->crew != NULL)
        crew_drain(s->crew, is_delayed);
    s->phase = PHASE_LEAVING;
    if (delay_ms > 0)
        wait_for(s, delay_ms);
    else
        on_patience_over(&s->patience);
}

void service_stop(struct service *s)
{
    if (s->phase == PHASE_SERVING && !is_follower(s))
        log_draining(s, 0);
    if (s->crew != NULL)
        crew_stop(s->crew);
    if (is_accepting(s))
        begin_drain(s);
    if (is_empty(s))
        return;
    if (s->phase == PHASE_DRAINING)
        begin_flush(s);
    wait_for(s, 0);
}

void service_on_drained(struct service *s, void (*fn)(void *arg), void *arg)
{
    s->on_drained = fn;
    s->on_drained_arg = arg;
}

bool service_is_ready(const struct service *s)
{
    return s->phase == PHASE_SERVING;
}

uint64_t service_connections(const struct service *s)
{
    return s->connections + (s->crew != NULL ? crew_connections(s->crew) : 0);
}

unsigned service_listeners(const struct service *s)
{
    return s->entrance_count;
}

bool service_is_draining(const struct service *s)
{
    return s->phase != PHASE_SERVING;
}

bool service_was_cut(const struct service *s)
{
    return s->phase == PHASE_CUT || (s->crew != NULL && crew_was_cut(s->crew));
}

void service_join(struct service *s)
{
    if (s->crew != NULL)
        crew_join(s->crew);
}

bool service_is_looking_up(const struct service *s)
{
    return loop_is_looking_up(s->loop) || (s->crew != NULL && crew_is_looking_up(s->crew));
}

bool service_goes_round(struct service *s)
{
    return s->crew == NULL || crew_goes_round(s->crew);
}

/* ---- the beginning ---- */

static void log_listening(const struct service *s, unsigned index)
{
    struct log_record r;

    log_begin(&r, LOG_INFO, "listening");
    log_str(&r, "address", service_address(s, index));
    if (s->handler->form != NULL)
        log_str(&r, "form", s->handler->form(s->owner, s->entrances[index].at));
    log_str(&r, s->handler->far_key, s->far_name);
    log_end(&r);
}

/* NULL, and `problem`, when out of memory. */
static struct service *service_new(struct loop *l, const struct service_config *config,
                                   const struct service_handler *handler, void *owner,
                                   char *problem, size_t problem_size)
{
    struct service *s = calloc(1, sizeof(*s));
    struct text t;

    assert(config->max_connections > 0);
    text_init(&t, problem, problem_size);
    if (s == NULL) {
        text_add(&t, "out of memory");
        return NULL;
    }
    s->loop = l;
    s->config = config;
    s->handler = handler;
    s->owner = owner;
    s->slots = &s->own_slots;
    s->own_slots.free_descriptors = config->max_connections * 2;
    s->extra_max = extra_for(config);
    deadline_init(&s->patience, on_patience_over);
    return s;
}

/* The addresses of the configuration; beside those of `leader`, if that is not NULL. */
static int open_entrances(struct service *s, const struct service *leader, char *problem,
                          size_t problem_size)
{
    const struct listen_list *listen = &s->config->listen;
    struct listener_options options = {.shares_port = s->config->workers > 1};

    for (unsigned i = 0; i < listen->count; i++) {
        struct entrance *e = &s->entrances[i];
        int status;
        e->service = s;
        e->at = &listen->items[i];
        if (leader == NULL)
            status = listener_open(s->loop, &e->at->address, &options, on_accept, e, &e->listener,
                                   problem, problem_size);
        else
            status = listener_open_beside(leader->entrances[i].listener, s->loop, e, &e->listener,
                                          problem, problem_size);
        if (status < 0)
            return status;
        s->entrance_count++;
    }
    return 0;
}

int service_open(struct loop *l, const struct service_config *config,
                 const struct service_handler *handler, void *owner, const char *far_name,
                 struct service **out, char *problem, size_t problem_size)
{
    struct service *s = service_new(l, config, handler, owner, problem, problem_size);

    if (s == NULL)
        return -ENOMEM;
    s->far_name = far_name;
    int status = open_entrances(s, NULL, problem, problem_size);
    if (status < 0)
        service_free(s);
    else
        *out = s;
    return status;
}

void service_announce(const struct service *s)
{
    for (unsigned i = 0; i < s->entrance_count; i++)
        log_listening(s, i);
}

int service_open_beside(const struct service *leader, struct loop *l, void *owner,
                        struct service **out, char *problem, size_t problem_size)
{
    struct service *s =
        service_new(l, leader->config, leader->handler, owner, problem, problem_size);

    if (s == NULL)
        return -ENOMEM;
    s->slots = leader->slots;
    int status = open_entrances(s, leader, problem, problem_size);
    if (status < 0)
        service_free(s);
    else
        *out = s;
    return status;
}

static void on_crew_drained(void *arg)
{
    struct service *s = arg;

    tell_if_drained(s);
    if (crew_was_cut(s->crew))
        loop_stop(s->loop);
}

void service_lead(struct service *s, struct crew *crew)
{
    s->crew = crew;
    crew_on_drained(crew, on_crew_drained, s);
}

const char *service_address(const struct service *s, unsigned index)
{
    assert(index < s->entrance_count);
    return listener_name(s->entrances[index].listener);
}

void service_free(struct service *s)
{
    if (s == NULL)
        return;
    assert(s->first == NULL && s->walks == NULL && s->phase != PHASE_CUT);
    crew_free(s->crew);
    close_listeners(s);
    deadline_clear(loop_scheduler(s->loop), &s->patience);
    free(s);
}
