#include "server.h"

#include "../service/access_log.h"
#include "../service/tls_files.h"
#include "session.h"
#include "ws_handshake.h"

#include <errno.h>
#include <stdlib.h>

struct server {
    struct session_host host;
    struct service *service;
    struct openings openings;
    struct tls_config *tls, *backend_tls; /* NULL: without */
    char backend_name[sizeof("tls://") + ADDRESS_TEXT_MAX];
};

/* To who speaks HTTP on the TLS port. */
static const char plain_answer[] =
    "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    "This port speaks TLS: use wss:// or https://\n";

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
    const struct server *s = owner;

    if (s->tls != NULL) { /* to tell it so would take a handshake */
        struct cause cause = {.what = CAUSE_LIMIT};
        duplex_abort(client, cause);
        access_log_refused(&e, 0, cause, "too many connections");
        return;
    }
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

/* Both sides, or neither. */
static int load_tls(const struct server_config *config, struct tls_config **clients,
                    struct tls_config **backend, struct text *problem)
{
    struct tls_server_options options = config->tls;
    int status = 0;

    *clients = *backend = NULL;
    options.plain_answer =
        (struct span){(uint8_t *)(uintptr_t)plain_answer, sizeof(plain_answer) - 1};
    if (options.pair_count > 0)
        status = tls_config_new_server(&options, clients, problem);
    if (status == 0 && config->defaults.backends.items[0].is_tls)
        status = tls_config_new_client(&config->defaults.backend_tls, backend, problem);
    if (status != 0)
        tls_config_free(*clients);
    return status;
}

/* For connections that come from now on. */
static void take_tls(struct server *s, struct tls_config *clients, struct tls_config *backend)
{
    tls_config_free(s->tls);
    tls_config_free(s->backend_tls);
    s->host.tls = s->tls = clients;
    s->host.backend_tls = s->backend_tls = backend;
}

static void name_backend(struct server *s, const struct backend_address *backend)
{
    char address[ADDRESS_TEXT_MAX];
    struct text t;

    text_init(&t, s->backend_name, sizeof(s->backend_name));
    text_addf(&t, "%s%s", backend->is_tls ? "tls://" : "",
              address_format(&backend->address, address, sizeof(address)));
    s->host.backend_name = s->backend_name;
}

int server_start(struct loop *l, const struct server_config *config,
                 const struct server_observer *observer, struct server **out, char *problem,
                 size_t problem_size)
{
    struct server *s = calloc(1, sizeof(*s));
    struct tls_config *clients, *backend;
    struct text t;

    text_init(&t, problem, problem_size);
    if (s == NULL) {
        text_add(&t, "out of memory");
        return -ENOMEM;
    }
    s->host.loop = l;
    s->host.config = config;
    s->host.openings = &s->openings;
    openings_init(&s->openings, config->max_handshakes);
    name_backend(s, &config->defaults.backends.items[0]);
    if (observer != NULL)
        s->host.observer = *observer;
    int status = load_tls(config, &clients, &backend, &t);
    if (status == 0) {
        take_tls(s, clients, backend);
        status = service_open(l, config->service, &handler, s, s->backend_name, &s->service,
                              problem, problem_size);
    }
    if (status < 0) {
        server_free(s);
        return status;
    }
    *out = s;
    return 0;
}

void server_reload(struct server *s)
{
    struct tls_config *clients, *backend;
    char problem[512] = "";
    struct text t;

    text_init(&t, problem, sizeof(problem));
    int status = load_tls(s->host.config, &clients, &backend, &t);
    if (status == 0)
        take_tls(s, clients, backend);
    tls_files_log_reload(status, problem);
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
    tls_config_free(s->tls);
    tls_config_free(s->backend_tls);
    free(s);
}
