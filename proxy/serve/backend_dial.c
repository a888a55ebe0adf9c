#include "backend_dial.h"

#include "../service/access_log.h"
#include "proxy_header.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct backend_dial {
    struct loop *loop;
    struct route *route;
    const struct stream_options *options;
    struct route_counts *counts;
    void (*on_done)(void *owner, const struct backend_dial_result *result);
    void *owner;
    struct target target; /* if the client has named one */
    struct target_check check;
    struct backend_state *state; /* that of the attempt; NULL for a target */
    const struct backend_address *where;
    struct connect *connect; /* NULL once connected */
    struct duplex *stream;   /* ... and then: under `secure` */
    struct duplex *secure;   /* shaking hands */
    struct deadline timeout; /* for that */
    uint64_t started_ms, attempt_ms, attempt_ends_ms;
    size_t tried, count;
    uint8_t order[BACKENDS_MAX];
    struct span preface; /* owned */
};

static bool begin_attempt(struct backend_dial *b);

void backend_dial_over(struct backend_state *state)
{
    if (state != NULL)
        state->connections--;
}

static void dial_free(struct backend_dial *b)
{
    deadline_clear(loop_scheduler(b->loop), &b->timeout);
    free(b->preface.data);
    free(b);
}

static void tell(struct backend_dial *b, struct backend_dial_result result)
{
    void (*on_done)(void *owner, const struct backend_dial_result *result) = b->on_done;
    void *owner = b->owner;

    result.state = b->state;
    dial_free(b);
    on_done(owner, &result);
}

static void tell_success(struct backend_dial *b, struct duplex *backend)
{
    uint64_t took_ms = loop_now_ms(b->loop) - b->attempt_ms;

    histogram_add(&b->counts->connect, &counters_scale_connect, took_ms);
    if (b->state != NULL)
        backend_state_connected(b->state);
    tell(b, (struct backend_dial_result){.backend = backend, .stream = b->stream});
}

static void log_failed(const struct backend_dial *b, struct cause cause)
{
    char detail[ACCESS_LOG_DETAIL_MAX];
    struct log_record r;

    log_begin(&r, LOG_WARN, "backend failed");
    log_str(&r, "backend", b->state->name);
    log_str(&r, "route", b->route->name);
    log_str(&r, "cause", cause_name(cause.what));
    log_str(&r, "detail", access_log_detail(cause, detail));
    log_end(&r);
}

/* This one could not be had: the next, or the end. */
static void fail(struct backend_dial *b, struct cause cause)
{
    bool is_ours = cause.what == CAUSE_NO_MEMORY;

    counter_add(&b->counts->connect_errors[cause.what], 1);
    b->connect = NULL;
    b->secure = NULL;
    b->stream = NULL;
    deadline_clear(loop_scheduler(b->loop), &b->timeout);
    if (b->state != NULL && !is_ours && backend_state_failed(b->state, loop_now_ms(b->loop)))
        log_failed(b, cause);
    if (b->state == NULL || is_ours || b->tried == b->count) {
        tell(b, (struct backend_dial_result){.cause = cause});
        return;
    }
    backend_dial_over(b->state);
    if (!begin_attempt(b))
        tell(b, (struct backend_dial_result){.cause = {.what = CAUSE_NO_MEMORY}});
}

/* ---- the TLS handshake ---- */

static void on_secure(void *owner)
{
    struct backend_dial *b = owner;

    duplex_pause(b->secure);
    tell_success(b, b->secure);
}

static void on_abort(void *owner, struct cause cause)
{
    fail(owner, cause);
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
    fail(b, cause);
}

static void secure(struct backend_dial *b)
{
    struct scheduler *s = loop_scheduler(b->loop);
    struct tls_duplex_options options = {
        .config = b->route->backend_tls,
        .host = b->where->address.host,
        .linger_ms = b->options->linger_ms,
        .keeps_lower_open = b->route->settings->backend_tls_finish == BACKEND_TLS_NOTIFY,
        .on_open = on_secure,
    };
    uint64_t now_ms = loop_now_ms(b->loop);

    b->secure = tls_duplex_new(s, b->stream, &options);
    if (b->secure == NULL) {
        struct cause cause = {.what = CAUSE_NO_MEMORY};
        duplex_abort(b->stream, cause);
        fail(b, cause);
        return;
    }
    deadline_set(s, &b->timeout, now_ms < b->attempt_ends_ms ? b->attempt_ends_ms - now_ms : 0);
    duplex_own(b->secure, &events, b);
    duplex_resume(b->secure);
}

/* ---- from here to there ---- */

/* To whoever it is: the next one, if this one fails, hears it anew. */
static void write_preface(const struct backend_dial *b)
{
    uint8_t copy[PROXY_HEADER_WRITE_MAX]; /* a write may change what it is given */

    if (b->preface.len == 0)
        return;
    memcpy(copy, b->preface.data, b->preface.len);
    duplex_write(b->stream, &(struct span){copy, b->preface.len}, 1);
}

static void on_connected(void *owner, struct duplex *stream, struct cause cause)
{
    struct backend_dial *b = owner;

    b->connect = NULL;
    b->stream = stream;
    if (stream != NULL)
        write_preface(b);
    if (stream == NULL)
        fail(b, cause);
    else if (b->where != NULL && b->where->is_tls)
        secure(b);
    else
        tell_success(b, stream);
}

/* To `where`, in this attempt's share of the time. False when out of memory. */
static bool connect_to(struct backend_dial *b, const struct address *where, size_t left)
{
    uint64_t now_ms = loop_now_ms(b->loop);
    uint64_t end_ms = b->started_ms + b->route->settings->connect_timeout_ms;
    uint64_t share_ms = end_ms > now_ms ? (end_ms - now_ms) / left : 0;

    if (share_ms == 0)
        share_ms = 1; /* 0 would be no limit */
    b->attempt_ms = now_ms;
    b->attempt_ends_ms = now_ms + share_ms;
    b->connect = connect_start(b->loop, where, share_ms, b->options, on_connected, b);
    return b->connect != NULL;
}

/* The next in order; it counts one connection more, even if this says false. */
static bool begin_attempt(struct backend_dial *b)
{
    size_t left = b->count - b->tried, index = b->order[b->tried++];

    b->state = b->route->states[index];
    b->state->connections++;
    b->where = &b->route->settings->backends.items[index];
    return connect_to(b, &b->where->address, left);
}

static bool begin_target(struct backend_dial *b, const struct target *target)
{
    b->target = *target;
    b->check = (struct target_check){b->route->targets, b->route->target_count, &b->target};
    if (!connect_to(b, &b->target.address, 1))
        return false;
    connect_filter(b->connect, target_rule_filter, &b->check);
    return true;
}

struct backend_dial *
backend_dial_start(struct loop *l, struct route *route, const struct target *target,
                   const struct stream_options *options, struct route_counts *counts,
                   void (*on_done)(void *owner, const struct backend_dial_result *result),
                   void *owner)
{
    struct backend_dial *b = calloc(1, sizeof(*b));

    assert(target != NULL || route->settings->backends.count > 0);
    if (b == NULL)
        return NULL;
    b->loop = l;
    b->route = route;
    b->options = options;
    b->counts = counts;
    b->on_done = on_done;
    b->owner = owner;
    b->started_ms = loop_now_ms(l);
    b->count = route->settings->backends.count;
    deadline_init(&b->timeout, on_timeout);
    balancer_order((enum balance)route->settings->balance, route->states, b->count, &route->turn,
                   b->started_ms, b->order);
    if (target != NULL ? begin_target(b, target) : begin_attempt(b))
        return b;
    backend_dial_over(b->state);
    free(b);
    return NULL;
}

bool backend_dial_preface(struct backend_dial *b, struct span bytes)
{
    assert(bytes.len <= PROXY_HEADER_WRITE_MAX && b->preface.data == NULL);
    if (bytes.len == 0)
        return true;
    b->preface.data = malloc(bytes.len);
    if (b->preface.data == NULL)
        return false;
    memcpy(b->preface.data, bytes.data, bytes.len);
    b->preface.len = bytes.len;
    return true;
}

void backend_dial_cancel(struct backend_dial *b)
{
    if (b->connect != NULL)
        connect_cancel(b->connect);
    if (b->secure != NULL)
        duplex_abort(b->secure, (struct cause){.what = CAUSE_CLOSED});
    backend_dial_over(b->state);
    dial_free(b);
}
