/* Certificates for tests: made when the test runs, so that none expires in the repository. */
#ifndef TIDEGATE_TLS_CERTS_H
#define TIDEGATE_TLS_CERTS_H

#include <stdbool.h>

#define TLS_CERTS_PATH_MAX 96

/* PEM files in a folder of their own. `ca` signs all of the others unless it says otherwise. */
#define TLS_CERTS_FILES(X)                                                                         \
    X(ca)                                                                                          \
    X(other_ca)                                                                                    \
    X(good)     /* DNS:tidegate.test, DNS:*.wild.test, IP:127.0.0.1, IP:::1 */                     \
    X(expired)  /* the same names, until 2020 */                                                   \
    X(no_names) /* CN=tidegate.test, no subject alternative names */                               \
    X(self)     /* signed by itself */                                                             \
    X(second)   /* DNS:second.test, of `other_key` */                                              \
    X(rsa)      /* the names of `good`, of `rsa_key`, signed by itself; tls_certs_make_rsa() */    \
    X(client)   /* alice: DNS:alice.test, URI:spiffe://test/alice, IP, email; for clients */       \
    X(client_any_use)   /* without extended key usage */                                           \
    X(client_other_use) /* for servers only */                                                     \
    X(client_expired)                                                                              \
    X(client_stranger) /* signed by `other_ca` */                                                  \
    X(client_nasty)    /* names that must not pass for others */                                   \
    X(client_many)     /* more names than a log line takes */                                      \
    X(key)             /* of all but the authorities, and those that say otherwise */              \
    X(other_key)                                                                                   \
    X(rsa_key)

struct tls_certs {
    char folder[64];
    char pin[64]; /* of `key` */
#define TLS_CERTS_MEMBER(name) char name[TLS_CERTS_PATH_MAX];
    TLS_CERTS_FILES(TLS_CERTS_MEMBER)
#undef TLS_CERTS_MEMBER
};

/* False: could not be made. */
bool tls_certs_make(struct tls_certs *c);
bool tls_certs_make_rsa(struct tls_certs *c); /* afterwards; takes a second */
void tls_certs_remove(struct tls_certs *c);

#endif
