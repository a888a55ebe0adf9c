#include "probe.h"

#include "outcome.h"

#include <errno.h>
#include <stdio.h>
#include <sysexits.h>

#define PATIENCE_MS 1000 /* for the backend to answer our end with its own */

/* The server has connected its backend before it says 101, so what is probed reaches that far. The
 * way out is that of a TCP health check which connects and closes: our end first. A backend that
 * ends, too, sees a clean connection without a byte. One that goes on is not waited for: Close
 * 4000, which is a reset to it. */
struct probe {
    struct loop *loop;
    const struct dialer_config *config;
    struct duplex *ws; /* NULL before, and after */
    struct deadline patience;
    struct outcome outcome;
    uint64_t started_ms, opened_ms;
    enum ws_carrier carrier;
    bool has_ended, is_finished;
};

static void probe_over(struct probe *p)
{
    p->ws = NULL;
    deadline_clear(loop_scheduler(p->loop), &p->patience);
}

static void close_if_complete(struct probe *p)
{
    if (!p->has_ended || !p->is_finished)
        return;
    duplex_close(p->ws);
    probe_over(p);
}

static void on_data(void *owner, struct span data)
{
    (void)owner; /* a greeting, for nobody */
    (void)data;
}

static void on_end(void *owner)
{
    struct probe *p = owner;

    p->has_ended = true;
    close_if_complete(p);
}

static void on_finished(void *owner)
{
    struct probe *p = owner;

    p->is_finished = true;
    close_if_complete(p);
}

static void on_drain(void *owner)
{
    (void)owner; /* nothing is written */
}

/* That a backend resets a connection which ends without a word is its own affair. */
static void on_abort(void *owner, struct cause cause)
{
    struct probe *p = owner;

    cause.where = CAUSE_AT_BACKEND;
    if (cause.what != CAUSE_CLOSED || cause.native != 4000)
        p->outcome = outcome_of_cause(cause);
    probe_over(p);
}

static const struct duplex_events events = {on_data, on_end, on_abort, on_drain, on_finished};

static void on_patience_over(struct deadline *d)
{
    struct probe *p = container_of(d, struct probe, patience);

    duplex_abort(p->ws, (struct cause){.what = CAUSE_CLOSED});
    probe_over(p);
}

static void on_dialled(void *owner, const struct dialer_result *result)
{
    struct probe *p = owner;

    p->outcome = outcome_of_dial(result);
    p->opened_ms = loop_now_ms(p->loop);
    if (result->ws == NULL)
        return;
    p->carrier = result->carrier;
    p->ws = result->ws;
    duplex_own(p->ws, &events, p);
    duplex_resume(p->ws);
    duplex_finish(p->ws);
    deadline_set(loop_scheduler(p->loop), &p->patience, PATIENCE_MS);
}

static const char *describe(enum ws_carrier carrier)
{
    switch (carrier) {
    case WS_EXTENSION:
        return "extension tidegate-half-close";
    case WS_SUBPROTOCOL:
        return "subprotocol v1.tidegate";
    case WS_PLAIN:
        break;
    }
    return "plain";
}

int probe_run(struct settings *settings)
{
    struct probe p = {.config = &settings->tunnel.dial.dialer};
    char url[URL_TEXT_MAX];

    url_format(&p.config->url, url, sizeof(url));
    deadline_init(&p.patience, on_patience_over);
    p.loop = loop_new();
    if (p.loop != NULL)
        p.started_ms = loop_now_ms(p.loop);
    if (p.loop == NULL || redial_start(p.loop, &settings->tunnel.dial, on_dialled, &p) == NULL) {
        fprintf(stderr, "tidegate: probe: out of memory or descriptors\n");
        loop_free(p.loop);
        return EX_OSERR;
    }
    loop_run(p.loop);
    loop_free(p.loop);
    outcome_print(&p.outcome, "probe", url);
    if (p.outcome.status == EX_OK)
        printf("ok %s %s %llu ms\n", url, describe(p.carrier),
               (unsigned long long)(p.opened_ms - p.started_ms));
    return p.outcome.status;
}
