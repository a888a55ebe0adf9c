/* A connection to the backend, TLS included where that is asked for. */
#ifndef TIDEGATE_BACKEND_DIAL_H
#define TIDEGATE_BACKEND_DIAL_H

#include "config.h"
#include "connect.h"
#include "tls_duplex.h"

struct backend_dial;

/* What came of it. On failure `backend` and `stream` are NULL. */
struct backend_dial_result {
    struct duplex *backend; /* paused, owned by the callee */
    struct duplex *stream;  /* it, or what is under its TLS: for stream_on_release only */
    struct cause cause;     /* as connect_start has it, or TLS, LOST, RESET... in the handshake */
};

/* `tls` is NULL for a backend without it; `config` outlives the connection. `on_done` comes once,
 * from the loop, never from this call. NULL when out of memory: on_done does not come. */
struct backend_dial *
backend_dial_start(struct loop *l, const struct server_config *config, struct tls_config *tls,
                   void (*on_done)(void *owner, const struct backend_dial_result *result),
                   void *owner);

/* Gives up; no on_done. */
void backend_dial_cancel(struct backend_dial *b);

#endif
