/* Who the client is, where proxies stand in front: the address that limits, rules and the log go
 * by.
 *
 * Each proxy adds who it was connected by at the right end of X-Forwarded-For or Forwarded
 * (RFC 7239); what stands further left may be anybody's invention. So one goes from right to left,
 * beginning with the peer itself, as long as the address is that of a trusted proxy; the first that
 * is not is the client. Are all of them trusted, it is the leftmost, as with nginx.
 *
 * What cannot be read (garbage, "unknown", an obfuscated "_name", an element without "for") ends
 * the walk: nothing to its left is looked at. Who the client is, is then in doubt.
 *
 * Both fields at once: a proxy that writes one of them passes the other on as the client sent it.
 * Which one that is cannot be seen, so neither wins: both must say the same, or there is doubt.
 * That is also why a trusted proxy must write one of them itself. */
#ifndef TIDEGATE_CLIENT_ADDRESS_H
#define TIDEGATE_CLIENT_ADDRESS_H

#include "cidr.h"

/* Whose fields are believed. */
struct client_trust {
    const struct cidr *networks;
    size_t count;
    bool has_unix; /* a peer on a unix socket is a trusted proxy, too */
};

struct client_address {
    bool has_endpoint; /* false: a peer on a unix socket, of which nothing more is known */

    /* The client. Port 0 if the field does not tell it, which is the rule. In doubt: the proxy
     * nearest to the client that is known, or the peer where two fields disagree. */
    struct ip_endpoint endpoint;

    /* NULL, or why it is in doubt: a phrase for people, static. A rule that lets addresses in must
     * refuse then: `endpoint` is a proxy's, which may well be on its list. Limits may count it. */
    const char *doubt;
};

/* `peer` is who is connected to us, or whom its PROXY protocol header named, if it may send one;
 * NULL if it has no number (unix). The fields are as ws_head_field gives them, repeated ones joined
 * in order; NULL if absent. Linear in their length times the number of networks. */
void client_address_find(const struct client_trust *trust, const struct ip_endpoint *peer,
                         const char *x_forwarded_for, const char *forwarded,
                         struct client_address *out);

#endif
