#include "server.h"

#include "../option_find.h"
#include "../option_print.h"
#include "../options_settle.h"
#include "../service/crew.h"
#include "../service/tls_files.h"
#include "log.h"
#include "route_slots.h"
#include "site.h"
#include "worker.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

struct server {
    struct loop *loop;
    struct settings *settings; /* held: those of the start, which the service lives by */
    struct worker *workers;    /* the first in `loop`, each other one in a loop of its own */
    unsigned worker_count;     /* those that have been set up */
    struct crew *crew;         /* of the others: NULL before it is the service's, and behind it */
    struct backend_pool pool;
    struct route_slots_table route_slots;
    struct client_limits *clients;
    struct file_watch *files; /* that the site was read from */
    struct server_reading reading;
    bool is_reloading;              /* read, and not in use everywhere */
    void (*on_reloaded)(void *arg); /* or NULL */
    void *on_reloaded_arg;
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
    struct file_watch *w = file_watch_new(loop_scheduler(s->loop),
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

/* A new site is in use, soon in all workers; it is ours no more. */
static void adopt(struct server *s, struct site *site)
{
    struct timespec now;

    worker_adopt(&s->workers[0], site);
    for (unsigned i = 1; i < s->worker_count; i++)
        worker_send(&s->workers[i], site);
    site_release(site);
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

/* All but the first wait for server_listen. */
static int set_up_first(struct server *s, const struct server_observer *observer)
{
    struct session_host host = {
        .config = &s->settings->service, .clients = s->clients, .route_slots = &s->route_slots};

    if (s->workers == NULL || s->clients == NULL)
        return -ENOMEM;
    if (observer != NULL)
        host.observer = *observer;
    s->worker_count = 1;
    return worker_init(&s->workers[0], &host, s->loop, s->settings->server.max_handshakes,
                       (unsigned)s->settings->service.workers);
}

int server_new(struct loop *l, struct settings *settings, const struct server_observer *observer,
               struct server **out, struct text *problem)
{
    struct server *s = calloc(1, sizeof(*s));

    if (s == NULL) {
        text_add(problem, "out of memory");
        return -ENOMEM;
    }
    if (settings->service.workers == 0)
        settings->service.workers = 1;
    s->loop = l;
    s->settings = options_hold(settings);
    s->pool = (struct backend_pool)BACKEND_POOL_INIT;
    s->route_slots = (struct route_slots_table)ROUTE_SLOTS_TABLE_INIT;
    s->clients = client_limits_new();
    s->workers = calloc(settings->service.workers, sizeof(*s->workers));
    int status = set_up_first(s, observer);
    if (status != 0)
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

static void on_adopted(void *arg);

/* One more, in a loop of its own, which the crew frees. */
static int add_worker(struct server *s, char *problem, size_t problem_size)
{
    struct worker *first = &s->workers[0], *w = &s->workers[s->worker_count];
    struct loop *l = loop_new();
    struct text t;

    text_init(&t, problem, problem_size);
    if (l == NULL) {
        text_add(&t, "no event loop: out of memory or descriptors");
        return -ENOMEM;
    }
    s->worker_count++;
    int status = worker_init(w, &first->host, l, s->settings->server.max_handshakes,
                             (unsigned)s->settings->service.workers);
    if (status != 0)
        text_add(&t, "out of memory");
    else
        status =
            service_open_beside(first->host.service, l, w, &w->host.service, problem, problem_size);
    if (status != 0) {
        loop_free(l);
        return status;
    }
    worker_adopt(w, first->host.site);
    worker_follow(w, s->loop, on_adopted, s);
    crew_add(s->crew, l, w->host.service);
    return 0;
}

static int add_workers(struct server *s, unsigned count, char *problem, size_t problem_size)
{
    struct text t;
    int status = 0;

    text_init(&t, problem, problem_size);
    s->crew = crew_new(s->loop, count - 1);
    if (s->crew == NULL) {
        text_add(&t, "out of memory");
        return -ENOMEM;
    }
    service_lead(s->workers[0].host.service, s->crew);
    while (status == 0 && s->worker_count < count)
        status = add_worker(s, problem, problem_size);
    return status;
}

int server_listen(struct server *s, char *problem, size_t problem_size)
{
    struct worker *first = &s->workers[0];
    unsigned count = (unsigned)s->settings->service.workers;
    int status =
        service_open(s->loop, first->host.config, &worker_handler, first,
                     far_name(first->host.site), &first->host.service, problem, problem_size);

    if (status == 0 && count > 1)
        status = add_workers(s, count, problem, problem_size);
    if (status == 0)
        service_announce(first->host.service);
    return status;
}

int server_start_workers(struct server *s, char *problem, size_t problem_size)
{
    struct text t;
    int status = s->crew == NULL ? 0 : crew_start(s->crew);

    text_init(&t, problem, problem_size);
    if (status != 0)
        text_addf(&t, "--workers %u: no more threads to be had", s->worker_count);
    return status;
}

/* ---- reading again ---- */

static void note_reload(struct server *s, int status, const char *problem)
{
    struct log_record r;

    s->reading.is_good = status == 0;
    log_begin(&r, status == 0 ? LOG_INFO : LOG_ERROR, status == 0 ? "reloaded" : "not reloaded");
    log_str(&r, "config", s->settings->config_file);
    if (status == 0)
        log_num(&r, "routes", server_site(s)->route_count);
    else
        log_str(&r, "detail", problem);
    log_end(&r);
    if (s->on_reloaded != NULL)
        s->on_reloaded(s->on_reloaded_arg);
}

/* Some worker has adopted what it was sent. */
static void on_adopted(void *arg)
{
    struct server *s = arg;

    if (!s->is_reloading)
        return;
    for (unsigned i = 1; i < s->worker_count; i++)
        if (!worker_is_current(&s->workers[i]))
            return;
    s->is_reloading = false;
    note_reload(s, 0, NULL);
}

static void end_reload(struct server *s, int status, const char *problem)
{
    s->is_reloading = status == 0;
    if (status != 0)
        note_reload(s, status, problem);
    else
        on_adopted(s); /* there may be no other worker */
}

/* Some file has changed; the configuration stands. The watch, which calls this, goes on. */
static void refresh(void *arg)
{
    struct server *s = arg;
    char problem[OPTIONS_PROBLEM_MAX];
    struct site *fresh;
    struct text t;

    text_init(&t, problem, sizeof(problem));
    int status = site_new(server_site(s)->settings, &s->pool, &fresh, &t);
    if (status == 0)
        adopt(s, fresh);
    end_reload(s, status, problem);
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
    end_reload(s, status, problem);
}

void server_on_reloaded(struct server *s, void (*fn)(void *arg), void *arg)
{
    s->on_reloaded = fn;
    s->on_reloaded_arg = arg;
}

/* ---- the rest ---- */

void server_show_pages(struct server *s, const struct page_set *pages)
{
    s->workers[0].host.pages = pages;
}

struct service *server_service(const struct server *s)
{
    return s->workers[0].host.service;
}

unsigned server_worker_count(const struct server *s)
{
    return s->worker_count;
}

struct worker *server_worker(const struct server *s, unsigned index)
{
    assert(index < s->worker_count);
    return &s->workers[index];
}

const struct site *server_site(const struct server *s)
{
    return s->workers[0].host.site;
}

const struct server_reading *server_reading(const struct server *s)
{
    return &s->reading;
}

void server_free(struct server *s)
{
    if (s == NULL)
        return;
    if (s->worker_count > 0)
        service_free(s->workers[0].host.service); /* with those that follow it, and their loops */
    file_watch_free(s->files);
    for (unsigned i = 0; i < s->worker_count; i++)
        worker_clear(&s->workers[i]);
    client_limits_free(s->clients);
    options_release(s->settings);
    free(s->workers);
    free(s);
}
