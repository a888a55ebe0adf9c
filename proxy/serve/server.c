#include "server.h"

#include "access_log.h"
#include "listener.h"
#include "log.h"
#include "ws_handshake.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define EXTRA_MAX     16 /* connections above the limit that are being told so */
#define PEER_NAME_MAX 64
#define FLUSH_MS      1000 /* for the last Close of all to leave */

enum phase { PHASE_SERVING, PHASE_DRAINING, PHASE_FLUSHING, PHASE_CUT };

/* One address: whom its listener tells of a connection. */
struct entrance {
    struct server *server;
    struct listener *listener;
};

struct server {
    struct session_host host;
    struct server_config const *config;
    struct server_observer observer;
    struct entrance entrances[SERVER_LISTEN_MAX];
    unsigned entrance_count;
    struct session *first;
    uint64_t connections; /* sessions in the list */
    uint64_t last_id;
    uint64_t free_descriptors; /* two for each connection */
    unsigned extra;
    bool is_paused;
    enum phase phase;
    struct deadline patience; /* the drain timeout, then the flush */
    char backend_name[ADDRESS_TEXT_MAX];
};

static bool is_full(const struct server *s)
{
    return s->free_descriptors < 2;
}

/* ---- slots ---- */

static void pause_if_overrun(struct server *s)
{
    if (s->is_paused || !is_full(s) || s->extra < EXTRA_MAX)
        return;
    s->is_paused = true;
    for (unsigned i = 0; i < s->entrance_count; i++)
        listener_pause(s->entrances[i].listener);
}

static void resume_if_room(struct server *s)
{
    if (!s->is_paused || s->phase != PHASE_SERVING || (is_full(s) && s->extra >= EXTRA_MAX))
        return;
    s->is_paused = false;
    for (unsigned i = 0; i < s->entrance_count; i++)
        listener_resume(s->entrances[i].listener);
}

static void on_descriptor_released(void *arg)
{
    struct server *s = arg;

    s->free_descriptors++;
    resume_if_room(s);
}

static void on_extra_released(void *arg)
{
    struct server *s = arg;

    s->extra--;
    resume_if_room(s);
}

/* ---- accepting ---- */

static void add_session(struct server *s, struct duplex *client, const char *name)
{
    struct session *session = session_new(&s->host, ++s->last_id, client, name);

    if (session == NULL) {
        s->free_descriptors++; /* the backend's */
        duplex_abort(client, (struct cause){.what = CAUSE_NO_MEMORY});
        log_line(LOG_ERROR, "out of memory: connection refused");
        return;
    }
    session->next = s->first;
    if (s->first != NULL)
        s->first->previous = session;
    s->first = session;
    s->connections++;
}

static void refuse_above_limit(struct server *s, struct duplex *client, const char *name)
{
    char buffer[1024];
    struct text t;
    struct access_entry e = {.conn = ++s->last_id, .client = name};
    struct span span;

    text_init(&t, buffer, sizeof(buffer));
    ws_handshake_refuse(503, "too many connections", &t);
    span = (struct span){(uint8_t *)t.data, t.len};
    duplex_write(client, &span, 1);
    duplex_close(client);
    access_log_refused(&e, 503, (struct cause){CAUSE_LIMIT, CAUSE_AT_PROXY, 0},
                       "too many connections");
}

static void on_accept(void *owner, int fd, bool is_unix)
{
    struct entrance *entrance = owner;
    struct server *s = entrance->server;
    char name[PEER_NAME_MAX];
    struct duplex *client =
        stream_open(s->host.loop, fd, is_unix ? STREAM_UNIX : STREAM_TCP, &s->config->stream);

    if (client == NULL) {
        log_line(LOG_ERROR, "out of memory: connection refused");
    } else if (is_full(s)) {
        s->extra++;
        stream_on_release(client, on_extra_released, s);
        refuse_above_limit(s, client, listener_peer_name(entrance->listener, name, sizeof(name)));
    } else {
        s->free_descriptors -= 2;
        stream_on_release(client, on_descriptor_released, s);
        add_session(s, client, listener_peer_name(entrance->listener, name, sizeof(name)));
    }
    pause_if_overrun(s);
}

/* ---- what sessions tell ---- */

static void on_session_connected(struct session_host *h, struct session *session,
                                 struct duplex *backend)
{
    struct server *s = container_of(h, struct server, host);

    stream_on_release(backend, on_descriptor_released, s);
    if (s->observer.on_connected != NULL)
        s->observer.on_connected(s->observer.arg, session->carrier);
}

static void on_session_closed(struct session_host *h, const struct relay_report *report)
{
    struct server *s = container_of(h, struct server, host);

    if (s->observer.on_closed != NULL)
        s->observer.on_closed(s->observer.arg, report);
}

static void on_session_over(struct session_host *h, struct session *session)
{
    struct server *s = container_of(h, struct server, host);

    if (session->previous != NULL)
        session->previous->next = session->next;
    else
        s->first = session->next;
    if (session->next != NULL)
        session->next->previous = session->previous;
    s->connections--;
    if (!session->has_backend)
        on_descriptor_released(s);
}

/* ---- the end ---- */

static void for_each_session(struct server *s, void (*act)(struct session *))
{
    for (struct session *next, *session = s->first; session != NULL; session = next) {
        next = session->next; /* `act` may free this one, but no other */
        act(session);
    }
}

static void on_patience_over(struct deadline *d)
{
    struct server *s = container_of(d, struct server, patience);

    if (s->phase == PHASE_DRAINING) {
        s->phase = PHASE_FLUSHING;
        for_each_session(s, session_abort);
        deadline_set(loop_scheduler(s->host.loop), d, FLUSH_MS);
        return;
    }
    s->phase = PHASE_CUT;
    loop_reset_streams(s->host.loop);
    loop_stop(s->host.loop);
}

static void close_listeners(struct server *s)
{
    for (unsigned i = 0; i < s->entrance_count; i++)
        listener_close(s->entrances[i].listener);
    s->entrance_count = 0;
}

static void begin_drain(struct server *s)
{
    struct log_record r;

    log_begin(&r, LOG_INFO, "draining");
    log_num(&r, "connections", s->connections);
    log_end(&r);
    s->phase = PHASE_DRAINING;
    close_listeners(s);
    for_each_session(s, session_drain);
}

void server_drain(struct server *s)
{
    if (s->phase != PHASE_SERVING)
        return;
    begin_drain(s);
    deadline_set(loop_scheduler(s->host.loop), &s->patience, s->config->drain_timeout_ms);
}

void server_stop(struct server *s)
{
    if (s->phase == PHASE_SERVING)
        begin_drain(s);
    if (s->phase == PHASE_DRAINING) {
        s->phase = PHASE_FLUSHING;
        for_each_session(s, session_abort);
    }
    deadline_set(loop_scheduler(s->host.loop), &s->patience, 0);
}

bool server_is_draining(const struct server *s)
{
    return s->phase != PHASE_SERVING;
}

bool server_was_cut(const struct server *s)
{
    return s->phase == PHASE_CUT;
}

/* ---- the beginning ---- */

static void log_listening(const struct server *s, unsigned index)
{
    struct log_record r;

    log_begin(&r, LOG_INFO, "listening");
    log_str(&r, "address", server_address(s, index));
    log_str(&r, "backend", s->backend_name);
    log_end(&r);
}

int server_start(struct loop *l, const struct server_config *config,
                 const struct server_observer *observer, struct server **out, char *problem,
                 size_t problem_size)
{
    struct server *s = calloc(1, sizeof(*s));
    struct text t;

    assert(config->max_connections > 0);
    text_init(&t, problem, problem_size);
    if (s == NULL) {
        text_add(&t, "out of memory");
        return -ENOMEM;
    }
    s->config = config;
    s->free_descriptors = config->max_connections * 2;
    if (observer != NULL)
        s->observer = *observer;
    s->host.loop = l;
    s->host.config = config;
    s->host.backend_name = address_format(&config->backend, s->backend_name, ADDRESS_TEXT_MAX);
    s->host.on_connected = on_session_connected;
    s->host.on_closed = on_session_closed;
    s->host.on_over = on_session_over;
    deadline_init(&s->patience, on_patience_over);
    for (unsigned i = 0; i < config->listen.count; i++) {
        static const struct listener_options options = {0};
        s->entrances[i].server = s;
        int status =
            listener_open(l, &config->listen.items[i], &options, on_accept, &s->entrances[i],
                          &s->entrances[i].listener, problem, problem_size);
        if (status < 0) {
            close_listeners(s);
            free(s);
            return status;
        }
        s->entrance_count++;
    }
    for (unsigned i = 0; i < s->entrance_count; i++)
        log_listening(s, i);
    *out = s;
    return 0;
}

const char *server_address(const struct server *s, unsigned index)
{
    assert(index < s->entrance_count);
    return listener_name(s->entrances[index].listener);
}

void server_free(struct server *s)
{
    if (s == NULL)
        return;
    assert(s->first == NULL && s->phase != PHASE_CUT);
    close_listeners(s);
    deadline_clear(loop_scheduler(s->host.loop), &s->patience);
    free(s);
}
