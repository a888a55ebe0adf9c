#include "service.h"

#include "fd_limit.h"
#include "log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#define PROBLEM_MAX 512

static void on_signal(void *arg, int signum)
{
    struct service *service = *(struct service **)arg;

    if (service_is_draining(service))
        service_stop(service);
    else
        service_drain(service, signum == SIGTERM); /* who presses ^C is in no load balancer */
}

static int fail(const struct service_program *program, const char *problem)
{
    fprintf(stderr, "tidegate: %s: %s\n", program->subcommand, problem);
    return EX_OSERR;
}

static void log_stopped(void)
{
    struct log_record r;

    log_begin(&r, LOG_INFO, "stopped");
    log_end(&r);
}

int service_run(const struct service_program *program, void *arg, struct service_config *config)
{
    char problem[PROBLEM_MAX];
    struct service *service = NULL;
    struct loop *loop;

    if (fd_limit_prepare(&config->max_connections, problem, sizeof(problem)) < 0)
        return fail(program, problem);
    loop = loop_new();
    if (loop == NULL)
        return fail(program, "no event loop: out of memory or descriptors");
    /* Before the first record: who waits for that may signal at once. They are called by the loop
     * only. */
    if (loop_on_signal(loop, SIGTERM, on_signal, &service) < 0 ||
        loop_on_signal(loop, SIGINT, on_signal, &service) < 0) {
        loop_free(loop);
        return fail(program, "no signal handlers: out of memory or descriptors");
    }
    if (program->start(arg, loop, &service, problem, sizeof(problem)) < 0) {
        loop_free(loop);
        return fail(program, problem);
    }
    loop_run(loop);
    log_stopped();
    if (service_was_cut(service))
        exit(EX_OK); /* see service.h: the system takes it all back */
    program->end(arg);
    loop_free(loop);
    return EX_OK;
}
