#include "tunnel.h"

#include "../service/access_log.h"
#include "../service/notify.h"
#include "../service/service.h"
#include "../service/tls_files.h"
#include "tunnel_link.h"
#include "wss.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tunnel {
    struct loop *loop;
    const struct tunnel_config *config;
    struct dialer_config *dialer; /* of `config`; its TLS is replaced when its files change */
    struct file_watch *files;     /* NULL: no TLS */
    struct service *service;
    char server_name[URL_TEXT_MAX];
};

struct session {
    struct service_session base;
    struct tunnel_link link;
    const struct tunnel *tunnel;
    char local_name[];
};

static struct session *session_of(struct tunnel_link *link)
{
    return container_of(link, struct session, link);
}

static struct access_entry entry_of(const struct session *s)
{
    return (struct access_entry){
        .names = &access_log_tunnel,
        .conn = s->base.id,
        .client = s->local_name,
        .backend = s->tunnel->server_name,
        .duration_ms = loop_now_ms(s->tunnel->loop) - s->base.started_ms,
    };
}

static void session_free(struct session *s)
{
    service_session_over(s->tunnel->service, &s->base);
    free(s);
}

static void on_open(struct tunnel_link *link, const struct dialer_result *result)
{
    struct session *s = session_of(link);

    service_session_connected(s->tunnel->service, &s->base, result->stream);
}

static void on_failed(struct tunnel_link *link, const struct dialer_result *result)
{
    struct session *s = session_of(link);
    struct access_entry e = entry_of(s);

    access_log_refused(&e, result->status, result->cause, result->problem);
    session_free(s);
}

static void on_done(struct tunnel_link *link, const struct relay_report *report)
{
    struct session *s = session_of(link);
    struct access_entry e = entry_of(s);

    access_log_closed(&e, link->carrier, report);
    session_free(s);
}

static const struct tunnel_link_handler link_handler = {on_open, on_failed, on_done};

/* ---- from the service ---- */

static struct service_session *start_session(void *owner, struct duplex *local,
                                             const struct service_arrival *arrival)
{
    const struct tunnel *tunnel = owner;
    size_t name_size = strlen(arrival->name) + 1;
    struct session *s = calloc(1, sizeof(*s) + name_size);

    if (s == NULL)
        return NULL;
    s->tunnel = tunnel;
    memcpy(s->local_name, arrival->name, name_size);
    if (!tunnel_link_start(&s->link, tunnel->loop, tunnel->config, &link_handler, local)) {
        free(s);
        return NULL;
    }
    return &s->base;
}

static void turn_away(void *owner, uint64_t id, struct duplex *local,
                      const struct service_arrival *arrival)
{
    const struct tunnel *tunnel = owner;
    struct access_entry e = {.names = &access_log_tunnel,
                             .conn = id,
                             .client = arrival->name,
                             .backend = tunnel->server_name};
    struct cause cause = {.what = CAUSE_LIMIT};

    duplex_abort(local, cause);
    access_log_refused(&e, 0, cause, cause_text(cause.what));
}

static void session_abort(struct service_session *base)
{
    struct session *s = container_of(base, struct session, base);

    tunnel_link_abort(&s->link, (struct cause){.what = CAUSE_SHUTDOWN});
}

static void session_drain(struct service_session *base)
{
    struct session *s = container_of(base, struct session, base);

    if (!tunnel_link_is_open(&s->link))
        session_abort(base);
}

static const struct service_handler handler = {
    .start = start_session,
    .turn_away = turn_away,
    .drain = session_drain,
    .abort = session_abort,
    .far_key = "server",
};

/* ---- as a program ---- */

/* Ours, and inherited ones. */
static void warn_of_unix_sockets(const struct service *service)
{
    for (unsigned i = 0; i < service_listeners(service); i++) {
        if (strstr(service_address(service, i), "unix:") == NULL)
            continue;
        log_line(LOG_WARN, "a local program on a unix socket cannot be told of a reset, an aborted "
                           "connection looks like an ended one");
        return;
    }
}

static void on_change(void *arg)
{
    struct tunnel *t = arg;
    char buffer[512] = "";
    struct text problem;

    text_init(&problem, buffer, sizeof(buffer));
    int status = wss_reload(t->dialer, &problem);
    tls_files_log_reload(status, buffer);
}

/* Without TLS there is nothing to read again; a signal that means that is still no end. */
static void on_hangup(void *arg, int signum)
{
    struct tunnel *t = arg;

    (void)signum;
    notify_reloading();
    if (t->files != NULL) {
        file_watch_note(t->files);
        on_change(t);
    }
    notify_reloaded();
}

/* Before the first record: who waits for that may signal at once. 0, or a negative errno. */
static int watch_files(struct tunnel *t, struct loop *l)
{
    int status = loop_on_signal(l, SIGHUP, on_hangup, t);

    if (status != 0 || !t->dialer->url.is_tls)
        return status;
    t->files =
        file_watch_new(loop_scheduler(l), t->config->service->reload_interval_ms, on_change, t);
    if (t->files == NULL)
        return -ENOMEM;
    return tls_files_watch_client(t->files, &t->dialer->tls_options);
}

static int start(void *arg, struct loop *l, struct service **out, char *problem,
                 size_t problem_size)
{
    struct tunnel *t = arg;

    t->loop = l;
    int status = watch_files(t, l);
    if (status != 0)
        snprintf(problem, problem_size, "files cannot be watched: %s", strerror(-status));
    else
        status = service_open(l, t->config->service, &handler, t, t->server_name, &t->service,
                              problem, problem_size);
    if (status != 0) {
        file_watch_free(t->files);
        return status;
    }
    service_announce(t->service);
    warn_of_unix_sockets(t->service);
    *out = t->service;
    return 0;
}

static void end(void *arg)
{
    struct tunnel *t = arg;

    file_watch_free(t->files);
    service_free(t->service);
}

int tunnel_run(struct settings *settings)
{
    static const struct service_program program = {"tunnel", start, end};
    struct tunnel t = {.config = &settings->tunnel, .dialer = &settings->tunnel.dial.dialer};

    url_format(&settings->tunnel.dial.dialer.url, t.server_name, sizeof(t.server_name));
    return service_run(&program, &t, &settings->service);
}
