#include "tunnel_link.h"

#include <stdio.h>

bool tunnel_link_is_open(const struct tunnel_link *link)
{
    return link->local == NULL;
}

/* ---- what cannot be had is told as TCP tells it: by a reset ---- */

static void link_fail(struct tunnel_link *link, const struct dialer_result *result)
{
    if (link->redial != NULL)
        redial_cancel(link->redial);
    if (link->local != NULL)
        duplex_abort(link->local, result->cause);
    link->redial = NULL;
    link->local = NULL;
    early_clear(&link->early);
    link->handler->on_failed(link, result);
}

static void link_fail_for(struct tunnel_link *link, enum dialer_failure failure, struct cause cause)
{
    struct dialer_result result = {.failure = failure, .cause = cause};

    snprintf(result.problem, sizeof(result.problem), "%s", cause_text(cause.what));
    link_fail(link, &result);
}

/* ---- open ---- */

static void on_relay_done(struct relay *r, const struct relay_report *report)
{
    struct tunnel_link *link = container_of(r, struct tunnel_link, relay);

    link->handler->on_done(link, report);
}

static const struct relay_handler relay_handler = {.on_done = on_relay_done};

/* What came early is to the relay as if it came now: the local duplex is its source already. */
static void replay(struct duplex *local, struct early *early)
{
    if (early->bytes.len > 0)
        local->events->on_data(local->owner, early->bytes);
    if (early->has_ended)
        local->events->on_end(local->owner);
    early_clear(early);
}

static void on_dialled(void *owner, const struct dialer_result *result)
{
    struct tunnel_link *link = owner;
    struct duplex *local = link->local;

    link->redial = NULL;
    if (result->failure != DIALER_OK) {
        link_fail(link, result);
        return;
    }
    link->local = NULL;
    link->carrier = result->carrier;
    link->handler->on_open(link, result);
    relay_start(&link->relay, loop_scheduler(link->loop), local, result->ws,
                &link->config->service->relay, &relay_handler);
    replay(local, &link->early);
}

/* ---- the local side, while dialling ---- */

static void on_local_data(void *owner, struct span in)
{
    struct tunnel_link *link = owner;

    if (!early_keep(&link->early, in)) {
        link_fail_for(link, DIALER_SYSTEM, (struct cause){.what = CAUSE_NO_MEMORY});
        return;
    }
    if (early_is_full(&link->early))
        duplex_pause(link->local);
}

static void on_local_end(void *owner)
{
    struct tunnel_link *link = owner;

    link->early.has_ended = true;
}

static void on_local_abort(void *owner, struct cause cause)
{
    struct tunnel_link *link = owner;

    link->local = NULL;
    cause.where = CAUSE_AT_CLIENT;
    link_fail_for(link, DIALER_GIVEN_UP, cause);
}

static void on_local_quiet(void *owner)
{
    (void)owner; /* on_drain, on_finished: nothing has been written */
}

static const struct duplex_events local_events = {
    .on_data = on_local_data,
    .on_end = on_local_end,
    .on_abort = on_local_abort,
    .on_drain = on_local_quiet,
    .on_finished = on_local_quiet,
};

/* ---- the beginning, and the end from outside ---- */

bool tunnel_link_start(struct tunnel_link *link, struct loop *l, const struct tunnel_config *config,
                       const struct tunnel_link_handler *handler, struct duplex *local)
{
    link->loop = l;
    link->config = config;
    link->handler = handler;
    link->early = (struct early){0};
    link->redial = redial_start(l, &config->dial, on_dialled, link);
    if (link->redial == NULL)
        return false;
    link->local = local;
    duplex_own(local, &local_events, link);
    duplex_resume(local);
    return true;
}

void tunnel_link_abort(struct tunnel_link *link, struct cause cause)
{
    if (tunnel_link_is_open(link))
        relay_abort(&link->relay, cause);
    else
        link_fail_for(link, DIALER_GIVEN_UP, cause);
}
