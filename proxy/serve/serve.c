#include "serve.h"

#include "../service/fd_limit.h"
#include "../service/notify.h"
#include "cores.h"
#include "log.h"
#include "server.h"
#include "site.h"
#include "status/status.h"

#include <signal.h>
#include <stdio.h>
#include <sysexits.h>

struct serve {
    struct settings *settings;
    struct server *server;
    struct status *status; /* NULL: none is asked for */
    bool is_misconfigured;
    bool is_reloading; /* because somebody has asked */
};

static void on_hangup(void *arg, int signum)
{
    struct serve *s = arg;

    (void)signum;
    s->is_reloading = true;
    notify_reloading();
    server_reload(s->server);
}

static void on_reloaded(void *arg)
{
    struct serve *s = arg;

    if (s->is_reloading) /* and not by itself */
        notify_reloaded();
    s->is_reloading = false;
}

static void warn(const char *name, const struct route_settings *r)
{
    bool has_unix = false, has_tls = false;

    for (size_t i = 0; i < r->backends.count; i++) {
        has_unix = has_unix || r->backends.items[i].address.kind == ADDRESS_UNIX;
        has_tls = has_tls || r->backends.items[i].is_tls;
    }
    if (has_unix)
        log_line(LOG_WARN,
                 "the backend is a unix socket: it cannot be told of a reset, an aborted "
                 "connection looks like an ended one (route %s)",
                 name);
    if (has_tls && r->backend_tls.is_insecure)
        log_line(LOG_WARN,
                 "--backend-insecure: the backend's certificate is not checked, anybody "
                 "in between can read and change everything (route %s)",
                 name);
}

static void warn_of_strangers(const struct settings *s)
{
    const struct listen_list *listen = &s->service.listen;
    char address[LISTEN_ADDRESS_TEXT_MAX];

    for (unsigned i = 0; i < listen->count; i++) {
        if (s->server.trusted_proxies.count > 0 || !listen->items[i].has_header ||
            site_is_local(&listen->items[i].address))
            continue;
        log_line(LOG_WARN,
                 "--listen %s: whoever reaches it may say who its client is; --trusted-proxies "
                 "names those that may",
                 listen_address_format(&listen->items[i], address, sizeof(address)));
    }
}

static int start(void *arg, struct loop *l, struct service **out, char *problem,
                 size_t problem_size)
{
    struct serve *s = arg;
    const struct server_config *config = &s->settings->server;
    struct text t;

    text_init(&t, problem, problem_size);
    if (config->route_count == 0)
        warn("default", &config->defaults);
    for (size_t i = 0; i < config->route_count; i++)
        warn(config->routes[i].name, &config->routes[i].settings);
    warn_of_strangers(s->settings);
    int status = server_new(l, s->settings, NULL, &s->server, &t);
    s->is_misconfigured = status != 0;
    if (status != 0)
        return status;
    server_on_reloaded(s->server, on_reloaded, s);
    status = loop_on_signal(l, SIGHUP, on_hangup, s); /* who sees us listen may send it */
    if (status != 0)
        text_add(&t, "no signal handler: out of memory or descriptors");
    else
        status = server_listen(s->server, problem, problem_size);
    if (status == 0 && config->status.host[0] != '\0')
        status = status_open(l, s->server, &config->status, &s->status, problem, problem_size);
    if (status == 0)
        status = server_start_workers(s->server, problem, problem_size);
    if (status != 0) {
        status_free(s->status);
        server_free(s->server);
        return status;
    }
    *out = server_service(s->server);
    return 0;
}

static void end(void *arg)
{
    struct serve *s = arg;

    status_free(s->status);
    server_free(s->server);
}

int serve_run(struct settings *settings)
{
    static const struct service_program program = {"serve", start, end};
    struct serve s = {.settings = settings};

    if (settings->server.status.host[0] != '\0')
        settings->service.also_descriptors = STATUS_DESCRIPTORS;
    if (settings->service.workers == 0)
        settings->service.workers =
            fd_limit_workers(cores_available(), settings->service.listen.count);
    int status = service_run(&program, &s, &settings->service);

    return s.is_misconfigured ? EX_CONFIG : status;
}

int serve_check(struct settings *settings)
{
    struct backend_pool pool = BACKEND_POOL_INIT;
    char problem[OPTIONS_PROBLEM_MAX];
    struct site *site;
    struct text t;

    text_init(&t, problem, sizeof(problem));
    if (site_new(settings, &pool, &site, &t) != 0) {
        fprintf(stderr, "tidegate: check: %s\n", problem);
        return EX_CONFIG;
    }
    if (settings->config_file != NULL)
        printf("%s: ", settings->config_file);
    printf("ok, %zu route%s\n", site->route_count, site->route_count == 1 ? "" : "s");
    site_release(site);
    return EX_OK;
}
