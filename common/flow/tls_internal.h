/* TLS settings as the files see them that call mbedTLS. Private to this floor. */
#ifndef TIDEGATE_TLS_INTERNAL_H
#define TIDEGATE_TLS_INTERNAL_H

#include "crypto.h"
#include "tls_config.h"

#include <mbedtls/ssl.h>

/* `native` of a CAUSE_TLS: negative is mbedTLS's error; positive are its flags for a certificate
 * that does not verify, and these. */
#define TLS_PROBLEM_PLAIN_HTTP 0x10000000
#define TLS_PROBLEM_WRONG_PIN  0x20000000
#define TLS_PROBLEM_WRONG_NAME 0x04 /* MBEDTLS_X509_BADCERT_CN_MISMATCH */

struct tls_config {
    unsigned holders;
    mbedtls_ssl_config ssl;
    mbedtls_x509_crt chain; /* server: ours. Client: the authorities */
    mbedtls_pk_context key; /* server */
    struct span plain_answer;
    const char *server_name; /* client: in place of the one connected to */
    uint8_t pin[CRYPTO_SHA256_SIZE];
    bool is_server, is_insecure, has_pin;
};

/* ---- tls_peer.c ---- */

/* Whether `name` is an IP address, for which no server name is sent. */
bool tls_peer_is_address(const char *name);

/* Whether the certificate is one for `name`: in its subject alternative names; the common name
 * does not count (RFC 6125 section 6.4.4). */
bool tls_peer_has_name(const mbedtls_x509_crt *cert, const char *name);

/* 0, or the TLS_PROBLEM for which the server is not believed although its chain is good. */
int tls_peer_check(const struct tls_config *config, const mbedtls_x509_crt *cert, const char *name);

#endif
