/* Where to listen, and how clients come there: [proxy+][ws://|wss://]ADDR, ADDR as address.h has it
 * for listening. Text only.
 *
 *   ws://    without TLS, whatever else is configured
 *   wss://   with TLS
 *   neither  with TLS if there is a certificate (--tls-cert)
 *   proxy+   a PROXY protocol header comes first, before TLS, on every connection */
#ifndef TIDEGATE_LISTEN_ADDRESS_H
#define TIDEGATE_LISTEN_ADDRESS_H

#include "address.h"

#include <stdbool.h>

enum listen_scheme { LISTEN_ANY, LISTEN_WS, LISTEN_WSS };

struct listen_address {
    struct address address;
    enum listen_scheme scheme;
    bool has_header; /* of the PROXY protocol */
};

/* 0, or -EINVAL with `*why` a static phrase for people. */
int listen_address_parse(const char *s, struct listen_address *out, const char **why);

/* Whether clients come with TLS, where there is a certificate or not. */
bool listen_address_has_tls(const struct listen_address *a, bool has_certificate);

/* The text form again. Returns `buffer`; LISTEN_ADDRESS_TEXT_MAX bytes always do. */
#define LISTEN_ADDRESS_TEXT_MAX (ADDRESS_TEXT_MAX + 16)
char *listen_address_format(const struct listen_address *a, char *buffer, size_t size);

#endif
