#include "tls_duplex_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

_Thread_local struct tls_scratch *tls_scratch;

/* The records of one write go to the lower together: a copy costs less than the kernel does for
 * each (measured: a sixth more bytes a second). */
static _Thread_local size_t sealed_len; /* in the scratch */
static _Thread_local bool is_gathering;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key; /* exists for its destructor: a thread that ends gives its own back */
static bool has_key;

static void set_up(void)
{
    has_key = pthread_key_create(&key, free) == 0;
}

bool tls_scratch_prepare(void)
{
    if (tls_scratch != NULL)
        return true;
    struct tls_scratch *fresh = malloc(sizeof(*fresh));
    if (fresh == NULL || pthread_once(&once, set_up) != 0 || !has_key ||
        pthread_setspecific(key, fresh) != 0) {
        free(fresh);
        return false;
    }
    tls_scratch = fresh;
    return true;
}

static void pass_on(struct tls_duplex *t, uint8_t *data, size_t len)
{
    if (len > 0 && t->lower != NULL && !t->has_sent_end) /* mbedTLS would write behind its end */
        t->is_lower_full = duplex_write(t->lower, &(struct span){data, len}, 1);
}

static void pass_on_gathered(struct tls_duplex *t)
{
    pass_on(t, tls_scratch->sealed, sealed_len);
    sealed_len = 0;
}

void tls_seal_record(struct tls_duplex *t, const uint8_t *data, size_t len)
{
    if (!is_gathering) {
        /* The lower may change the bytes: they are mbedTLS's own, which are written anew. */
        pass_on(t, (uint8_t *)(uintptr_t)data, len);
        return;
    }
    if (len > sizeof(tls_scratch->sealed) - sealed_len)
        pass_on_gathered(t);
    memcpy(tls_scratch->sealed + sealed_len, data, len);
    sealed_len += len;
}

/* One record a call, or more. */
static void encrypt(struct tls_duplex *t, const uint8_t *data, size_t len)
{
    while (len > 0 && !t->has_failed) {
        int n = mbedtls_ssl_write(&t->ssl, data, len);
        if (n <= 0) {
            tls_duplex_fail(t, n == MBEDTLS_ERR_SSL_ALLOC_FAILED ? CAUSE_NO_MEMORY : CAUSE_TLS, n);
            return;
        }
        data += n;
        len -= (size_t)n;
    }
}

/* Fills records: a frame's header and the beginning of its payload go into one. Only what shares a
 * record with other spans is copied. */
void tls_seal_spans(struct tls_duplex *t, const struct span *spans, size_t count)
{
    uint8_t joined[4096];
    size_t used = 0;

    is_gathering = true;
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
    is_gathering = false;
    pass_on_gathered(t);
}

void tls_seal_waiting(struct tls_duplex *t)
{
    struct span next;

    while (queue_peek(&t->waiting, &next, 1) > 0) {
        encrypt(t, next.data, next.len);
        queue_drop(&t->waiting, next.len);
    }
}

void tls_seal_close_notify(struct tls_duplex *t)
{
    if (t->has_sent_end || t->has_failed || t->state != TLS_OPEN || t->lower == NULL)
        return;
    int r = mbedtls_ssl_close_notify(&t->ssl);
    t->has_sent_end = true;
    if (r != 0)
        tls_duplex_fail(t, CAUSE_TLS, r);
}
