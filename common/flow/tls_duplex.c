#include "tls_duplex.h"

#include "queue.h"
#include "tls_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define HOST_MAX            255
#define CONFIRM_POLL_MS     5
#define CONFIRM_POLL_MAX_MS 1000

/* The owner is there in SHAKING and OPEN. */
enum tls_state { TLS_SHAKING, TLS_OPEN, TLS_DEAD };

struct tls_duplex {
    struct duplex duplex;
    struct duplex *lower; /* NULL once it is closed, aborted or lost */
    struct scheduler *scheduler;
    struct tls_duplex_options options;
    mbedtls_ssl_context ssl;
    struct span incoming;     /* of the lower's on_data under way: not yet decrypted */
    struct queue held;        /* not decrypted, because the owner has paused */
    struct queue waiting;     /* written before the handshake was over */
    struct deadline patience; /* lower lost: for the owner to take what it had brought */
    struct deadline confirm;  /* our side has ended, the lower's has not: for the peer to take it */
    struct task pump;         /* goes on after resume(), tells what calls brought about, frees */
    struct cause dry;         /* why no more will come; told when all that came has been */
    int verdict; /* mbedTLS's last word on the peer's side, or 0: it is not asked again */
    unsigned confirm_poll_ms;
    enum tls_state state : 8;
    bool is_started : 1; /* resumed once */
    bool is_paused : 1;  /* by the owner */
    bool is_lower_paused : 1;
    bool is_lower_full : 1;
    bool is_lower_over : 1; /* its peer side has ended, or it is lost */
    bool is_full_told : 1;
    bool is_finishing : 1; /* finish() was called */
    bool has_sent_end : 1; /* close_notify was handed to the lower */
    bool has_told_end : 1;
    bool has_heard : 1;  /* a byte of the peer */
    bool has_failed : 1; /* in a call: `dry` is to be told by the task */
};

/* What is decrypted at a time; then the owner has it. Events do not nest, so one a thread does. */
static _Thread_local uint8_t plain[65536];

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
    /* The lower may change the bytes: they are mbedTLS's record buffer, which is written anew. */
    struct span span = {(uint8_t *)(uintptr_t)data, len};

    if (t->lower != NULL && !t->has_sent_end) /* mbedTLS would go on behind its close_notify */
        t->is_lower_full = duplex_write(t->lower, &span, 1);
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
    task_defer(t->scheduler, &t->pump);
}

static void tls_free(struct tls_duplex *t)
{
    mbedtls_ssl_free(&t->ssl);
    queue_clear(&t->held);
    queue_clear(&t->waiting);
    free(t);
}

/* From an event only. A handshake that fails leaves nobody with half a stream: its transport is
 * closed in an orderly way, so that the peer reads our alert. */
static void break_now(struct tls_duplex *t, struct cause cause)
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

/* The same, from a call: told by the task. Nothing is read or written any more. */
static void fail(struct tls_duplex *t, enum cause_what what, int native)
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
    break_now(t, t->dry);
}

/* ---- our side ---- */

/* One record a call, or more. */
static void encrypt(struct tls_duplex *t, const uint8_t *data, size_t len)
{
    while (len > 0 && !t->has_failed) {
        int n = mbedtls_ssl_write(&t->ssl, data, len);
        if (n <= 0) {
            fail(t, n == MBEDTLS_ERR_SSL_ALLOC_FAILED ? CAUSE_NO_MEMORY : CAUSE_TLS, n);
            return;
        }
        data += n;
        len -= (size_t)n;
    }
}

/* Fills records: a frame's header and the beginning of its payload go into one. Only what shares a
 * record with other spans is copied. */
static void encrypt_spans(struct tls_duplex *t, const struct span *spans, size_t count)
{
    uint8_t joined[4096];
    size_t used = 0;

    for (size_t i = 0; i < count; i++) {
        const uint8_t *data = spans[i].data;
        size_t len = spans[i].len;
        if (used + len <= sizeof(joined) && (i + 1 < count || used > 0)) {
            if (len > 0)
                memcpy(joined + used, data, len);
            used += len;
            continue;
        }
        if (used > 0) {
            size_t fill = len < sizeof(joined) - used ? len : sizeof(joined) - used;
            memcpy(joined + used, data, fill);
            encrypt(t, joined, used + fill);
            used = 0;
            data += fill;
            len -= fill;
        }
        encrypt(t, data, len);
    }
    encrypt(t, joined, used);
}

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

static void send_close_notify(struct tls_duplex *t)
{
    if (t->has_sent_end || t->has_failed || t->state != TLS_OPEN || t->lower == NULL)
        return;
    int r = mbedtls_ssl_close_notify(&t->ssl);
    t->has_sent_end = true;
    if (r != 0)
        fail(t, CAUSE_TLS, r);
}

static void end_our_side(struct tls_duplex *t)
{
    send_close_notify(t);
    if (t->has_failed || t->lower == NULL)
        return;
    if (!t->options.keeps_lower_open) {
        duplex_finish(t->lower);
        return;
    }
    t->confirm_poll_ms = CONFIRM_POLL_MS;
    deadline_set(t->scheduler, &t->confirm, 0);
}

static void send_waiting(struct tls_duplex *t)
{
    struct span next;

    while (queue_peek(&t->waiting, &next, 1) > 0) {
        encrypt(t, next.data, next.len);
        queue_drop(&t->waiting, next.len);
    }
}

static void tell_drain(struct tls_duplex *t)
{
    if (t->state != TLS_OPEN || !t->is_full_told || t->is_lower_full || t->has_failed)
        return;
    t->is_full_told = false;
    t->duplex.events->on_drain(t->duplex.owner);
}

/* ---- the handshake ---- */

static int check_peer(struct tls_duplex *t)
{
    const struct tls_config *c = t->options.config;
    const char *name = c->server_name != NULL ? c->server_name : t->options.host;

    if (c->is_server)
        return 0;
    int problem = tls_peer_check(c, mbedtls_ssl_get_peer_cert(&t->ssl), name);
    if (problem != 0)
        mbedtls_ssl_send_alert_message(&t->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL,
                                       MBEDTLS_SSL_ALERT_MSG_BAD_CERT);
    return problem;
}

static void shake_failed(struct tls_duplex *t, int error)
{
    struct cause cause = {.what = CAUSE_TLS, .native = error};

    if (error == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED)
        cause.native = (int)(mbedtls_ssl_get_verify_result(&t->ssl) & INT32_MAX);
    else if (error == MBEDTLS_ERR_SSL_ALLOC_FAILED)
        cause.what = CAUSE_NO_MEMORY;
    break_now(t, cause);
}

static void shake(struct tls_duplex *t)
{
    int r = mbedtls_ssl_handshake(&t->ssl);

    if (t->has_failed)
        return; /* the pump tells it */
    if (r == MBEDTLS_ERR_SSL_WANT_READ) {
        if (t->is_lower_over)
            break_now(t, t->dry);
        return;
    }
    if (r == 0)
        r = check_peer(t);
    if (r != 0) {
        shake_failed(t, r);
        return;
    }
    t->state = TLS_OPEN;
    send_waiting(t);
    if (t->is_finishing)
        end_our_side(t);
    if (t->options.on_open != NULL)
        t->options.on_open(t->duplex.owner);
    tell_drain(t);
}

/* A request where a TLS record should begin. Its first byte would be 22. */
static bool is_plain_http(const struct tls_duplex *t, struct span data)
{
    return t->options.config->is_server && !t->has_heard && data.data[0] >= 'A' &&
           data.data[0] <= 'Z';
}

static void answer_plain_http(struct tls_duplex *t)
{
    struct span answer = t->options.config->plain_answer;

    if (answer.len > 0) {
        uint8_t copy[512];
        assert(answer.len <= sizeof(copy));
        memcpy(copy, answer.data, answer.len);
        duplex_write(t->lower, &(struct span){copy, answer.len}, 1);
    }
    break_now(t, (struct cause){.what = CAUSE_TLS, .native = TLS_PROBLEM_PLAIN_HTTP});
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

/* Decrypts what is there, as far as `plain` has room. What mbedTLS said last. 0 from it is an empty
 * record behind another one (2.28), not the end: our bio_receive never says that. */
static int decrypt(struct tls_duplex *t, size_t *len)
{
    int r;

    *len = 0;
    do {
        r = mbedtls_ssl_read(&t->ssl, plain + *len, sizeof(plain) - *len);
        if (r > 0)
            *len += (size_t)r;
    } while ((r >= 0 && *len < sizeof(plain)) || is_ticket(r));
    return r;
}

static void tell_verdict(struct tls_duplex *t)
{
    queue_clear(&t->held);
    t->incoming.len = 0;
    if (t->verdict != MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY) {
        break_now(t, t->dry);
        return;
    }
    if (!t->has_told_end) {
        t->has_told_end = true;
        t->duplex.events->on_end(t->duplex.owner);
    }
    if (has_owner(t) && t->lower == NULL)
        break_now(t, t->dry);
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
            t->duplex.events->on_data(t->duplex.owner, (struct span){plain, len});
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
    bool wanted = t->state == TLS_SHAKING ? t->is_started : !t->is_paused;
    if (wanted == !t->is_lower_paused)
        return;
    t->is_lower_paused = !wanted;
    if (wanted)
        duplex_resume(t->lower);
    else
        duplex_pause(t->lower);
}

/* Goes as far as what has come allows. */
static void go_on(struct tls_duplex *t)
{
    if (t->state == TLS_SHAKING)
        shake(t);
    read_on(t);
    if (!has_owner(t))
        return;
    if (t->incoming.len > 0 && queue_push(&t->held, t->incoming) != 0)
        fail(t, CAUSE_NO_MEMORY, 0);
    t->incoming.len = 0;
    bool is_broken =
        t->lower == NULL || (t->verdict != 0 && t->verdict != MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY);
    if (is_broken && !t->patience.is_set)
        deadline_set(t->scheduler, &t->patience, t->options.linger_ms);
    update_reading(t);
}

static void run_pump(struct task *task)
{
    struct tls_duplex *t = container_of(task, struct tls_duplex, pump);

    if (t->state == TLS_DEAD) {
        tls_free(t);
        return;
    }
    if (t->has_failed)
        break_now(t, t->dry);
    else if (t->is_started)
        go_on(t);
}

/* ---- events of the lower duplex ---- */

static void lower_on_data(void *owner, struct span data)
{
    struct tls_duplex *t = owner;

    if (t->has_failed || t->verdict != 0)
        return;
    if (is_plain_http(t, data)) {
        answer_plain_http(t);
        return;
    }
    t->has_heard = true;
    if (t->held.size > 0) { /* behind that, then */
        if (queue_push(&t->held, data) != 0)
            fail(t, CAUSE_NO_MEMORY, 0);
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
    go_on(t);
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
        break_now(t, cause);
    else
        lower_over(t, cause);
}

static void lower_on_drain(void *owner)
{
    struct tls_duplex *t = owner;

    t->is_lower_full = false;
    tell_drain(t);
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
                fail(t, CAUSE_NO_MEMORY, 0);
        t->is_full_told = true;
        return !t->has_failed;
    }
    encrypt_spans(t, spans, count);
    t->is_full_told = t->is_lower_full && !t->has_failed;
    return t->is_full_told;
}

static void tls_finish(struct duplex *d)
{
    struct tls_duplex *t = from_duplex(d);

    assert(has_owner(t));
    if (t->is_finishing)
        return;
    t->is_finishing = true;
    if (t->state == TLS_OPEN)
        end_our_side(t);
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
    t->is_started = true;
    t->is_paused = false;
    task_defer(t->scheduler, &t->pump);
}

static void tls_close(struct duplex *d)
{
    struct tls_duplex *t = from_duplex(d);

    assert(has_owner(t));
    send_close_notify(t);
    struct duplex *lower = t->lower;
    t->lower = NULL;
    if (lower != NULL)
        duplex_close(lower);
    die(t);
}

static uint64_t tls_pending(const struct duplex *d)
{
    const struct tls_duplex *t = container_of(d, const struct tls_duplex, duplex);
    return t->waiting.size + (t->lower != NULL ? duplex_pending(t->lower) : 0);
}

static const struct duplex_ops tls_ops = {tls_write,  tls_finish, tls_abort,  tls_pause,
                                          tls_resume, tls_close,  tls_pending};

/* ---- the beginning ---- */

/* Numbers are not asked for by name (RFC 6066 section 3), and a final dot is left out. */
static int set_host(struct tls_duplex *t)
{
    const struct tls_config *c = t->options.config;
    const char *name = c->server_name != NULL ? c->server_name : t->options.host;
    char host[HOST_MAX + 1] = "";

    if (tls_peer_is_address(name))
        return mbedtls_ssl_set_hostname(&t->ssl, NULL);
    size_t len = strnlen(name, HOST_MAX);
    memcpy(host, name, len);
    if (len > 0 && host[len - 1] == '.')
        host[len - 1] = '\0';
    return mbedtls_ssl_set_hostname(&t->ssl, host);
}

struct duplex *tls_duplex_new(struct scheduler *s, struct duplex *lower,
                              const struct tls_duplex_options *options)
{
    struct tls_duplex *t = calloc(1, sizeof(*t));

    if (t == NULL)
        return NULL;
    t->duplex.ops = &tls_ops;
    t->lower = lower;
    t->scheduler = s;
    t->options = *options;
    t->is_paused = t->is_lower_paused = true;
    queue_init(&t->held);
    queue_init(&t->waiting);
    deadline_init(&t->patience, fire_patience);
    deadline_init(&t->confirm, fire_confirm);
    task_init(&t->pump, run_pump);
    mbedtls_ssl_init(&t->ssl);
    if (mbedtls_ssl_setup(&t->ssl, &options->config->ssl) != 0 ||
        (!options->config->is_server && set_host(t) != 0)) {
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

char *tls_duplex_describe(const struct duplex *d, char *buffer, size_t size)
{
    const struct tls_duplex *t = container_of(d, const struct tls_duplex, duplex);
    struct text text;

    text_init(&text, buffer, size);
    text_addf(&text, "%s %s", mbedtls_ssl_get_version(&t->ssl),
              mbedtls_ssl_get_ciphersuite(&t->ssl));
    return buffer;
}
