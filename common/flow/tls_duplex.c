#include "tls_duplex.h"

#include "tls_duplex_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CONFIRM_POLL_MS     5
#define CONFIRM_POLL_MAX_MS 1000

static struct tls_duplex *from_duplex(struct duplex *d)
{
    return container_of(d, struct tls_duplex, duplex);
}

static bool has_owner(const struct tls_duplex *t)
{
    return t->state != TLS_DEAD;
}

/* ---- what mbedTLS reads and writes ---- */

static int bio_send(void *context, const unsigned char *data, size_t len)
{
    struct tls_duplex *t = context;

    t->has_sent = true;
    tls_seal_record(context, data, len);
    return (int)len;
}

static int bio_receive(void *context, unsigned char *out, size_t len)
{
    struct tls_duplex *t = context;
    struct span from;
    bool is_held = queue_peek(&t->held, &from, 1) > 0;

    if (!is_held)
        from = t->incoming;
    if (from.len == 0)
        return MBEDTLS_ERR_SSL_WANT_READ;
    if (len > from.len)
        len = from.len;
    memcpy(out, from.data, len);
    if (is_held) {
        queue_drop(&t->held, len);
    } else {
        t->incoming.data += len;
        t->incoming.len -= len;
    }
    return (int)len;
}

/* ---- the end of it ---- */

/* The lower is gone already. */
static void die(struct tls_duplex *t)
{
    assert(t->lower == NULL);
    t->state = TLS_DEAD;
    t->incoming.len = 0;
    deadline_clear(t->scheduler, &t->patience);
    deadline_clear(t->scheduler, &t->confirm);
    task_cancel(t->scheduler, &t->shake);
    task_defer(t->scheduler, &t->pump);
}

static void tls_free(struct tls_duplex *t)
{
    mbedtls_ssl_free(&t->ssl);
    tls_config_free(t->options.config);
    queue_clear(&t->held);
    queue_clear(&t->waiting);
    free(t->early.data);
    free(t);
}

void tls_duplex_break(struct tls_duplex *t, struct cause cause)
{
    bool was_open = t->state == TLS_OPEN;
    struct duplex *lower = t->lower;

    t->lower = NULL;
    die(t);
    if (lower != NULL && was_open)
        duplex_abort(lower, cause);
    else if (lower != NULL)
        duplex_close(lower);
    t->duplex.events->on_abort(t->duplex.owner, cause);
}

void tls_duplex_fail(struct tls_duplex *t, enum cause_what what, int native)
{
    if (t->has_failed)
        return;
    t->has_failed = true;
    t->dry = (struct cause){.what = what, .native = native};
    task_defer(t->scheduler, &t->pump);
}

static void fire_patience(struct deadline *d)
{
    struct tls_duplex *t = container_of(d, struct tls_duplex, patience);
    tls_duplex_break(t, t->dry);
}

/* ---- our side ---- */

static void fire_confirm(struct deadline *d)
{
    struct tls_duplex *t = container_of(d, struct tls_duplex, confirm);

    if (t->lower == NULL)
        return;
    if (duplex_pending(t->lower) == 0) {
        t->duplex.events->on_finished(t->duplex.owner);
        return;
    }
    deadline_set(t->scheduler, d, t->confirm_poll_ms);
    if (t->confirm_poll_ms < CONFIRM_POLL_MAX_MS)
        t->confirm_poll_ms *= 2;
}

void tls_duplex_end_our_side(struct tls_duplex *t)
{
    if (t->lower != NULL && !t->options.keeps_lower_open)
        duplex_cork(t->lower);
    tls_seal_close_notify(t);
    if (t->has_failed || t->lower == NULL)
        return;
    if (!t->options.keeps_lower_open) {
        duplex_finish(t->lower);
        return;
    }
    t->confirm_poll_ms = CONFIRM_POLL_MS;
    deadline_set(t->scheduler, &t->confirm, 0);
}

void tls_duplex_tell_drain(struct tls_duplex *t)
{
    if (t->state != TLS_OPEN || !t->is_full_told || t->is_lower_full || t->has_failed)
        return;
    t->is_full_told = false;
    t->duplex.events->on_drain(t->duplex.owner);
}

/* ---- the peer's side ---- */

/* TLS 1.3: tickets come in mid-stream, and are of no use here. */
static bool is_ticket(int r)
{
#ifdef MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET
    return r == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET;
#else
    (void)r;
    return false;
#endif
}

/* Decrypts what is there, as far as there is room. What mbedTLS said last. 0 from it is an empty
 * record behind another one (2.28), not the end: our bio_receive never says that. */
static int decrypt(struct tls_duplex *t, size_t *len)
{
    uint8_t *plain = tls_scratch->plain;
    size_t room = sizeof(tls_scratch->plain);
    int r;

    *len = 0;
    do {
        r = mbedtls_ssl_read(&t->ssl, plain + *len, room - *len);
        if (r > 0)
            *len += (size_t)r;
    } while ((r >= 0 && *len < room) || is_ticket(r));
    return r;
}

static void tell_verdict(struct tls_duplex *t)
{
    queue_clear(&t->held);
    t->incoming.len = 0;
    if (t->verdict != MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) {
        tls_duplex_break(t, t->dry);
        return;
    }
    if (!t->has_told_end) {
        t->has_told_end = true;
        t->duplex.events->on_end(t->duplex.owner);
    }
    if (has_owner(t) && t->lower == NULL)
        tls_duplex_break(t, t->dry);
}

/* mbedTLS had nothing more to give: for now, or for good. */
static void take_verdict(struct tls_duplex *t, int r)
{
    if (r == MBEDTLS_ERR_SSL_WANT_READ && !t->is_lower_over)
        return;
    t->verdict = r;
    if (r != MBEDTLS_ERR_SSL_WANT_READ && r != MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
        t->dry = (struct cause){.what = CAUSE_TLS, .native = t->verdict};
}

static void read_on(struct tls_duplex *t)
{
    while (t->state == TLS_OPEN && !t->is_paused && !t->has_failed && t->verdict == 0) {
        size_t len;
        int r = decrypt(t, &len);
        if (r < 0)
            take_verdict(t, r);
        if (len > 0)
            t->duplex.events->on_data(t->duplex.owner, (struct span){tls_scratch->plain, len});
        if (r == MBEDTLS_ERR_SSL_WANT_READ)
            break;
    }
    if (t->state == TLS_OPEN && !t->is_paused && !t->has_failed && t->verdict != 0)
        tell_verdict(t);
}

static void update_reading(struct tls_duplex *t)
{
    if (t->lower == NULL)
        return;
    bool wanted =
        t->state == TLS_SHAKING ? t->is_started && !task_is_queued(&t->shake) : !t->is_paused;
    if (wanted == !t->is_lower_paused)
        return;
    t->is_lower_paused = !wanted;
    if (wanted)
        duplex_resume(t->lower);
    else
        duplex_pause(t->lower);
}

/* Tells what has come, as far as the owner takes it. */
static void go_on(struct tls_duplex *t)
{
    read_on(t);
    if (!has_owner(t))
        return;
    if (t->incoming.len > 0 && queue_push(&t->held, t->incoming) != 0)
        tls_duplex_fail(t, CAUSE_NO_MEMORY, 0);
    t->incoming.len = 0;
    bool is_broken =
        t->lower == NULL || (t->verdict != 0 && t->verdict != MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY);
    if (is_broken && !deadline_is_set(&t->patience))
        deadline_set(t->scheduler, &t->patience, t->options.linger_ms);
    update_reading(t);
}

static void run_shake(struct task *task)
{
    struct tls_duplex *t = container_of(task, struct tls_duplex, shake);

    if (t->has_failed)
        return; /* the pump tells it */
    tls_shake(t);
    go_on(t); /* with what came behind the handshake */
}

static void lower_on_data(void *owner, struct span data);

static void take_early(struct tls_duplex *t)
{
    struct span early = t->early;

    t->early = (struct span){0};
    if (early.len > 0)
        lower_on_data(t, early);
    free(early.data);
}

static void run_pump(struct task *task)
{
    struct tls_duplex *t = container_of(task, struct tls_duplex, pump);

    if (t->state == TLS_DEAD) {
        tls_free(t);
        return;
    }
    if (!t->has_failed && t->is_started)
        take_early(t);
    if (!has_owner(t))
        return;
    if (t->has_failed)
        tls_duplex_break(t, t->dry);
    else if (t->is_started)
        go_on(t);
}

/* ---- events of the lower duplex ---- */

static void hold(struct tls_duplex *t, struct span data)
{
    if (queue_push(&t->held, data) != 0)
        tls_duplex_fail(t, CAUSE_NO_MEMORY, 0);
}

static void lower_on_data(void *owner, struct span data)
{
    struct tls_duplex *t = owner;

    if (t->has_failed || t->verdict != 0)
        return;
    if (tls_shake_is_plain_http(t, data)) {
        tls_shake_answer_plain_http(t);
        return;
    }
    t->has_heard = true;
    if (t->state == TLS_SHAKING) {
        hold(t, data);
        task_defer_costly(t->scheduler, &t->shake);
        update_reading(t);
        return;
    }
    if (!queue_is_empty(&t->held)) { /* behind that, then */
        hold(t, data);
        return;
    }
    t->incoming = data;
    go_on(t);
}

static void lower_over(struct tls_duplex *t, struct cause cause)
{
    t->is_lower_over = true;
    if (t->has_failed)
        return;
    t->dry = cause;
    if (t->state != TLS_SHAKING)
        go_on(t);
    else if (!task_is_queued(&t->shake)) /* which takes what has come, and then tells it */
        tls_duplex_break(t, cause);
}

static void lower_on_end(void *owner)
{
    struct tls_duplex *t = owner;

    if (!t->has_told_end)
        lower_over(t, (struct cause){.what = CAUSE_LOST});
}

static void lower_on_abort(void *owner, struct cause cause)
{
    struct tls_duplex *t = owner;

    t->lower = NULL;
    if (t->has_told_end && !t->has_failed)
        tls_duplex_break(t, cause);
    else
        lower_over(t, cause);
}

static void lower_on_drain(void *owner)
{
    struct tls_duplex *t = owner;

    t->is_lower_full = false;
    tls_duplex_tell_drain(t);
}

static void lower_on_finished(void *owner)
{
    struct tls_duplex *t = owner;

    if (!t->has_failed)
        t->duplex.events->on_finished(t->duplex.owner);
}

static const struct duplex_events lower_events = {lower_on_data, lower_on_end, lower_on_abort,
                                                  lower_on_drain, lower_on_finished};

/* ---- the calls ---- */

static bool tls_write(struct duplex *d, const struct span *spans, size_t count)
{
    struct tls_duplex *t = from_duplex(d);

    assert(has_owner(t) && !t->is_finishing);
    if (t->has_failed || t->lower == NULL)
        return false;
    if (t->state == TLS_SHAKING) {
        for (size_t i = 0; i < count; i++)
            if (queue_push(&t->waiting, spans[i]) != 0)
                tls_duplex_fail(t, CAUSE_NO_MEMORY, 0);
        t->is_full_told = true;
        return !t->has_failed;
    }
    tls_seal_spans(t, spans, count);
    if (t->is_lower_full)
        t->is_full_told = true; /* until on_drain: a control frame is written also when full */
    return t->is_full_told && !t->has_failed;
}

static void tls_finish(struct duplex *d)
{
    struct tls_duplex *t = from_duplex(d);

    assert(has_owner(t));
    if (t->is_finishing)
        return;
    t->is_finishing = true;
    if (t->state == TLS_OPEN)
        tls_duplex_end_our_side(t);
}

static void tls_abort(struct duplex *d, struct cause cause)
{
    struct tls_duplex *t = from_duplex(d);
    struct duplex *lower = t->lower;

    assert(has_owner(t));
    t->lower = NULL;
    if (lower != NULL)
        duplex_abort(lower, cause);
    die(t);
}

static void tls_pause(struct duplex *d)
{
    struct tls_duplex *t = from_duplex(d);

    assert(has_owner(t));
    t->is_paused = true;
    update_reading(t);
}

static void tls_resume(struct duplex *d)
{
    struct tls_duplex *t = from_duplex(d);

    assert(has_owner(t) && d->events != NULL);
    if (!t->is_started && !t->options.config->is_server) /* the client speaks first */
        task_defer_costly(t->scheduler, &t->shake);
    t->is_started = true;
    t->is_paused = false;
    task_defer(t->scheduler, &t->pump);
}

static void tls_close(struct duplex *d)
{
    struct tls_duplex *t = from_duplex(d);

    assert(has_owner(t));
    struct duplex *lower = t->lower;
    if (lower != NULL)
        duplex_cork(lower);
    tls_seal_close_notify(t);
    t->lower = NULL;
    if (lower != NULL)
        duplex_close(lower);
    die(t);
}

static uint64_t tls_pending(const struct duplex *d)
{
    const struct tls_duplex *t = container_of(d, const struct tls_duplex, duplex);
    return queue_size(&t->waiting) + (t->lower != NULL ? duplex_pending(t->lower) : 0);
}

/* Not what the handshake still has to say. */
static void tls_cork(struct duplex *d)
{
    struct tls_duplex *t = from_duplex(d);

    if (t->state == TLS_OPEN && t->lower != NULL && !t->options.keeps_lower_open)
        duplex_cork(t->lower);
}

static const struct duplex_ops tls_ops = {tls_write,  tls_finish, tls_abort,   tls_pause,
                                          tls_resume, tls_close,  tls_pending, tls_cork};

/* ---- the beginning ---- */

static int keep_early(struct tls_duplex *t, struct span early)
{
    if (early.len == 0)
        return 0;
    t->early.data = malloc(early.len);
    if (t->early.data == NULL)
        return -1;
    memcpy(t->early.data, early.data, early.len);
    t->early.len = early.len;
    return 0;
}

struct duplex *tls_duplex_new(struct scheduler *s, struct duplex *lower,
                              const struct tls_duplex_options *options)
{
    struct tls_duplex *t = tls_scratch_prepare() ? calloc(1, sizeof(*t)) : NULL;

    if (t == NULL)
        return NULL;
    t->duplex.ops = &tls_ops;
    t->lower = lower;
    t->scheduler = s;
    t->options = *options;
    t->options.config->holders++;
    t->is_paused = t->is_lower_paused = true;
    queue_init(&t->held);
    queue_init(&t->waiting);
    deadline_init(&t->patience, fire_patience);
    deadline_init(&t->confirm, fire_confirm);
    task_init(&t->shake, run_shake);
    task_init(&t->pump, run_pump);
    mbedtls_ssl_init(&t->ssl);
    if (mbedtls_ssl_setup(&t->ssl, &options->config->ssl) != 0 || tls_shake_prepare(t) != 0 ||
        keep_early(t, options->early) != 0) {
        tls_free(t);
        return NULL;
    }
    mbedtls_ssl_set_bio(&t->ssl, t, bio_send, bio_receive, NULL);
    duplex_own(lower, &lower_events, t);
    return &t->duplex;
}

bool tls_duplex_is_open(const struct duplex *d)
{
    return container_of(d, const struct tls_duplex, duplex)->state == TLS_OPEN;
}
