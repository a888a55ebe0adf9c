/* A client that does what ours does not: mbedTLS itself, on the kit's network, against the kit's
 * server. */
#ifndef TIDEGATE_TLS_RAW_H
#define TIDEGATE_TLS_RAW_H

#include "tls_kit.h"

#include <mbedtls/ssl.h>

struct tls_raw {
    mbedtls_ssl_config config;
    mbedtls_ssl_context ssl;
    const char *host;             /* asked for; NULL: none */
    mbedtls_ssl_session *session; /* to resume; NULL: none */
};

/* It verifies nothing. Between the two calls the settings are the test's to change. */
void tls_raw_open(struct tls_raw *raw);

void tls_raw_speak_tls12(struct tls_raw *raw); /* not 1.3 */

/* What mbedTLS says of the handshake: 0, its error, or WANT_READ if the server has gone. */
int tls_raw_shake(struct tls_raw *raw);

void tls_raw_end(struct tls_raw *raw);

#endif
