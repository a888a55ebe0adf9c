#include "tls_duplex_internal.h"

#include <assert.h>
#include <string.h>

#define HOST_MAX 255

/* Numbers are not asked for by name (RFC 6066 section 3), and a final dot is left out. */
int tls_shake_prepare(struct tls_duplex *t)
{
    const struct tls_config *c = t->options.config;
    const char *name = c->server_name != NULL ? c->server_name : t->options.host;
    char host[HOST_MAX + 1] = "";

    if (c->is_server)
        return 0;
    if (tls_peer_is_address(name))
        return mbedtls_ssl_set_hostname(&t->ssl, NULL);
    size_t len = strnlen(name, HOST_MAX);
    memcpy(host, name, len);
    if (len > 0 && host[len - 1] == '.')
        host[len - 1] = '\0';
    return mbedtls_ssl_set_hostname(&t->ssl, host);
}

static int check_peer(struct tls_duplex *t)
{
    const struct tls_config *c = t->options.config;
    const char *name = c->server_name != NULL ? c->server_name : t->options.host;

    return tls_peer_check(c, &t->ssl, name);
}

static void shake_failed(struct tls_duplex *t, int error)
{
    struct cause cause = {.what = CAUSE_TLS, .native = tls_peer_why(&t->ssl, error)};

    if (error == MBEDTLS_ERR_SSL_ALLOC_FAILED)
        cause.what = CAUSE_NO_MEMORY;
    tls_duplex_break(t, cause);
}

static void await_more(struct tls_duplex *t)
{
    if (t->is_lower_over) {
        tls_duplex_break(t, t->dry);
    } else if (t->has_sent && !t->has_told_answered && t->options.on_answered != NULL) {
        t->has_told_answered = true;
        t->options.on_answered(t->duplex.owner);
    }
}

void tls_shake(struct tls_duplex *t)
{
    int r = mbedtls_ssl_handshake(&t->ssl);

    if (t->has_failed)
        return; /* the pump tells it */
    if (r == MBEDTLS_ERR_SSL_WANT_READ) {
        await_more(t);
        return;
    }
    if (r == 0)
        r = check_peer(t);
    if (r != 0) {
        shake_failed(t, r);
        return;
    }
    t->state = TLS_OPEN;
    tls_seal_waiting(t);
    if (t->is_finishing)
        tls_duplex_end_our_side(t);
    if (t->options.on_open != NULL)
        t->options.on_open(t->duplex.owner);
    tls_duplex_tell_drain(t);
}

/* A record's first byte would be 22. */
bool tls_shake_is_plain_http(const struct tls_duplex *t, struct span data)
{
    return t->options.config->is_server && !t->has_heard && data.data[0] >= 'A' &&
           data.data[0] <= 'Z';
}

void tls_shake_answer_plain_http(struct tls_duplex *t)
{
    struct span answer = t->options.config->plain_answer;

    if (answer.len > 0) {
        uint8_t copy[512];
        assert(answer.len <= sizeof(copy));
        memcpy(copy, answer.data, answer.len);
        duplex_write(t->lower, &(struct span){copy, answer.len}, 1);
    }
    tls_duplex_break(t, (struct cause){.what = CAUSE_TLS, .native = TLS_PROBLEM_PLAIN_HTTP});
}
