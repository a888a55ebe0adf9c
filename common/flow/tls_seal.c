#include "tls_duplex_internal.h"

#include <string.h>

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
