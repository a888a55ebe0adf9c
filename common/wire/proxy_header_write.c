#include "proxy_header.h"

#include "proxy_header_format.h"
#include "text.h"

#include <assert.h>
#include <string.h>

#define TEXT_TLV_MAX (TLV_HEAD_SIZE + PROXY_HEADER_TEXT_MAX)

_Static_assert(FIXED_SIZE + 2 * (V6_SIZE + PORT_SIZE) + 3 * TEXT_TLV_MAX + TLV_HEAD_SIZE +
                       PROXY_HEADER_ID_MAX + TLV_HEAD_SIZE + SSL_FIXED_SIZE + 3 * TEXT_TLV_MAX <=
                   PROXY_HEADER_WRITE_MAX,
               "everything fits");

/* An unknown destination ("::") is of the source's family. */
static bool is_v4(const struct proxy_header *h)
{
    static const struct ip unknown;
    const struct ip *to = &h->destination.ip;
    return ip_is_v4(&h->source.ip) && (ip_is_v4(to) || ip_equals(to, &unknown));
}

/* ---- version 1 ---- */

static void add_ip(struct text *t, const struct ip *ip, bool as_v4)
{
    char text[IP_TEXT_MAX];
    struct ip any = *ip;
    if (as_v4)
        memset(any.bytes + 10, 0xFF, 2); /* "::" becomes 0.0.0.0 */
    else if (ip_is_v4(ip))
        text_add(t, "::ffff:");
    text_addf(t, "%s ", ip_format(&any, text));
}

size_t proxy_header_write_v1(const struct proxy_header *h, uint8_t out[PROXY_HEADER_WRITE_MAX])
{
    char line[PROXY_HEADER_V1_MAX + 1];
    struct text t;
    text_init(&t, line, sizeof(line));
    text_add(&t, V1_PREFIX);
    if (h->has_endpoints) {
        text_add(&t, is_v4(h) ? "TCP4 " : "TCP6 ");
        add_ip(&t, &h->source.ip, is_v4(h));
        add_ip(&t, &h->destination.ip, is_v4(h));
        text_addf(&t, "%u %u\r\n", h->source.port, h->destination.port);
    } else {
        text_add(&t, "UNKNOWN\r\n");
    }
    assert(!t.overflowed);
    memcpy(out, line, t.len);
    return t.len;
}

/* ---- version 2 ---- */

/* Where to write; there is room for everything. */
static void put(uint8_t **p, const void *bytes, size_t len)
{
    memcpy(*p, bytes, len);
    *p += len;
}

static void put8(uint8_t **p, unsigned value)
{
    *(*p)++ = (uint8_t)value;
}

static void put16(uint8_t **p, size_t value)
{
    put8(p, (unsigned)(value >> 8) & 0xFF);
    put8(p, (unsigned)value & 0xFF);
}

static void put_text(uint8_t **p, unsigned type, struct proxy_header_text text, size_t max)
{
    if (text.len == 0 || text.len > max)
        return;
    put8(p, type);
    put16(p, text.len);
    put(p, text.data, text.len);
}

/* Lengths come last. */
static void set_length(uint8_t *length_at, const uint8_t *end)
{
    put16(&length_at, (size_t)(end - length_at) - 2);
}

static void put_ssl(uint8_t **p, const struct proxy_header *h)
{
    static const uint8_t verified[4] = {0}, not_verified[4] = {0, 0, 0, 1};
    put8(p, TLV_SSL);
    uint8_t *length_at = *p;
    put16(p, 0);
    put8(p, h->is_client_verified ? CLIENT_SSL | CLIENT_CERT_CONN | CLIENT_CERT_SESS : CLIENT_SSL);
    put(p, h->is_client_verified ? verified : not_verified, sizeof(verified));
    put_text(p, TLV_SSL_VERSION, h->tls_version, PROXY_HEADER_TEXT_MAX);
    if (h->is_client_verified)
        put_text(p, TLV_SSL_CN, h->tls_client_name, PROXY_HEADER_TEXT_MAX);
    put_text(p, TLV_SSL_CIPHER, h->tls_cipher, PROXY_HEADER_TEXT_MAX);
    set_length(length_at, *p);
}

size_t proxy_header_write_v2(const struct proxy_header *h, uint8_t out[PROXY_HEADER_WRITE_MAX])
{
    uint8_t *p = out;
    put(&p, SIGNATURE, SIGNATURE_SIZE);
    put8(&p, h->is_local ? COMMAND_LOCAL : COMMAND_PROXY);
    bool has_endpoints = h->has_endpoints && !h->is_local;
    put8(&p, !has_endpoints ? FAMILY_UNSPEC : is_v4(h) ? FAMILY_TCP4 : FAMILY_TCP6);
    uint8_t *length_at = p;
    put16(&p, 0);
    if (has_endpoints) {
        size_t size = is_v4(h) ? V4_SIZE : V6_SIZE;
        put(&p, h->source.ip.bytes + V6_SIZE - size, size);
        put(&p, h->destination.ip.bytes + V6_SIZE - size, size);
        put16(&p, h->source.port);
        put16(&p, h->destination.port);
    }
    if (!h->is_local) {
        put_text(&p, TLV_ALPN, h->alpn, PROXY_HEADER_TEXT_MAX);
        put_text(&p, TLV_AUTHORITY, h->authority, PROXY_HEADER_TEXT_MAX);
        put_text(&p, TLV_UNIQUE_ID, h->unique_id, PROXY_HEADER_ID_MAX);
        if (h->is_tls)
            put_ssl(&p, h);
        put_text(&p, TLV_NETNS, h->netns, PROXY_HEADER_TEXT_MAX);
    }
    set_length(length_at, p);
    return (size_t)(p - out);
}
