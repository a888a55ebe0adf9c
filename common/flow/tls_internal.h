/* TLS settings as the files see them that call mbedTLS. Private to this floor. */
#ifndef TIDEGATE_TLS_INTERNAL_H
#define TIDEGATE_TLS_INTERNAL_H

#include "crypto.h"
#include "tls_config.h"

#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/version.h>

/* `native` of a CAUSE_TLS: negative is mbedTLS's error; positive are its flags for a certificate
 * that does not verify, and these. */
#define TLS_PROBLEM_PLAIN_HTTP 0x10000000
#define TLS_PROBLEM_WRONG_PIN  0x20000000
#define TLS_PROBLEM_WRONG_NAME 0x04 /* MBEDTLS_X509_BADCERT_CN_MISMATCH */

#if MBEDTLS_VERSION_MAJOR >= 3
#define TLS_ERROR_BAD_CERTIFICATE MBEDTLS_ERR_SSL_BAD_CERTIFICATE
#else
#define TLS_ERROR_BAD_CERTIFICATE MBEDTLS_ERR_SSL_BAD_HS_CERTIFICATE
#endif

/* Kinds of subject alternative names (RFC 5280 section 4.2.1.6, the numbers of the choice). */
#define TLS_SAN_EMAIL   1
#define TLS_SAN_DNS     2
#define TLS_SAN_URI     6
#define TLS_SAN_ADDRESS 7

/* A certificate of ours, those between it and the authority, and its key. */
struct tls_pair {
    mbedtls_x509_crt chain;
    mbedtls_pk_context key;
};

struct tls_config {
    _Atomic unsigned holders;
    mbedtls_ssl_config ssl;
    struct tls_pair *pairs; /* ours */
    size_t pair_count;
    mbedtls_x509_crt authorities;       /* for the peer's certificate */
    mbedtls_ssl_ticket_context tickets; /* server: the keys, which change by themselves */
    struct span plain_answer;
    const char *server_name; /* client: in place of the one connected to */
    uint8_t pin[CRYPTO_SHA256_SIZE];
    bool is_server, is_insecure, has_pin;
    bool asks_clients, takes_clients_without; /* their certificates */
};

/* ---- tls_config.c ---- */

/* Appends what is wrong with a file. -EINVAL. */
int tls_internal_fail_file(struct text *problem, const char *what, const char *file, int error);

/* ---- tls_library.c: what differs between mbedTLS 2.28 and 3.6 ---- */

int tls_library_random(void *context, unsigned char *out, size_t len);
int tls_library_set_up(void); /* 0 or -EIO; more than once is fine */
void tls_library_set_versions(mbedtls_ssl_config *ssl);
void tls_library_require_certificate(mbedtls_ssl_config *ssl); /* server: of clients */
bool tls_library_can_resume(void);                             /* server: without a known hole */
int tls_library_parse_key(mbedtls_pk_context *key, const char *file);
int tls_library_check_pair(const mbedtls_pk_context *public, const mbedtls_pk_context *key);

/* Whether this part of a name and the next are one, of several values. */
bool tls_library_is_joined(const mbedtls_x509_name *part);

/* ---- tls_pair.c ---- */

/* Reads them. 0, or a negative errno and what is wrong with which file. */
int tls_pair_load(struct tls_config *c, const struct tls_pair_files *files, size_t count,
                  struct text *problem);

void tls_pair_free_all(struct tls_config *c);

/* Where no name is asked for, or one that we do not have: the first pair, and those for its first
 * name, so that mbedTLS finds one whose key the peer can do with. 0, or mbedTLS's error. */
int tls_pair_use_first(struct tls_config *c);

/* For mbedtls_ssl_conf_sni: all pairs for that name. */
int tls_pair_choose(void *context, mbedtls_ssl_context *ssl, const unsigned char *name, size_t len);

/* ---- tls_peer.c ---- */

/* Whether `name` is an IP address, for which no server name is sent. */
bool tls_peer_is_address(const char *name);

/* Whether the certificate is one for `name`: in its subject alternative names; the common name
 * does not count (RFC 6125 section 6.4.4). */
bool tls_peer_has_name(const mbedtls_x509_crt *cert, const char *name);

/* After the handshake. 0, or why the peer is not believed although mbedTLS has gone on: it has then
 * been sent an alert. `name` is that of the server, for a client. */
int tls_peer_check(const struct tls_config *config, mbedtls_ssl_context *ssl, const char *name);

/* `native` for a handshake that failed with `error`. */
int tls_peer_why(mbedtls_ssl_context *ssl, int error);

#endif
