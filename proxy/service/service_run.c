#include "service.h"

#include "fd_limit.h"
#include "inherited.h"
#include "log.h"
#include "notify.h"
#include "supervised.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#define PROBLEM_MAX 512

struct run {
    struct service *service;
    struct supervised supervised;
};

static void on_signal(void *arg, int signum)
{
    struct run *r = arg;

    if (service_is_draining(r->service))
        service_stop(r->service);
    else
        service_drain(r->service, signum == SIGTERM); /* who presses ^C is in no load balancer */
    supervised_stopping(&r->supervised);
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

/* What we were given by whoever started us; before anything of ours is opened. */
static void take_over(void)
{
    inherited_read();
    notify_open();
}

static int run(const struct service_program *program, void *arg, struct loop *loop)
{
    char problem[PROBLEM_MAX];
    struct run r = {0};

    /* Before the first record: who waits for that may signal at once. They are called by the loop
     * only. */
    if (loop_on_signal(loop, SIGTERM, on_signal, &r) < 0 ||
        loop_on_signal(loop, SIGINT, on_signal, &r) < 0) {
        loop_free(loop);
        return fail(program, "no signal handlers: out of memory or descriptors");
    }
    if (program->start(arg, loop, &r.service, problem, sizeof(problem)) < 0) {
        loop_free(loop);
        return fail(program, problem);
    }
    inherited_close_rest();
    supervised_begin(&r.supervised, r.service, loop_scheduler(loop));
    loop_run(loop);
    service_join(r.service);
    supervised_end(&r.supervised);
    log_stopped();
    if (service_was_cut(r.service))
        loop_reset_streams(loop);
    if (service_is_looking_up(r.service))
        _exit(EX_OK); /* see loop.h */
    if (service_was_cut(r.service))
        exit(EX_OK); /* the system takes it all back */
    program->end(arg);
    loop_free(loop);
    return EX_OK;
}

/* Those of further workers: their loops, and what they listen on. */
static uint64_t also_descriptors(const struct service_config *config)
{
    uint64_t others = config->workers > 1 ? config->workers - 1 : 0;

    return config->also_descriptors + others * fd_limit_of_worker(config->listen.count);
}

int service_run(const struct service_program *program, void *arg, struct service_config *config)
{
    char problem[PROBLEM_MAX];
    struct loop *loop;

    take_over();
    if (fd_limit_prepare(&config->max_connections, also_descriptors(config), problem,
                         sizeof(problem)) < 0)
        return fail(program, problem);
    loop = loop_new();
    if (loop == NULL)
        return fail(program, "no event loop: out of memory or descriptors");
    int status = run(program, arg, loop);
    notify_close();
    return status;
}
