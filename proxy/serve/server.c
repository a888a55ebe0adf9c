#include "server.h"

#include "../option_find.h"
#include "../option_print.h"
#include "../options_settle.h"
#include "../service/access_log.h"
#include "../service/tls_files.h"
#include "log.h"
#include "session_limits.h"
#include "site.h"
#include "status/counters.h"
#include "ws_handshake.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

struct server {
    struct session_host host;
    struct service *service;
    struct openings openings;
    struct settings *settings; /* held: those of the start, which the service lives by */
    struct backend_pool pool;
    struct file_watch *files; /* that the site was read from */
    struct server_reading reading;
};

static struct service_session *start_session(void *owner, struct duplex *client,
                                             const struct service_arrival *arrival)
{
    struct server *s = owner;
    struct session *session = session_new(&s->host, client, arrival);

    return session == NULL ? NULL : &session->base;
}

/* Says why if it can: on a TLS port that would take a handshake. */
static void dismiss(const struct server *s, uint64_t id, struct duplex *client,
                    const struct service_arrival *arrival, const char *problem)
{
    char buffer[1024];
    struct text t;
    struct access_entry e = {.names = &access_log_serve, .conn = id, .client = arrival->name};
    struct cause cause = {.what = CAUSE_LIMIT};
    struct span span;

    if (site_has_tls(s->host.site, arrival->at)) {
        duplex_abort(client, cause);
        access_log_refused(&e, 0, cause, problem);
        return;
    }
    text_init(&t, buffer, sizeof(buffer));
    ws_handshake_refuse(503, problem, &t);
    span = (struct span){(uint8_t *)t.data, t.len};
    duplex_write(client, &span, 1);
    duplex_close(client);
    access_log_refused(&e, 503, cause, problem);
}

static void count_dismissed(struct server *s, enum limit_kind limit)
{
    counter_add(&s->host.counters->loop.limits[limit], 1);
    counter_add(&counters_route(s->host.counters, NULL)->handshakes[CAUSE_LIMIT], 1);
}

static void turn_away(void *owner, uint64_t id, struct duplex *client,
                      const struct service_arrival *arrival)
{
    struct server *s = owner;

    count_dismissed(s, LIMIT_CONNECTIONS);
    dismiss(s, id, client, arrival, "too many connections");
}

/* Who is not known yet is judged when it is (session.c). */
static bool admit(void *owner, uint64_t id, struct duplex *client,
                  const struct service_arrival *arrival)
{
    struct server *s = owner;
    struct session_limit limit;

    if (!session_limits_know_client(&s->host, arrival) ||
        session_limits_admit(&s->host, &arrival->peer.ip, &limit))
        return true;
    count_dismissed(s, limit.kind);
    if (limit.is_told)
        dismiss(s, id, client, arrival, limit.problem);
    else
        duplex_abort(client, (struct cause){.what = CAUSE_LIMIT});
    return false;
}

static const char *form(void *owner, const struct listen_address *at)
{
    const struct server *s = owner;
    bool has_tls = site_has_tls(s->host.site, at);

    if (at->has_header)
        return has_tls ? "proxy+wss" : "proxy+ws";
    return has_tls ? "wss" : "ws";
}

static const struct service_handler handler = {
    .start = start_session,
    .turn_away = turn_away,
    .admit = admit,
    .form = form,
    .drain = session_drain,
    .abort = session_abort,
    .far_key = "backend",
};

/* ---- reading ---- */

static void refresh(void *arg);

static int watch_route(struct file_watch *w, const struct route_settings *route)
{
    bool has_tls = false;

    for (size_t i = 0; i < route->backends.count; i++)
        has_tls = has_tls || route->backends.items[i].is_tls;
    int status = file_watch_add(w, route->tokens);
    return status != 0 || !has_tls ? status : tls_files_watch_client(w, &route->backend_tls);
}

/* All files but the configuration, as they are now. NULL when out of memory. */
static struct file_watch *watch(struct server *s, const struct settings *settings)
{
    const struct server_config *server = &settings->server;
    struct file_watch *w = file_watch_new(loop_scheduler(s->host.loop),
                                          s->settings->service.reload_interval_ms, refresh, s);

    if (w == NULL)
        return NULL;
    int status = tls_files_watch_server(w, &server->tls);
    if (status == 0 && server->route_count == 0)
        status = watch_route(w, &server->defaults);
    for (size_t i = 0; i < server->route_count && status == 0; i++)
        status = watch_route(w, &server->routes[i].settings);
    if (status == 0)
        return w;
    file_watch_free(w);
    return NULL;
}

/* A new site is in use. Its routes are counted from now on, also those that nobody takes. */
static void adopt(struct server *s, struct site *site)
{
    struct timespec now;

    site_release(s->host.site);
    s->host.site = site;
    for (size_t i = 0; i < site->route_count; i++)
        counters_route(s->host.counters, site->routes[i].name);
    clock_gettime(CLOCK_REALTIME, &now);
    s->reading.good_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Makes the site of `settings` the current one: of the files as they are now. */
static int take(struct server *s, struct settings *settings, struct text *problem)
{
    struct file_watch *files = watch(s, settings); /* before they are read */
    struct site *fresh;
    int status = -ENOMEM;

    if (files == NULL)
        text_add(problem, "out of memory");
    else
        status = site_new(settings, &s->pool, &fresh, problem);
    if (status != 0) {
        file_watch_free(files);
        return status;
    }
    file_watch_free(s->files);
    s->files = files;
    adopt(s, fresh);
    return 0;
}

int server_new(struct loop *l, struct settings *settings, const struct server_observer *observer,
               struct server **out, struct text *problem)
{
    struct server *s = calloc(1, sizeof(*s));

    if (s == NULL) {
        text_add(problem, "out of memory");
        return -ENOMEM;
    }
    s->settings = options_hold(settings);
    s->host.loop = l;
    s->host.service = &s->settings->service;
    s->host.openings = &s->openings;
    openings_init(&s->openings, s->settings->server.max_handshakes);
    if (observer != NULL)
        s->host.observer = *observer;
    s->host.counters = counters_new();
    s->host.clients = client_limits_new(loop_scheduler(l));
    int status = -ENOMEM;
    if (s->host.counters == NULL || s->host.clients == NULL)
        text_add(problem, "out of memory");
    else
        status = take(s, settings, problem);
    if (status < 0) {
        server_free(s);
        return status;
    }
    s->reading.is_good = true;
    *out = s;
    return 0;
}

/* What connections go to, for the log; NULL if that is not one thing. */
static const char *far_name(const struct site *site)
{
    const struct route *only = &site->routes[0];

    return site->route_count == 1 && only->settings->backends.count == 1 ? only->states[0]->name
                                                                         : NULL;
}

int server_listen(struct server *s, char *problem, size_t problem_size)
{
    return service_open(s->host.loop, s->host.service, &handler, s, far_name(s->host.site),
                        &s->service, problem, problem_size);
}

/* ---- reading again ---- */

static void note_reload(struct server *s, int status, const char *problem)
{
    struct log_record r;

    s->reading.is_good = status == 0;
    log_begin(&r, status == 0 ? LOG_INFO : LOG_ERROR, status == 0 ? "reloaded" : "not reloaded");
    log_str(&r, "config", s->settings->config_file);
    if (status == 0)
        log_num(&r, "routes", s->host.site->route_count);
    else
        log_str(&r, "detail", problem);
    log_end(&r);
}

/* Some file has changed; the configuration stands. The watch, which calls this, goes on. */
static void refresh(void *arg)
{
    struct server *s = arg;
    char problem[OPTIONS_PROBLEM_MAX];
    struct site *fresh;
    struct text t;

    text_init(&t, problem, sizeof(problem));
    int status = site_new(s->host.site->settings, &s->pool, &fresh, &t);
    if (status == 0)
        adopt(s, fresh);
    note_reload(s, status, problem);
}

/* What cannot change while we run stays as it was at the start; says so if it is to change. */
static void keep_fixed(const struct settings *old, struct settings *fresh)
{
    struct log_record r;

    for (size_t i = 0; i < option_table_count; i++) {
        const struct option *o = &option_table[i];
        bool is_default =
            old->origins[i].source == OPTION_DEFAULT && fresh->origins[i].source == OPTION_DEFAULT;
        if (!option_is_flag(o, COMMAND_SERVE) || o->scope != OPTION_SCOPE_START || is_default ||
            option_is_same(o, old, fresh))
            continue;
        log_begin(&r, LOG_WARN, "needs a restart");
        log_str(&r, "key", o->name);
        log_str(&r, "detail", "this cannot change while the program runs: the old value stays");
        log_end(&r);
    }
    fresh->service = old->service;
    fresh->server.max_handshakes = old->server.max_handshakes;
    fresh->server.status = old->server.status;
    options_derive(fresh);
}

static int read_again(struct server *s, char problem[OPTIONS_PROBLEM_MAX])
{
    struct settings *fresh = options_new();
    struct text t;
    int status = -EINVAL;

    text_init(&t, problem, OPTIONS_PROBLEM_MAX);
    if (fresh == NULL) {
        text_add(&t, "out of memory");
        return -ENOMEM;
    }
    if (options_parse(COMMAND_SERVE, s->settings->argc, s->settings->argv, fresh, problem) ==
        OPTIONS_OK) {
        keep_fixed(s->settings, fresh);
        status = take(s, fresh, &t);
    }
    if (status == 0)
        log_setup((enum log_level)fresh->log_level, (enum log_format)fresh->log_format, 2);
    options_release(fresh);
    return status;
}

void server_reload(struct server *s)
{
    char problem[OPTIONS_PROBLEM_MAX] = "";

    file_watch_note(s->files);
    int status = read_again(s, problem);
    note_reload(s, status, problem);
}

/* ---- the rest ---- */

void server_show_pages(struct server *s, const struct page_set *pages)
{
    s->host.pages = pages;
}

struct service *server_service(const struct server *s)
{
    return s->service;
}

struct counters *server_counters(const struct server *s)
{
    return s->host.counters;
}

const struct site *server_site(const struct server *s)
{
    return s->host.site;
}

const struct server_reading *server_reading(const struct server *s)
{
    return &s->reading;
}

uint64_t server_handshaking(const struct server *s)
{
    return s->openings.fresh.count + s->openings.answered.count;
}

uint64_t server_deadlines(const struct server *s)
{
    return loop_scheduler(s->host.loop)->armed;
}

void server_free(struct server *s)
{
    if (s == NULL)
        return;
    service_free(s->service);
    file_watch_free(s->files);
    client_limits_free(s->host.clients);
    site_release(s->host.site);
    options_release(s->settings);
    counters_free(s->host.counters);
    free(s);
}
