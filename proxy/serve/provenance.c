#include "provenance.h"

#include "stream.h"
#include "tls_identity.h"

#include <errno.h>
#include <string.h>

int provenance_init(struct provenance *p, const struct service_arrival *arrival,
                    const struct duplex *stream)
{
    *p =
        (struct provenance){.has_peer = arrival->has_peer, .peer = arrival->peer, .stream = stream};
    p->client = (struct client_address){.has_endpoint = p->has_peer, .endpoint = p->peer};
    p->is_awaited = arrival->at->has_header;
    if (!p->is_awaited)
        return 0;
    p->reader = proxy_header_reader_new();
    return p->reader == NULL ? -ENOMEM : 0;
}

void provenance_clear(struct provenance *p)
{
    proxy_header_reader_free(p->reader);
    p->reader = NULL;
}

/* ---- the header that came ---- */

/* NULL: none has. */
static const struct proxy_header *header_of(const struct provenance *p)
{
    return p->reader == NULL || p->is_awaited ? NULL : proxy_header_of(p->reader);
}

static bool speaks_for_client(const struct proxy_header *h)
{
    return h != NULL && !h->is_local;
}

/* Without a list, whoever reaches the listener: it was set up for fronts. */
static bool may_send_header(const struct provenance *p, const struct client_trust *trust)
{
    return trust->count == 0 || !p->has_peer ||
           cidr_list_has(trust->networks, trust->count, &p->peer.ip);
}

static void settle(struct provenance *p, const struct client_trust *trust,
                   const char *x_forwarded_for, const char *forwarded)
{
    const struct proxy_header *h = header_of(p);
    const struct ip_endpoint *from = p->has_peer ? &p->peer : NULL;

    if (speaks_for_client(h) && !h->has_endpoints) {
        /* The fields may be the client's own: nobody says whose they are. */
        p->client.doubt = "its front does not say who it is";
        return;
    }
    if (speaks_for_client(h))
        from = &h->source;
    client_address_find(trust, from, x_forwarded_for, forwarded, &p->client);
}

enum proxy_header_result provenance_feed(struct provenance *p, const struct site *site,
                                         struct span *in, enum cause_what *what,
                                         const char **problem)
{
    enum proxy_header_result result;

    *what = CAUSE_DENIED;
    *problem = "PROXY protocol header from a peer that is no trusted proxy";
    if (!may_send_header(p, &site->trust))
        return PROXY_HEADER_FAILED;
    result = proxy_header_feed(p->reader, in);
    if (result == PROXY_HEADER_FAILED) {
        *what = CAUSE_BAD_HANDSHAKE;
        *problem = proxy_header_problem(p->reader);
    } else if (result == PROXY_HEADER_DONE) {
        p->is_awaited = false;
        settle(p, &site->trust, NULL, NULL);
    }
    return result;
}

void provenance_read_request(struct provenance *p, const struct site *site, struct ws_head *head)
{
    settle(p, &site->trust, ws_head_field(head, "x-forwarded-for"),
           ws_head_field(head, "forwarded"));
}

/* ---- for the log ---- */

bool provenance_client_name(const struct provenance *p, char buffer[IP_ENDPOINT_TEXT_MAX])
{
    const struct ip_endpoint *e = &p->client.endpoint;

    if (!p->client.has_endpoint ||
        (p->has_peer && ip_equals(&e->ip, &p->peer.ip) && e->port == p->peer.port))
        return false;
    if (e->port == 0)
        ip_format(&e->ip, buffer);
    else
        ip_endpoint_format(e, buffer);
    return true;
}

const char *provenance_unique_id(const struct provenance *p, size_t *len)
{
    const struct proxy_header *h = header_of(p);

    if (!speaks_for_client(h) || h->unique_id.len == 0)
        return NULL;
    for (size_t i = 0; i < h->unique_id.len; i++)
        if (h->unique_id.data[i] <= ' ' || h->unique_id.data[i] > '~')
            return NULL;
    *len = h->unique_id.len;
    return h->unique_id.data;
}

/* ---- the header for a backend ---- */

static struct proxy_header_text text_of(const char *s)
{
    return (struct proxy_header_text){s, s == NULL ? 0 : strlen(s)};
}

/* What the client connected to, as far as that is known. */
static void add_destination(const struct provenance *p, struct proxy_header *out)
{
    const struct proxy_header *h = header_of(p);
    struct ip_endpoint local;

    if (speaks_for_client(h) && h->has_endpoints)
        out->destination = h->destination;
    else if (stream_local(p->stream, &local))
        out->destination = local;
}

static void add_tls(const struct provenance *p, const struct duplex *tls, struct text *name,
                    struct proxy_header *out)
{
    const struct proxy_header *h = header_of(p);

    if (tls != NULL) {
        tls_identity_common_name(tls, name);
        out->is_tls = true;
        out->is_client_verified = tls_identity_is_known(tls);
        out->tls_version = text_of(tls_identity_version(tls));
        out->tls_client_name = (struct proxy_header_text){name->data, name->len};
    } else if (speaks_for_client(h)) {
        out->is_tls = h->is_tls;
        out->is_client_verified = h->is_client_verified;
        out->tls_version = h->tls_version;
        out->tls_cipher = h->tls_cipher;
        out->tls_client_name = h->tls_client_name;
    }
}

size_t provenance_write(const struct provenance *p, unsigned version,
                        const struct provenance_facts *facts, uint8_t out[PROXY_HEADER_WRITE_MAX])
{
    char name[PROXY_HEADER_TEXT_MAX + 1];
    struct proxy_header h = {
        .has_endpoints = p->client.has_endpoint,
        .source = p->client.endpoint,
    };
    struct text t;

    if (h.has_endpoints)
        add_destination(p, &h);
    if (version == 1)
        return proxy_header_write_v1(&h, out);
    text_init(&t, name, sizeof(name));
    add_tls(p, facts->tls, &t, &h);
    h.authority = text_of(facts->authority);
    h.unique_id = text_of(facts->unique_id);
    return proxy_header_write_v2(&h, out);
}
