#include "serve.h"

#include "log.h"
#include "server.h"

#include <signal.h>

struct serve {
    const struct server_config *config;
    struct server *server;
};

static void on_hangup(void *arg, int signum)
{
    struct serve *s = arg;

    (void)signum;
    server_reload(s->server);
}

static int start(void *arg, struct loop *l, struct service **out, char *problem,
                 size_t problem_size)
{
    struct serve *s = arg;
    const struct route_settings *route = &s->config->defaults;

    if (route->backends.items[0].address.kind == ADDRESS_UNIX)
        log_line(LOG_WARN, "the backend is a unix socket: it cannot be told of a reset, an aborted "
                           "connection looks like an ended one");
    if (route->backends.items[0].is_tls && route->backend_tls.is_insecure)
        log_line(LOG_WARN, "--backend-insecure: the backend's certificate is not checked, anybody "
                           "in between can read and change everything");
    int status = server_start(l, s->config, NULL, &s->server, problem, problem_size);
    if (status == 0 && s->config->tls.pair_count > 0)
        status = loop_on_signal(l, SIGHUP, on_hangup, s);
    if (status == 0)
        *out = server_service(s->server);
    return status;
}

static void end(void *arg)
{
    struct serve *s = arg;

    server_free(s->server);
}

int serve_run(struct settings *settings)
{
    static const struct service_program program = {"serve", start, end};
    struct serve s = {.config = &settings->server};

    return service_run(&program, &s, &settings->service);
}
