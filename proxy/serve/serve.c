#include "serve.h"

#include "fd_limit.h"
#include "log.h"
#include "server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

static void on_signal(void *arg, int signum)
{
    struct server *server = *(struct server **)arg;

    (void)signum;
    if (server_is_draining(server))
        server_stop(server);
    else
        server_drain(server);
}

static int fail(const char *problem)
{
    fprintf(stderr, "tidegate: serve: %s\n", problem);
    return EX_OSERR;
}

static void log_stopped(void)
{
    struct log_record r;

    log_begin(&r, LOG_INFO, "stopped");
    log_end(&r);
}

int serve_run(struct settings *settings)
{
    char problem[OPTIONS_PROBLEM_MAX];
    struct server_config *config = &settings->server;
    struct server *server = NULL;
    struct loop *loop;

    if (fd_limit_prepare(&config->max_connections, problem, sizeof(problem)) < 0)
        return fail(problem);
    loop = loop_new();
    if (loop == NULL)
        return fail("no event loop: out of memory or descriptors");
    if (config->backend.kind == ADDRESS_UNIX)
        log_line(LOG_WARN, "the backend is a unix socket: it cannot be told of a reset, an aborted "
                           "connection looks like an ended one");
    /* Before the first record: who waits for that may signal at once. They are called by the loop
     * only. */
    if (loop_on_signal(loop, SIGTERM, on_signal, &server) < 0 ||
        loop_on_signal(loop, SIGINT, on_signal, &server) < 0) {
        loop_free(loop);
        return fail("no signal handlers: out of memory or descriptors");
    }
    if (server_start(loop, config, NULL, &server, problem, sizeof(problem)) < 0) {
        loop_free(loop);
        return fail(problem);
    }
    loop_run(loop);
    log_stopped();
    if (server_was_cut(server))
        exit(EX_OK); /* see server.h: the system takes it all back */
    server_free(server);
    loop_free(loop);
    return EX_OK;
}
