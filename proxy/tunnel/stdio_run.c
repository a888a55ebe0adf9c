#include "stdio_run.h"

#include "../service/access_log.h"
#include "outcome.h"
#include "stdio_duplex.h"
#include "tunnel_link.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define LEAVE_MS 250 /* after a signal: for Close to go out, and the server's answer to come */

struct stdio_program {
    struct loop *loop;
    const struct tunnel_config *config;
    struct tunnel_link link;
    struct deadline leave;
    int status;
    uint64_t started_ms;
    int signum;   /* that ends it, or 0 */
    bool is_over; /* the link is */
    char url[URL_TEXT_MAX];
};

/* Others may share the open files: they are put back whichever way we exit. */
static int old_flags[2];

static void restore_flags(void)
{
    for (int fd = 0; fd < 2; fd++)
        fcntl(fd, F_SETFL, old_flags[fd]);
}

/* ---- the link ---- */

static struct stdio_program *program_of(struct tunnel_link *link)
{
    return container_of(link, struct stdio_program, link);
}

static void on_open(struct tunnel_link *link, const struct dialer_result *result)
{
    if (result->carrier == WS_PLAIN)
        log_line(LOG_WARN, "the server does not speak half-close: what it sends after the end of "
                           "input may be lost");
    (void)link;
}

static void over(struct stdio_program *p, struct outcome outcome)
{
    p->status = outcome.status;
    p->is_over = true;
    /* At once: what is still under way may take the linger time. */
    if (p->signum == 0)
        outcome_print(&outcome, "stdio", p->url);
}

static void on_failed(struct tunnel_link *link, const struct dialer_result *result)
{
    struct outcome outcome = outcome_of_dial(result);

    if (result->failure == DIALER_GIVEN_UP)
        outcome = outcome_of_cause(result->cause);
    over(program_of(link), outcome);
}

static void on_done(struct tunnel_link *link, const struct relay_report *report)
{
    struct stdio_program *p = program_of(link);
    struct access_entry e = {
        .names = &access_log_tunnel,
        .conn = 1,
        .client = "stdio",
        .backend = p->url,
        .duration_ms = loop_now_ms(p->loop) - p->started_ms,
    };

    access_log_closed(&e, link->carrier, report);
    over(p, outcome_of_cause(report->cause));
}

static const struct tunnel_link_handler handler = {on_open, on_failed, on_done};

/* ---- signals ---- */

static void on_leave(struct deadline *d)
{
    loop_stop(container_of(d, struct stdio_program, leave)->loop);
}

/* The server hears of it, if that goes fast. A second signal does not wait. */
static void on_signal(void *arg, int signum)
{
    struct stdio_program *p = arg;

    if (p->signum != 0) {
        loop_stop(p->loop);
        return;
    }
    p->signum = signum;
    deadline_set(loop_scheduler(p->loop), &p->leave, LEAVE_MS);
    if (!p->is_over)
        tunnel_link_abort(&p->link, (struct cause){.what = CAUSE_CLOSED});
}

/* ---- the program ---- */

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "tidegate: stdio: %s%s\n", what, why);
    return EX_OSERR;
}

/* As nohup has it, or a shell for what runs in the background. */
static bool is_ignored(int signum)
{
    struct sigaction action;

    return sigaction(signum, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

/* 0, or a negative errno. */
static int watch_signals(struct stdio_program *p)
{
    static const int signals[] = {SIGHUP, SIGINT, SIGTERM};
    int status = 0;

    for (size_t i = 0; i < array_count(signals) && status == 0; i++)
        if (!is_ignored(signals[i]))
            status = loop_on_signal(p->loop, signals[i], on_signal, p);
    return status;
}

int stdio_run(struct settings *settings)
{
    struct stdio_program p = {.config = &settings->tunnel};
    struct duplex *local;
    int status;

    for (int fd = 0; fd < 2; fd++) {
        old_flags[fd] = fcntl(fd, F_GETFL);
        if (old_flags[fd] < 0)
            return fail(fd == 0 ? "standard input" : "standard output", " is not open");
    }
    url_format(&p.config->dial.dialer.url, p.url, sizeof(p.url));
    deadline_init(&p.leave, on_leave);
    p.loop = loop_new();
    if (p.loop == NULL || watch_signals(&p) != 0)
        return fail("no event loop: ", "out of memory or descriptors");
    p.started_ms = loop_now_ms(p.loop);
    atexit(restore_flags);
    status =
        stdio_duplex_open(p.loop, STDIN_FILENO, STDOUT_FILENO, &settings->service.stream, &local);
    if (status != 0)
        return fail("standard input and output: ", strerror(-status));
    if (!tunnel_link_start(&p.link, p.loop, p.config, &handler, local))
        return fail("out of memory", "");
    loop_run(p.loop);
    if (p.signum != 0)
        exit(128 + p.signum); /* what is still under way is the system's to end */
    loop_free(p.loop);
    return p.status;
}
