/* The PROXY protocol, versions 1 and 2: what a proxy sends ahead of a connection's own bytes, so
 * that the next one knows who the client is. Bytes in, a header out, and back; no I/O.
 *
 * Whoever may connect can claim anything here: read it only where a header was announced (it is
 * never guessed at) and only from a peer that is trusted.
 *
 * Texts are as the peer sent them: bytes, neither terminated nor checked. Escape them in a log. */
#ifndef TIDEGATE_PROXY_HEADER_H
#define TIDEGATE_PROXY_HEADER_H

#include "ip.h"
#include "span.h"

#define PROXY_HEADER_V1_MAX    107  /* with CR LF, as the protocol says */
#define PROXY_HEADER_MAX       4096 /* all of version 2, which allows 65,551: ours */
#define PROXY_HEADER_ID_MAX    128  /* UNIQUE_ID, as the protocol says */
#define PROXY_HEADER_TEXT_MAX  255  /* of any other text that is written */
#define PROXY_HEADER_WRITE_MAX 2048

struct proxy_header_text {
    const char *data; /* NULL if it was not there */
    size_t len;
};

struct proxy_header {
    unsigned version; /* 1 or 2 */

    /* The peer speaks for itself (a health check): nothing else is filled in. */
    bool is_local;

    /* False for LOCAL, UNKNOWN, unix sockets and datagrams: the connection's own addresses count.
     */
    bool has_endpoints;
    struct ip_endpoint source;      /* the client */
    struct ip_endpoint destination; /* what it connected to; to write, "::" if that is not known */

    /* Version 2 only. The host name that was asked for; which connection it was. */
    struct proxy_header_text alpn, authority, unique_id, netns;

    /* Version 2 only: the client came by TLS. The name is the common name of its certificate, told
     * only if that was verified. */
    bool is_tls, is_client_verified;
    struct proxy_header_text tls_version, tls_cipher, tls_client_name;
};

/* ---- reading ---- */

struct proxy_header_reader; /* one heap block with room for the largest header */

struct proxy_header_reader *proxy_header_reader_new(void); /* NULL when out of memory */
void proxy_header_reader_free(struct proxy_header_reader *r);

enum proxy_header_result {
    PROXY_HEADER_MORE,  /* all of `in` consumed, feed more */
    PROXY_HEADER_DONE,  /* complete; `in` is what follows it */
    PROXY_HEADER_FAILED /* proxy_header_problem says why; close the connection */
};

/* Consumes from the front of `*in`. Fails at the first byte that no header can have there.
 *
 * Strict: version 1 has single spaces and plain decimal numbers; of version 2, unknown commands and
 * families, lengths that do not add up, a wrong CRC32C and a value that is there twice are refused,
 * unknown TLVs ignored, TLVs without a known family too. */
enum proxy_header_result proxy_header_feed(struct proxy_header_reader *r, struct span *in);

/* After DONE; valid until the reader is freed. */
const struct proxy_header *proxy_header_of(const struct proxy_header_reader *r);

/* After FAILED: one line for people; static. */
const char *proxy_header_problem(const struct proxy_header_reader *r);

/* ---- writing ---- */

/* Write `h` and return the length. IPv4 and IPv6 in one header: both are written as IPv6. Without
 * endpoints version 1 says UNKNOWN, version 2 UNSPEC. Version 2 leaves out an empty text and one
 * that is longer than PROXY_HEADER_TEXT_MAX, or PROXY_HEADER_ID_MAX. */
size_t proxy_header_write_v1(const struct proxy_header *h, uint8_t out[PROXY_HEADER_WRITE_MAX]);
size_t proxy_header_write_v2(const struct proxy_header *h, uint8_t out[PROXY_HEADER_WRITE_MAX]);

#endif
