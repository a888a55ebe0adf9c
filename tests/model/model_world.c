#include "model_world.h"

#include "memory_pipe.h"
#include "model_app.h"
#include "model_tls.h"
#include "relay.h"
#include "tls_duplex.h"
#include "ws_duplex.h"

#include <stdlib.h>
#include <string.h>

struct world {
    struct world_options options;
    struct scheduler scheduler;
    struct memory_pipe pipe[3];
    int pipe_count;
    struct model_app a, b;
    struct relay relay[2];
    int relay_count;
    int done[2];
    struct relay_report report[2];
    bool has_broken;
};

static const struct relay_limits no_limits = {0};
/* No pings: here the network may stand still for any time, and nobody is to blame. */
static const struct ws_duplex_config ws_config = {.linger_ms = 5000, .close_timeout_ms = 5000};

static struct world *current;

static void on_done(struct relay *r, const struct relay_report *report)
{
    int i = (int)(r - current->relay);
    current->done[i]++;
    current->report[i] = *report;
}

/* One end of a pipe, as who owns it sees it: the end to the left is TLS's client. */
static struct duplex *with_tls(struct world *w, int pipe, int end)
{
    struct duplex *lower = &w->pipe[pipe].end[end].duplex;
    if (w->options.tls == NULL)
        return lower;
    struct tls_duplex_options options = {
        .config = w->options.tls[end == 0 ? MODEL_TLS_CLIENT : MODEL_TLS_SERVER],
        .host = MODEL_TLS_HOST,
        .linger_ms = 5000};
    struct duplex *d = tls_duplex_new(&w->scheduler, lower, &options);
    if (d == NULL)
        abort();
    return d;
}

static const struct relay_handler handler = {.on_done = on_done};

static void world_init(struct world *w, const struct world_options *options)
{
    memset(w, 0, sizeof *w);
    current = w;
    w->options = *options;
    scheduler_init(&w->scheduler, 1000);
    w->pipe_count = options->kind == WORLD_RELAY ? 2 : 3;
    w->relay_count = w->pipe_count - 1;
    for (int i = 0; i < w->pipe_count; i++)
        memory_pipe_init(&w->pipe[i], options->capacity);
    int last = w->pipe_count - 1;
    struct duplex *left = &w->pipe[0].end[1].duplex;
    struct duplex *right = with_tls(w, last, 0);
    if (options->kind == WORLD_RELAY) {
        relay_start(&w->relay[0], &w->scheduler, left, right, &no_limits, &handler);
    } else {
        struct span none = {NULL, 0};
        struct duplex *client = ws_duplex_new(&w->scheduler, with_tls(w, 1, 0), WS_CLIENT,
                                              options->carrier, &ws_config, none);
        struct duplex *server = ws_duplex_new(&w->scheduler, with_tls(w, 1, 1), WS_SERVER,
                                              options->carrier, &ws_config, none);
        if (client == NULL || server == NULL)
            abort();
        if (options->window > 0) {
            ws_duplex_begin_with_windows(client, 0, options->window);
            ws_duplex_begin_with_windows(server, options->window, options->window);
        }
        relay_start(&w->relay[0], &w->scheduler, left, client, &no_limits, &handler);
        relay_start(&w->relay[1], &w->scheduler, server, right, &no_limits, &handler);
    }
    model_app_init(&w->a, &w->pipe[0].end[0].duplex, 7, 99);
    model_app_init(&w->b, with_tls(w, last, 1), 99, 7);
}

static void world_step_all(struct world *w, int direction)
{
    for (int i = 0; i < w->pipe_count; i++)
        memory_pipe_step(&w->pipe[direction == 0 ? i : w->pipe_count - 1 - i], direction, SIZE_MAX);
}

static void world_do(struct world *w, uint8_t byte)
{
    size_t amount = byte >> 4;
    switch (byte & 15) {
    case WORLD_A_SEND:
        model_app_send(&w->a, 1 + amount * 50);
        break;
    case WORLD_B_SEND:
        model_app_send(&w->b, 1 + amount * 50);
        break;
    case WORLD_A_END:
        model_app_end(&w->a);
        break;
    case WORLD_B_END:
        model_app_end(&w->b);
        break;
    case WORLD_A_ABORT:
        model_app_abort(&w->a);
        break;
    case WORLD_B_ABORT:
        model_app_abort(&w->b);
        break;
    case WORLD_A_PAUSE:
        model_app_pause(&w->a);
        break;
    case WORLD_B_PAUSE:
        model_app_pause(&w->b);
        break;
    case WORLD_STEP_UP:
        world_step_all(w, 0);
        break;
    case WORLD_STEP_DOWN:
        world_step_all(w, 1);
        break;
    case WORLD_WAIT:
        scheduler_advance(&w->scheduler, w->scheduler.now_ms + 50 + amount * amount * 100);
        break;
    case WORLD_BREAK:
        w->has_broken = true;
        memory_pipe_break(&w->pipe[1], amount % 2 ? CAUSE_RESET : CAUSE_TCP_TIMEOUT);
        break;
    case WORLD_STEP_ONE:
    default:
        memory_pipe_step(&w->pipe[(amount >> 1) % (size_t)w->pipe_count], amount & 1, 1 + amount);
        break;
    }
    scheduler_run_tasks(&w->scheduler);
    model_app_close_if_complete(&w->a);
    model_app_close_if_complete(&w->b);
    scheduler_run_tasks(&w->scheduler);
}

/* Everybody reads, the network works, and enough time passes for every wait that has a bound. */
static void world_settle(struct world *w)
{
    if (w->a.is_paused)
        model_app_pause(&w->a);
    if (w->b.is_paused)
        model_app_pause(&w->b);
    for (int round = 0; round < 40; round++) {
        for (int i = 0; i < 60; i++) {
            world_do(w, WORLD_STEP_UP);
            world_do(w, WORLD_STEP_DOWN);
        }
        scheduler_advance(&w->scheduler, w->scheduler.now_ms + 1000);
        world_do(w, WORLD_STEP_UP);
    }
}

/* ---- properties ---- */

static const char *check_stream(const struct model_app *from, const struct model_app *to)
{
    if (to->received > from->sent)
        return "more arrived than was sent";
    if (to->has_seen_end && !from->has_ended)
        return "an end that nobody sent";
    if (to->has_seen_end && to->received != from->sent)
        return "an end before all bytes";
    return NULL;
}

static const char *check_safety(const struct world *w)
{
    if (w->a.has_seen_wrong || w->b.has_seen_wrong)
        return "wrong bytes, or something behind an end or a break";
    const char *problem = check_stream(&w->a, &w->b);
    if (problem == NULL)
        problem = check_stream(&w->b, &w->a);
    return problem;
}

static const char *check_undisturbed(const struct world *w)
{
    if (w->a.has_seen_break || w->b.has_seen_break)
        return "a break that nobody caused";
    if (w->b.received != w->a.sent || w->a.received != w->b.sent)
        return "bytes did not arrive";
    if (w->b.has_seen_end != w->a.has_ended || w->a.has_seen_end != w->b.has_ended)
        return "an end did not arrive";
    for (int i = 0; i < w->relay_count; i++) {
        bool is_over = w->a.has_ended && w->b.has_ended;
        if (w->done[i] != (is_over ? 1 : 0))
            return "not done exactly once";
        if (is_over && w->report[i].cause.what != CAUSE_OK)
            return "complete, but not reported as such";
        if (is_over && (w->report[i].bytes[0] != w->a.sent || w->report[i].bytes[1] != w->b.sent))
            return "bytes miscounted";
    }
    return NULL;
}

/* Somebody broke it: everybody who had not finished with it knows. */
static const char *check_disturbed(const struct world *w)
{
    if (model_app_is_live(&w->a) || model_app_is_live(&w->b))
        return "a break did not arrive";
    for (int i = 0; i < w->relay_count; i++)
        if (w->done[i] != 1)
            return "not done exactly once";
    return NULL;
}

static const char *check_released(const struct world *w)
{
    for (int i = 0; i < w->relay_count; i++) {
        if (w->done[i] == 0)
            continue;
        const struct memory_end *ends[2] = {&w->pipe[i].end[1], &w->pipe[i + 1].end[0]};
        for (int k = 0; k < 2; k++)
            if (!memory_end_is_released(ends[k]))
                return "done, but a duplex is not released";
    }
    return NULL;
}

static void run_all_tasks(struct world *w)
{
    while (scheduler_has_tasks(&w->scheduler))
        scheduler_run_tasks(&w->scheduler);
}

static void world_end(struct world *w)
{
    for (int i = 0; i < w->pipe_count; i++)
        memory_pipe_break(&w->pipe[i], CAUSE_LOST);
    run_all_tasks(w);
    scheduler_advance(&w->scheduler, w->scheduler.now_ms + 100000);
    run_all_tasks(w);
    for (int i = 0; i < w->pipe_count; i++)
        memory_pipe_clear(&w->pipe[i]);
}

const char *world_run(const struct world_options *options, const uint8_t *schedule, size_t len)
{
    struct world w;
    world_init(&w, options);
    if (options->on_ready != NULL)
        options->on_ready();
    const char *problem = NULL;
    for (size_t i = 0; i < len && problem == NULL; i++) {
        world_do(&w, schedule[i]);
        problem = check_safety(&w);
    }
    if (problem == NULL) {
        world_settle(&w);
        problem = check_safety(&w);
    }
    bool is_disturbed = w.a.has_aborted || w.b.has_aborted || w.has_broken;
    if (problem == NULL && options->on_ready == NULL)
        problem = is_disturbed ? check_disturbed(&w) : check_undisturbed(&w);
    if (problem == NULL)
        problem = check_released(&w);
    world_end(&w);
    for (int i = 0; i < w.relay_count && problem == NULL; i++)
        if (w.done[i] != 1)
            problem = "not done when everything was lost";
    uint64_t at_ms;
    if (problem == NULL && scheduler_next(&w.scheduler, &at_ms))
        problem = "a deadline is left over";
    return problem;
}
