/* From a URL to an open WebSocket: connect (through an HTTP CONNECT proxy if one is set), ask,
 * check the answer. One attempt; who wants another starts another. */
#ifndef TIDEGATE_DIALER_H
#define TIDEGATE_DIALER_H

#include "connect.h"
#include "http_proxy.h"
#include "request_fields.h"
#include "tls_config.h"
#include "ws_duplex.h"

struct dialer_config {
    struct url url;
    bool allows_plain;       /* a server that takes neither carrier will do */
    struct http_proxy proxy; /* through it, if it is set */
    struct request_fields fields;
    const char *token_file; /* read at each dial; or NULL */
    struct tls_client_options tls_options;
    struct tls_config *tls; /* made of them, if the URL is wss:// */
    uint64_t timeout_ms;    /* for all of it */
    const struct ws_duplex_config *ws;
    const struct stream_options *stream;
};

enum dialer_failure {
    DIALER_OK,
    DIALER_NO_NAME,     /* the host has no address: exit 68 */
    DIALER_UNREACHABLE, /* refused, no route, too slow, lost while asking: 69 */
    DIALER_DENIED,      /* 401, 403, 407: 77 */
    DIALER_REFUSED,     /* any other status: 69 for 5xx and 404, 76 otherwise */
    DIALER_PROTOCOL,    /* not a WebSocket server, bad accept key, something not asked for, no
                           half-close: 76 */
    DIALER_TLS,         /* the server is not believed, or what it says is not good TLS: 76 */
    DIALER_SYSTEM,      /* out of memory, token file unreadable: 71 */
    DIALER_GIVEN_UP     /* never told by a dialer: who wanted the connection is gone */
};

struct dialer_result {
    enum dialer_failure failure;
    struct duplex *ws;     /* OK: paused, owned by the callee; else NULL */
    struct duplex *stream; /* under it: for stream_on_release only */
    enum ws_carrier carrier;
    int status;         /* HTTP, or 0 */
    struct cause cause; /* at the backend */
    char problem[256];  /* for people: what, why (what to do) */
};

struct dialer;

/* `config` outlives it. `on_done` comes once, from the loop, never from this call; NULL when out of
 * memory. */
struct dialer *dialer_start(struct loop *l, const struct dialer_config *config,
                            void (*on_done)(void *owner, const struct dialer_result *result),
                            void *owner);
/* Gives up: no on_done. */
void dialer_cancel(struct dialer *d);

#endif
