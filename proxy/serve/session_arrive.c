/* Who comes: the PROXY protocol header where there is one, then TLS where it is spoken. Both are
 * over before the request, and leave nothing in its way. */
#include "session_entry.h"
#include "session_internal.h"
#include "site.h"

#include <stdlib.h>

/* By its certificate, if it has shown one. False when out of memory. */
static bool note_identity(struct session *s)
{
    struct access_identity *identity = NULL;

    if (access_log_identify(s->opening->client, &identity) != 0)
        return false;
    if (identity == NULL)
        return true;
    if (session_notes(s) == NULL) {
        free(identity);
        return false;
    }
    s->notes->identity = identity;
    return true;
}

/* Its TLS handshake is over: now is known who it is. */
static void on_client_open(void *owner)
{
    struct session *s = owner;

    session_count_secure(s);
    if (!note_identity(s))
        session_refuse(s, 503, session_cause(CAUSE_NO_MEMORY, CAUSE_AT_PROXY), "out of memory");
}

/* To the first message of the TLS handshake. */
static void on_client_answered(void *owner)
{
    struct session *s = owner;

    openings_answered(s->host->openings, &s->opening->place);
}

bool session_secure(struct session *s, struct span early)
{
    struct tls_duplex_options options = {
        .config = s->site->tls,
        .linger_ms = s->host->config->stream.linger_ms,
        .on_open = on_client_open,
        .on_answered = on_client_answered,
        .early = early,
    };
    struct duplex *tls =
        tls_duplex_new(loop_scheduler(s->host->loop), s->opening->client, &options);

    if (tls == NULL)
        return false;
    s->opening->client = tls;
    return true;
}

/* ---- the PROXY protocol header ---- */

/* It is complete: from now on it is a client as any other, which has said `rest`. */
static void on_header(struct session *s, struct span rest)
{
    s->has_tls = site_has_tls(s->site, s->opening->at);
    duplex_pause(s->opening->client);
    if (!session_note_client(s, &s->opening->from) ||
        !session_note_unique_id(s, &s->opening->from) || (s->has_tls && !session_secure(s, rest))) {
        session_refuse(s, 503, session_cause(CAUSE_NO_MEMORY, CAUSE_AT_PROXY), "out of memory");
        return;
    }
    duplex_own(s->opening->client, &session_client_events, s);
    duplex_resume(s->opening->client);
    if (!s->has_tls && rest.len > 0)
        session_client_events.on_data(s, rest);
}

static void on_header_data(void *owner, struct span in)
{
    struct session *s = owner;
    struct cause cause = {.where = CAUSE_AT_CLIENT};
    const char *problem;

    switch (provenance_feed(&s->opening->from, s->site, &in, &cause.what, &problem)) {
    case PROXY_HEADER_MORE:
        return;
    case PROXY_HEADER_DONE:
        on_header(s, in);
        return;
    case PROXY_HEADER_FAILED:
        session_refuse(s, 0, cause, problem);
        return;
    }
}

static void on_end(void *owner)
{
    session_client_events.on_end(owner);
}

static void on_abort(void *owner, struct cause cause)
{
    session_client_events.on_abort(owner, cause);
}

static void on_quiet(void *owner)
{
    (void)owner; /* nothing waits for it */
}

const struct duplex_events session_header_events = {
    .on_data = on_header_data,
    .on_end = on_end,
    .on_abort = on_abort,
    .on_drain = on_quiet,
    .on_finished = on_quiet,
};
