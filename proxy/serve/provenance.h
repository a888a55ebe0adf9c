/* Where a client comes from, and where it wanted to: by its socket, by the PROXY protocol header of
 * a front, by the fields that fronts add to its request; and what of it a backend is told in a
 * PROXY protocol header of ours. Part of an opening: gone before the relay starts. */
#ifndef TIDEGATE_PROVENANCE_H
#define TIDEGATE_PROVENANCE_H

#include "../service/service.h"
#include "access/client_address.h"
#include "proxy_header.h"
#include "site.h"
#include "ws_head.h"

struct provenance {
    bool has_peer; /* false: a unix socket */
    struct ip_endpoint peer;
    const struct duplex *stream;        /* knows where it came to */
    struct proxy_header_reader *reader; /* NULL: no header was announced */
    bool is_awaited;                    /* the header, which is not complete */
    /* Who the client is, by all that is known so far. */
    struct client_address client;
};

/* Of a connection that has just come; `stream` outlives it. 0, or -ENOMEM; after either,
 * provenance_clear. */
int provenance_init(struct provenance *p, const struct service_arrival *arrival,
                    const struct duplex *stream);
void provenance_clear(struct provenance *p);

/* Reads of the header that is awaited, as proxy_header_feed does. After FAILED, `*problem` is one
 * line for people (static), and `*what` says which kind: bad bytes, or a peer that may not send
 * one. */
enum proxy_header_result provenance_feed(struct provenance *p, const struct site *site,
                                         struct span *in, enum cause_what *what,
                                         const char **problem);

/* The request has come, too. */
void provenance_read_request(struct provenance *p, const struct site *site, struct ws_head *head);

/* The client as the log has it: "203.0.113.7:4711", without the port if that is not known. False:
 * nothing is known but the socket's peer. */
bool provenance_client_name(const struct provenance *p, char buffer[IP_ENDPOINT_TEXT_MAX]);

/* The id that a front gave the connection, `*len` bytes; NULL: none, or one that is not all
 * printable ASCII. */
const char *provenance_unique_id(const struct provenance *p, size_t *len);

/* What the backend is told beside addresses. Version 2 only. */
struct provenance_facts {
    const struct duplex *tls; /* of the client; NULL: what its front says of its own, if it does */
    const char *authority;    /* the host that was asked for */
    const char *unique_id;
};

/* The header for a backend, of that version. Returns its length. */
size_t provenance_write(const struct provenance *p, unsigned version,
                        const struct provenance_facts *facts, uint8_t out[PROXY_HEADER_WRITE_MAX]);

#endif
