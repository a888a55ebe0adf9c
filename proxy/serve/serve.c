#include "serve.h"

#include "../service/tls_files.h"
#include "log.h"
#include "server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

struct serve {
    const struct server_config *config;
    struct server *server;
    struct file_watch *files; /* NULL: no TLS */
};

static void on_change(void *arg)
{
    struct serve *s = arg;

    server_reload(s->server);
}

static void on_hangup(void *arg, int signum)
{
    struct serve *s = arg;

    (void)signum;
    file_watch_note(s->files);
    server_reload(s->server);
}

/* Before the files are read, and before the first record: who waits for that may signal at once.
 * 0, or a negative errno. */
static int watch_files(struct serve *s, struct loop *l)
{
    const struct server_config *config = s->config;
    const struct route_settings *route = &config->defaults;
    bool has_tls_backend = route->backends.items[0].is_tls;

    if (config->tls.pair_count == 0 && !has_tls_backend)
        return 0;
    s->files = file_watch_new(loop_scheduler(l), config->service->reload_interval_ms, on_change, s);
    if (s->files == NULL)
        return -ENOMEM;
    int status = tls_files_watch_server(s->files, &config->tls);
    if (status == 0 && has_tls_backend)
        status = tls_files_watch_client(s->files, &route->backend_tls);
    return status != 0 ? status : loop_on_signal(l, SIGHUP, on_hangup, s);
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
    int status = watch_files(s, l);
    if (status != 0)
        snprintf(problem, problem_size, "files cannot be watched: %s", strerror(-status));
    else
        status = server_start(l, s->config, NULL, &s->server, problem, problem_size);
    if (status != 0) {
        file_watch_free(s->files);
        return status;
    }
    *out = server_service(s->server);
    return 0;
}

static void end(void *arg)
{
    struct serve *s = arg;

    file_watch_free(s->files);
    server_free(s->server);
}

int serve_run(struct settings *settings)
{
    static const struct service_program program = {"serve", start, end};
    struct serve s = {.config = &settings->server};

    return service_run(&program, &s, &settings->service);
}
