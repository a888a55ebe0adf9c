/* What the TLS connections of one kind have in common: certificates, who is believed, which
 * algorithms. TLS 1.2 and up, ECDHE with AEAD only, no renegotiation.
 *
 * A server gives out tickets, with which a client resumes a session of the last hour: a handshake
 * without certificates. It does not if it asks clients for theirs. All names of a server have one
 * policy, so a ticket from one is good for another. The keys of the tickets belong to the
 * configuration and are forgotten with it. A client never resumes.
 *
 * Made once, read-only afterwards but for those keys, which mbedTLS guards with a lock. Each
 * connection made with it holds it, so that it can be replaced while there are some, in any
 * thread. Set-up reads files and takes some milliseconds. The files tls_*.c
 * here call mbedTLS for TLS, common/core/crypto.c and aead_speed.c for the rest; nobody else does.
 */
#ifndef TIDEGATE_TLS_CONFIG_H
#define TIDEGATE_TLS_CONFIG_H

#include "span.h"
#include "text.h"

#include <stdbool.h>

#define TLS_SYSTEM_CA_FILE "/etc/ssl/certs/ca-certificates.crt"

struct tls_config;

#define TLS_PAIRS_MAX 32

/* PEM files: the chain, our certificate first, and its key (RSA or EC). */
struct tls_pair_files {
    const char *cert_file, *key_file;
};

/* A client without a certificate is refused, or let in; one with a bad certificate is refused. The
 * order of the words of --client-verify. */
enum { TLS_CLIENT_REQUIRE, TLS_CLIENT_OPTIONAL };

struct tls_server_options {
    /* Who asks for a name (SNI) is shown the certificates for it; who asks for none, or for one
     * that we do not have, the first, and those that are for its first name. Where several will do
     * (RSA and ECDSA for one name) the peer's algorithms decide, then the order here. */
    struct tls_pair_files pairs[TLS_PAIRS_MAX];
    size_t pair_count; /* 1 at least */
    /* PEM, authorities of clients: they are asked for a certificate. NULL: they are not. */
    const char *client_ca_file;
    unsigned client_verify; /* TLS_CLIENT_... */
    /* Sent, without TLS, to a peer that speaks HTTP without TLS. Outlives the config. */
    struct span plain_answer;
};

struct tls_client_options {
    const char *ca_file; /* PEM; NULL: the system's */
    const char
        *server_name; /* to ask for and to be proved, in place of where we connect; or NULL */
    /* Ours, for a server that asks for one; cert_file NULL: we have none. */
    struct tls_pair_files pair;
    const char *pin_sha256; /* base64 of the SHA-256 of the peer's public key (SPKI), or NULL */
    bool is_insecure;       /* neither chain nor name is checked; a pin is */
    bool speaks_http;       /* ALPN http/1.1 */
};

/* 0 and `*out`, or a negative errno and one line for people appended to `problem`. */
int tls_config_new_server(const struct tls_server_options *options, struct tls_config **out,
                          struct text *problem);
int tls_config_new_client(const struct tls_client_options *options, struct tls_config **out,
                          struct text *problem);

/* Lets go of it; freed with the last connection. NULL is fine. */
void tls_config_free(struct tls_config *config);

/* How many certificates of ours it has (0 if `config` is NULL), and when the n-th chain, in the
 * order of the options, has its first certificate expire: seconds since the epoch. */
size_t tls_config_pair_count(const struct tls_config *config);
uint64_t tls_config_not_after(const struct tls_config *config, size_t n);

/* What went wrong, for people, from the `native` of a CAUSE_TLS: what is wrong with the peer's
 * certificate, or with what it sent. Appends to `out`. */
void tls_config_describe(int native, struct text *out);

/* Whether a text can be a pin. */
bool tls_config_is_pin(const char *text);

#endif
