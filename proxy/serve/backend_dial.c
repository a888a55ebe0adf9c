#include "backend_dial.h"

#include <stdlib.h>

struct backend_dial {
    struct loop *loop;
    const struct server_config *config;
    struct tls_config *tls;
    void (*on_done)(void *owner, const struct backend_dial_result *result);
    void *owner;
    struct connect *connect; /* NULL once connected */
    struct duplex *stream;   /* ... and then: under `secure` */
    struct duplex *secure;   /* shaking hands */
    struct deadline timeout; /* for that */
    uint64_t started_ms;
};

static void dial_free(struct backend_dial *b)
{
    deadline_clear(loop_scheduler(b->loop), &b->timeout);
    free(b);
}

static void tell(struct backend_dial *b, const struct backend_dial_result *result)
{
    void (*on_done)(void *owner, const struct backend_dial_result *result) = b->on_done;
    void *owner = b->owner;

    dial_free(b);
    on_done(owner, result);
}

static void tell_failure(struct backend_dial *b, struct cause cause)
{
    struct backend_dial_result result = {.cause = cause};

    tell(b, &result);
}

/* ---- the TLS handshake ---- */

static void on_secure(void *owner)
{
    struct backend_dial *b = owner;
    struct backend_dial_result result = {.backend = b->secure, .stream = b->stream};

    duplex_pause(b->secure);
    tell(b, &result);
}

static void on_abort(void *owner, struct cause cause)
{
    tell_failure(owner, cause);
}

static void on_data(void *owner, struct span data)
{
    (void)owner; /* not before on_secure, which pauses */
    (void)data;
}

static void on_quiet(void *owner)
{
    (void)owner;
}

static const struct duplex_events events = {on_data, on_quiet, on_abort, on_quiet, on_quiet};

static void on_timeout(struct deadline *d)
{
    struct backend_dial *b = container_of(d, struct backend_dial, timeout);
    struct cause cause = {.what = CAUSE_CONNECT_TIMEOUT};

    duplex_abort(b->secure, cause);
    tell_failure(b, cause);
}

static void secure(struct backend_dial *b)
{
    const struct service_config *service = b->config->service;
    struct scheduler *s = loop_scheduler(b->loop);
    struct tls_duplex_options options = {
        .config = b->tls,
        .host = b->config->defaults.backends.items[0].address.host,
        .linger_ms = service->stream.linger_ms,
        .keeps_lower_open = b->config->defaults.backend_tls_finish == BACKEND_TLS_NOTIFY,
        .on_open = on_secure,
    };
    uint64_t timeout_ms = b->config->defaults.connect_timeout_ms;
    uint64_t used_ms = loop_now_ms(b->loop) - b->started_ms;

    b->secure = tls_duplex_new(s, b->stream, &options);
    if (b->secure == NULL) {
        struct cause cause = {.what = CAUSE_NO_MEMORY};
        duplex_abort(b->stream, cause);
        tell_failure(b, cause);
        return;
    }
    deadline_set(s, &b->timeout, used_ms < timeout_ms ? timeout_ms - used_ms : 0);
    duplex_own(b->secure, &events, b);
    duplex_resume(b->secure);
}

/* ---- from here to there ---- */

static void on_connected(void *owner, struct duplex *stream, struct cause cause)
{
    struct backend_dial *b = owner;
    struct backend_dial_result result = {.backend = stream, .stream = stream, .cause = cause};

    b->connect = NULL;
    b->stream = stream;
    if (stream != NULL && b->tls != NULL)
        secure(b);
    else
        tell(b, &result);
}

struct backend_dial *
backend_dial_start(struct loop *l, const struct server_config *config, struct tls_config *tls,
                   void (*on_done)(void *owner, const struct backend_dial_result *result),
                   void *owner)
{
    struct backend_dial *b = calloc(1, sizeof(*b));

    if (b == NULL)
        return NULL;
    b->loop = l;
    b->config = config;
    b->tls = tls;
    b->on_done = on_done;
    b->owner = owner;
    b->started_ms = loop_now_ms(l);
    deadline_init(&b->timeout, on_timeout);
    b->connect = connect_start(l, &config->defaults.backends.items[0].address,
                               config->defaults.connect_timeout_ms, &config->service->stream,
                               on_connected, b);
    if (b->connect == NULL) {
        free(b);
        return NULL;
    }
    return b;
}

void backend_dial_cancel(struct backend_dial *b)
{
    if (b->connect != NULL)
        connect_cancel(b->connect);
    if (b->secure != NULL)
        duplex_abort(b->secure, (struct cause){.what = CAUSE_CLOSED});
    dial_free(b);
}
