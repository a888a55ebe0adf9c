/* Certificates for tests: made when the test runs, so that none expires in the repository. */
#ifndef TIDEGATE_TLS_CERTS_H
#define TIDEGATE_TLS_CERTS_H

#include <stdbool.h>

/* PEM files in a folder of their own. The authority signs all of the others but `self`. */
struct tls_certs {
    char folder[64];
    char ca[96], other_ca[96];
    char good[96];     /* DNS:tidegate.test, DNS:*.wild.test, IP:127.0.0.1, IP:::1 */
    char expired[96];  /* the same names, until 2020 */
    char no_names[96]; /* CN=tidegate.test, no subject alternative names */
    char self[96];     /* signed by itself */
    char key[96];      /* of all but the authorities */
    char other_key[96];
    char pin[64]; /* of `key` */
};

/* False: could not be made. */
bool tls_certs_make(struct tls_certs *c);
void tls_certs_remove(struct tls_certs *c);

#endif
