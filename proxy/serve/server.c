#include "server.h"

#include "../service/access_log.h"
#include "session.h"
#include "ws_handshake.h"

#include <errno.h>
#include <stdlib.h>

struct server {
    struct session_host host;
    struct service *service;
    char backend_name[ADDRESS_TEXT_MAX];
};

static struct service_session *start_session(void *owner, struct duplex *client, const char *name)
{
    struct server *s = owner;
    struct session *session = session_new(&s->host, client, name);

    return session == NULL ? NULL : &session->base;
}

static void turn_away(void *owner, uint64_t id, struct duplex *client, const char *name)
{
    char buffer[1024];
    struct text t;
    struct access_entry e = {.names = &access_log_serve, .conn = id, .client = name};
    struct span span;

    (void)owner;
    text_init(&t, buffer, sizeof(buffer));
    ws_handshake_refuse(503, "too many connections", &t);
    span = (struct span){(uint8_t *)t.data, t.len};
    duplex_write(client, &span, 1);
    duplex_close(client);
    access_log_refused(&e, 503, (struct cause){CAUSE_LIMIT, CAUSE_AT_PROXY, 0},
                       "too many connections");
}

static const struct service_handler handler = {
    .start = start_session,
    .turn_away = turn_away,
    .drain = session_drain,
    .abort = session_abort,
    .far_key = "backend",
};

int server_start(struct loop *l, const struct server_config *config,
                 const struct server_observer *observer, struct server **out, char *problem,
                 size_t problem_size)
{
    struct server *s = calloc(1, sizeof(*s));
    struct text t;

    if (s == NULL) {
        text_init(&t, problem, problem_size);
        text_add(&t, "out of memory");
        return -ENOMEM;
    }
    s->host.loop = l;
    s->host.config = config;
    s->host.backend_name = address_format(&config->backend, s->backend_name, ADDRESS_TEXT_MAX);
    if (observer != NULL)
        s->host.observer = *observer;
    int status = service_open(l, config->service, &handler, s, s->backend_name, &s->service,
                              problem, problem_size);
    if (status < 0) {
        free(s);
        return status;
    }
    *out = s;
    return 0;
}

struct service *server_service(const struct server *s)
{
    return s->service;
}

void server_free(struct server *s)
{
    if (s == NULL)
        return;
    service_free(s->service);
    free(s);
}
