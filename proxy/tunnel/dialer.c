#include "dialer.h"

#include "tls_duplex.h"
#include "ws_handshake.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS_MAX  (REQUEST_FIELDS_MAX + REQUEST_TOKEN_MAX + 64)
#define REQUEST_MAX (FIELDS_MAX + URL_TARGET_MAX + 1024)

enum stage { STAGE_CONNECTING, STAGE_PROXY, STAGE_ASKING, STAGE_TOLD };

struct dialer {
    struct loop *loop;
    const struct dialer_config *config;
    void (*on_done)(void *owner, const struct dialer_result *result);
    void *owner;
    enum stage stage;
    struct connect *connect; /* CONNECTING */
    struct duplex *stream;   /* PROXY, ASKING; then on TLS, if the URL is wss:// */
    struct duplex *lowest;   /* under that */
    struct ws_head *head;    /* the response being read */
    struct ws_ask ask;
    struct deadline timeout;
    struct task leave; /* frees at the end of the turn: an event of the stream may be under way */
};

static void run_leave(struct task *t)
{
    struct dialer *d = container_of(t, struct dialer, leave);
    ws_head_free(d->head);
    free(d);
}

static void dialer_leave(struct dialer *d)
{
    d->stage = STAGE_TOLD;
    deadline_clear(loop_scheduler(d->loop), &d->timeout);
    task_defer(loop_scheduler(d->loop), &d->leave);
}

/* ---- failures ---- */

static void __attribute__((format(printf, 4, 5)))
dialer_fail(struct dialer *d, enum dialer_failure failure, struct cause cause, const char *format,
            ...)
{
    struct dialer_result result = {.failure = failure, .cause = cause};
    result.cause.where = CAUSE_AT_BACKEND;
    if (d->head != NULL)
        result.status = ws_head_status(d->head);
    va_list args;
    va_start(args, format);
    vsnprintf(result.problem, sizeof result.problem, format, args);
    va_end(args);
    if (d->connect != NULL)
        connect_cancel(d->connect);
    if (d->stream != NULL)
        duplex_abort(d->stream, cause);
    d->connect = NULL;
    d->stream = NULL;
    dialer_leave(d);
    d->on_done(d->owner, &result);
}

static struct cause bad_handshake(int native)
{
    return (struct cause){.what = CAUSE_BAD_HANDSHAKE, .native = native};
}

static void fail_status(struct dialer *d, const char *who)
{
    int status = ws_head_status(d->head);
    struct cause cause = bad_handshake(status);
    if (status == 401 || status == 403 || status == 407)
        dialer_fail(d, DIALER_DENIED, cause, "%s answered %d (%s)", who, status,
                    status == 407 ? "give a user name and password with --proxy"
                                  : "give --token-file or --header");
    else
        dialer_fail(d, DIALER_REFUSED, cause, "%s answered %d instead of a WebSocket", who, status);
}

static void fire_timeout(struct deadline *deadline)
{
    struct dialer *d = container_of(deadline, struct dialer, timeout);
    struct cause cause = {.what = CAUSE_CONNECT_TIMEOUT};
    const char *what = d->stage == STAGE_CONNECTING ? "it did not accept"
                       : d->stage == STAGE_PROXY    ? "no answer of the HTTP proxy"
                                                    : "no answer to the handshake";
    dialer_fail(d, DIALER_UNREACHABLE, cause, "%s in time (--connect-timeout)", what);
}

/* ---- the WebSocket handshake ---- */

static void send_text(struct dialer *d, struct text *t)
{
    duplex_write(d->stream, &(struct span){(uint8_t *)t->data, t->len}, 1);
}

static bool renew_head(struct dialer *d)
{
    ws_head_free(d->head);
    d->head = ws_head_new(WS_CLIENT);
    return d->head != NULL;
}

static void fail_memory(struct dialer *d)
{
    dialer_fail(d, DIALER_SYSTEM, (struct cause){.what = CAUSE_NO_MEMORY}, "out of memory");
}

/* The user's fields, and the token as its file has it now. False: has failed. */
static bool add_fields(struct dialer *d, struct text *fields)
{
    const struct dialer_config *c = d->config;
    char token[REQUEST_TOKEN_MAX + 1];
    const char *why;
    text_add(fields, c->fields.text);
    if (c->token_file == NULL)
        return true;
    int error = request_token_read(c->token_file, token, &why);
    if (error != 0) {
        struct cause cause = {.what = CAUSE_IO_ERROR, .native = error};
        dialer_fail(d, DIALER_SYSTEM, cause, "--token-file: %.100s: %s", c->token_file, why);
        return false;
    }
    text_addf(fields, "Authorization: Bearer %s\r\n", token);
    return true;
}

static void dialer_ask(struct dialer *d)
{
    const struct dialer_config *c = d->config;
    char request[REQUEST_MAX], fields[FIELDS_MAX];
    struct text t, added;
    text_init(&t, request, sizeof request);
    text_init(&added, fields, sizeof fields);
    if (!add_fields(d, &added))
        return;
    d->stage = STAGE_ASKING;
    d->ask = (struct ws_ask){.host = c->url.host,
                             .target = c->url.target,
                             .offers_extension = true,
                             .offers_subprotocol = true,
                             .fields = fields};
    int error = renew_head(d) ? ws_handshake_ask(&d->ask, &t) : -ENOMEM;
    d->ask.fields = NULL;
    if (error == 0)
        send_text(d, &t);
    else
        fail_memory(d); /* or randomness: the request always fits */
}

static const struct duplex_events events;

/* What is asked waits for the TLS handshake. */
static void dialer_secure_and_ask(struct dialer *d)
{
    const struct dialer_config *c = d->config;
    struct tls_duplex_options options = {
        .config = c->tls, .host = c->url.address.host, .linger_ms = c->stream->linger_ms};

    if (c->url.is_tls) {
        duplex_pause(d->stream);
        struct duplex *secure = tls_duplex_new(loop_scheduler(d->loop), d->stream, &options);
        if (secure == NULL) {
            fail_memory(d);
            return;
        }
        d->stream = secure;
        duplex_own(secure, &events, d);
        duplex_resume(secure);
    }
    dialer_ask(d);
}

static void dialer_check(struct dialer *d, struct span early)
{
    struct dialer_result result = {.failure = DIALER_OK, .status = 101};
    const char *problem = "";
    int error = ws_handshake_check(d->head, &d->ask, &result.carrier, &problem);
    if (error == -EACCES) {
        fail_status(d, "the server");
        return;
    }
    if (error != 0) {
        dialer_fail(d, DIALER_PROTOCOL, bad_handshake(101), "%s", problem);
        return;
    }
    if (result.carrier == WS_PLAIN && !d->config->allows_plain) {
        dialer_fail(
            d, DIALER_PROTOCOL, bad_handshake(101),
            "the server does not speak half-close (is it tidegate? --plain goes on without)");
        return;
    }
    duplex_pause(d->stream);
    result.ws = ws_duplex_new(loop_scheduler(d->loop), d->stream, WS_CLIENT, result.carrier,
                              d->config->ws, early);
    if (result.ws == NULL) {
        fail_memory(d);
        return;
    }
    result.stream = d->lowest;
    d->stream = NULL;
    dialer_leave(d);
    d->on_done(d->owner, &result);
}

/* ---- the CONNECT proxy: RFC 9110 section 9.3.6 ---- */

static void dialer_ask_proxy(struct dialer *d)
{
    const struct dialer_config *c = d->config;
    char request[REQUEST_MAX], target[ADDRESS_TEXT_MAX];
    struct text t;
    text_init(&t, request, sizeof request);
    address_format(&c->url.address, target, sizeof target);
    text_addf(&t, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", target, target);
    if (c->proxy.authorization[0] != '\0')
        text_addf(&t, "Proxy-Authorization: %s\r\n", c->proxy.authorization);
    text_add(&t, "\r\n");
    d->stage = STAGE_PROXY;
    if (!renew_head(d) || t.overflowed)
        fail_memory(d);
    else
        send_text(d, &t);
}

/* ---- the stream ---- */

static void on_data(void *owner, struct span in)
{
    struct dialer *d = owner;
    if (d->stage == STAGE_TOLD)
        return;
    switch (ws_head_feed(d->head, &in)) {
    case WS_HEAD_MORE:
        break;
    case WS_HEAD_FAILED:
        dialer_fail(d, DIALER_PROTOCOL, bad_handshake(0), "the answer is not HTTP: %s",
                    ws_head_problem(d->head));
        break;
    case WS_HEAD_DONE:
        if (d->stage == STAGE_ASKING)
            dialer_check(d, in);
        else if (ws_head_status(d->head) / 100 != 2)
            fail_status(d, "the HTTP proxy");
        else if (in.len > 0) /* the server speaks second: this is not of its making */
            dialer_fail(d, DIALER_PROTOCOL, bad_handshake(0),
                        "the HTTP proxy sent something behind its answer");
        else
            dialer_secure_and_ask(d);
        break;
    }
}

static void on_end(void *owner)
{
    struct dialer *d = owner;
    dialer_fail(d, DIALER_UNREACHABLE, (struct cause){.what = CAUSE_LOST},
                "the connection was closed in the handshake");
}

static void on_abort(void *owner, struct cause cause)
{
    struct dialer *d = owner;
    char detail[128];
    struct text t;

    d->stream = NULL;
    if (cause.what == CAUSE_TLS) {
        text_init(&t, detail, sizeof detail);
        tls_config_describe(cause.native, &t);
        dialer_fail(d, DIALER_TLS, cause, "%s", detail);
        return;
    }
    dialer_fail(d, DIALER_UNREACHABLE, cause, "the connection was lost in the handshake: %s",
                cause_text(cause.what));
}

static void on_quiet(void *owner)
{
    (void)owner; /* on_drain, on_finished: nothing waits for them */
}

static const struct duplex_events events = {on_data, on_end, on_abort, on_quiet, on_quiet};

static void on_connected(void *owner, struct duplex *stream, struct cause cause)
{
    struct dialer *d = owner;
    d->connect = NULL;
    if (stream == NULL) {
        const char *of_whom = d->config->proxy.is_set ? "the HTTP proxy: " : "";
        if (cause.what == CAUSE_NO_MEMORY)
            fail_memory(d);
        else if (cause.native == -ENOENT || cause.native == -EAGAIN || cause.native == -EIO)
            dialer_fail(d, DIALER_NO_NAME, cause, "%s%s", of_whom,
                        cause.native == -ENOENT ? "no host has that name"
                                                : "the name could not be looked up now");
        else
            dialer_fail(d, DIALER_UNREACHABLE, cause, "%s%s", of_whom, strerror(-cause.native));
        return;
    }
    d->stream = d->lowest = stream;
    duplex_own(stream, &events, d);
    duplex_resume(stream);
    if (d->config->proxy.is_set)
        dialer_ask_proxy(d);
    else
        dialer_secure_and_ask(d);
}

/* ---- the beginning ---- */

struct dialer *dialer_start(struct loop *l, const struct dialer_config *config,
                            void (*on_done)(void *owner, const struct dialer_result *result),
                            void *owner)
{
    struct dialer *d = calloc(1, sizeof *d);
    if (d == NULL)
        return NULL;
    d->loop = l;
    d->config = config;
    d->on_done = on_done;
    d->owner = owner;
    deadline_init(&d->timeout, fire_timeout);
    task_init(&d->leave, run_leave);
    d->connect =
        connect_start(l, config->proxy.is_set ? &config->proxy.address : &config->url.address, 0,
                      config->stream, on_connected, d);
    if (d->connect == NULL) {
        free(d);
        return NULL;
    }
    deadline_set(loop_scheduler(l), &d->timeout, config->timeout_ms);
    return d;
}

void dialer_cancel(struct dialer *d)
{
    if (d->connect != NULL)
        connect_cancel(d->connect);
    if (d->stream != NULL)
        duplex_abort(d->stream, (struct cause){.what = CAUSE_CLOSED});
    d->connect = NULL;
    d->stream = NULL;
    dialer_leave(d);
}
