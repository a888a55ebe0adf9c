#include "mute.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool take(struct duplex *d, const struct span *spans, size_t count)
{
    struct mute *m = container_of(d, struct mute, duplex);
    for (size_t i = 0; i < count; i++)
        m->written += spans[i].len;
    return false;
}

static void ignore(struct duplex *d)
{
    (void)d;
}

static void ignore_abort(struct duplex *d, struct cause cause)
{
    (void)d;
    (void)cause;
}

static uint64_t nothing(const struct duplex *d)
{
    (void)d;
    return 0;
}

static const struct duplex_ops ops = {.write = take,
                                      .finish = ignore,
                                      .abort = ignore_abort,
                                      .pause = ignore,
                                      .resume = ignore,
                                      .close = ignore,
                                      .pending = nothing};

static void on_done(struct relay *r, const struct relay_report *report)
{
    (void)r;
    (void)report;
}

void mute_set_up(struct mute_world *w)
{
    static const struct relay_handler handler = {.on_done = on_done};
    static const struct ws_duplex_config config = {.linger_ms = 5000, .close_timeout_ms = 5000};

    memset(w, 0, sizeof(*w));
    scheduler_init(&w->scheduler, 1000);
    w->client.duplex.ops = w->backend.duplex.ops = &ops;
    struct duplex *ws = ws_duplex_new(&w->scheduler, &w->client.duplex, WS_SERVER, WS_EXTENSION,
                                      &config, (struct span){NULL, 0});
    if (ws == NULL) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    relay_start(&w->relay, &w->scheduler, ws, &w->backend.duplex, &w->limits, &handler);
    scheduler_run_tasks(&w->scheduler);
}

void mute_tell(struct mute_world *w, struct mute *from, struct span data)
{
    from->duplex.events->on_data(from->duplex.owner, data);
    if (scheduler_has_tasks(&w->scheduler))
        scheduler_run_tasks(&w->scheduler);
}

void mute_tear_down(struct mute_world *w)
{
    w->client.duplex.events->on_abort(w->client.duplex.owner, (struct cause){.what = CAUSE_RESET});
    scheduler_run_tasks(&w->scheduler);
    scheduler_advance(&w->scheduler, w->scheduler.now_ms + 10000);
    scheduler_run_tasks(&w->scheduler);
}
