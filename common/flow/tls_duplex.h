/* TLS as a duplex, either role, on a lower duplex (TCP, unix) that it owns. No sockets inside:
 * mbedTLS reads and writes what the lower brings and takes.
 *
 *   lower says                         told as
 *   the handshake is over              on_open of the options, once; nothing else comes before
 *   application data                   on_data
 *   close_notify                       on_end; what the peer sends behind it is ignored
 *   its end without close_notify       on_abort(LOST): a truncation (RFC 8446 section 6.1)
 *   anything that is not good TLS      on_abort(TLS), native: for tls_config_describe
 *
 *   write    before the handshake is over: kept, the duplex is full
 *   finish   close_notify behind everything written, then the lower's finish (unless the options
 *            say otherwise)
 *   abort    the lower's abort: no close_notify, so that the peer sees a truncation
 *   close    close_notify, then the lower's close. Before the handshake is over nothing that was
 *            written goes out
 *
 * The handshake begins with the first resume() and does not stop for pause(). Its steps are costly
 * tasks of the scheduler: many handshakes at once do not keep other connections waiting. Until its
 * turn has come, what the lower brings is kept and the lower paused. Nothing stays inside the
 * library: what it has decrypted is told before the loop sleeps, unless the owner has paused.
 */
#ifndef TIDEGATE_TLS_DUPLEX_H
#define TIDEGATE_TLS_DUPLEX_H

#include "duplex.h"
#include "scheduler.h"
#include "tls_config.h"

struct tls_duplex_options {
    struct tls_config *config;    /* held */
    const char *host;             /* client: where it connects, to be proved by the certificate */
    uint64_t linger_ms;           /* for what a failed connection had still brought */
    bool keeps_lower_open;        /* finish() sends close_notify only, not the lower's end */
    void (*on_open)(void *owner); /* or NULL */
    /* The peer's first message has been answered, its next is awaited. Server; once; or NULL */
    void (*on_answered)(void *owner);
    struct span early; /* what the lower has brought already; copied */
};

/* `options` is copied; what it points to outlives the duplex. NULL when out of memory; `lower` is
 * then untouched. */
struct duplex *tls_duplex_new(struct scheduler *s, struct duplex *lower,
                              const struct tls_duplex_options *options);

/* Whether the handshake is over. */
bool tls_duplex_is_open(const struct duplex *d);

#endif
