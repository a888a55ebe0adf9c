/* Reading. Byte by byte, so that no split of the input can change the verdict; what has a length is
 * looked at when all of it is there. */
#include "proxy_header.h"

#include "proxy_header_format.h"
#include "text.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct proxy_header_reader {
    enum proxy_header_result result;
    const char *problem;
    size_t used; /* bytes in raw */
    struct proxy_header header;
    uint8_t raw[PROXY_HEADER_MAX];
};

struct proxy_header_reader *proxy_header_reader_new(void)
{
    struct proxy_header_reader *r = malloc(sizeof(*r)); /* most of it is never touched: no calloc */
    if (r == NULL)
        return NULL;
    r->result = PROXY_HEADER_MORE;
    r->problem = "";
    r->used = 0;
    r->header = (struct proxy_header){0};
    return r;
}

void proxy_header_reader_free(struct proxy_header_reader *r)
{
    free(r);
}

static void fail(struct proxy_header_reader *r, const char *problem)
{
    r->result = PROXY_HEADER_FAILED;
    r->problem = problem;
}

/* ---- version 1 ---- */

/* The next word of a line that ends at `end`; behind it is one space or the end. */
static struct proxy_header_text next_word(const char **p, const char *end)
{
    struct proxy_header_text word = {*p, 0};
    while (*p + word.len < end && word.data[word.len] != ' ')
        word.len++;
    *p += word.len;
    return word;
}

static bool skip_space(const char **p, const char *end)
{
    if (*p == end || **p != ' ')
        return false;
    (*p)++;
    return true;
}

static bool is_word(struct proxy_header_text word, const char *expected)
{
    return word.len == strlen(expected) && memcmp(word.data, expected, word.len) == 0;
}

static bool parse_v1_ip(const char **p, const char *end, bool is_v6, struct ip *out)
{
    if (!skip_space(p, end))
        return false;
    struct proxy_header_text word = next_word(p, end);
    return (memchr(word.data, ':', word.len) != NULL) == is_v6 &&
           ip_parse(word.data, word.len, out);
}

static bool parse_v1_port(const char **p, const char *end, uint16_t *out)
{
    if (!skip_space(p, end))
        return false;
    struct proxy_header_text word = next_word(p, end);
    uint64_t port;
    if (!text_parse_number(word.data, word.len, UINT16_MAX, &port))
        return false;
    *out = (uint16_t)port;
    return true;
}

/* The line is there, CR LF too. */
static void parse_v1(struct proxy_header_reader *r)
{
    struct proxy_header *h = &r->header;
    const char *p = (const char *)r->raw + strlen(V1_PREFIX);
    const char *end = (const char *)r->raw + r->used - 2;
    h->version = 1;
    struct proxy_header_text family = next_word(&p, end);
    if (is_word(family, "UNKNOWN")) { /* what may stand behind it is to be ignored */
        r->result = PROXY_HEADER_DONE;
        return;
    }
    bool is_v6 = is_word(family, "TCP6");
    if (!is_v6 && !is_word(family, "TCP4")) {
        fail(r, "PROXY protocol: neither TCP4 nor TCP6 nor UNKNOWN");
        return;
    }
    if (!parse_v1_ip(&p, end, is_v6, &h->source.ip) ||
        !parse_v1_ip(&p, end, is_v6, &h->destination.ip)) {
        fail(r, "PROXY protocol: malformed address");
        return;
    }
    if (!parse_v1_port(&p, end, &h->source.port) || !parse_v1_port(&p, end, &h->destination.port) ||
        p != end) {
        fail(r, "PROXY protocol: malformed ports");
        return;
    }
    h->has_endpoints = true;
    r->result = PROXY_HEADER_DONE;
}

static void scan_v1(struct proxy_header_reader *r)
{
    size_t at = r->used - 1;
    uint8_t c = r->raw[at];
    if (at < strlen(V1_PREFIX)) {
        if (c != (uint8_t)V1_PREFIX[at])
            fail(r, "no PROXY protocol header");
    } else if (r->raw[at - 1] == '\r') {
        if (c != '\n')
            fail(r, "PROXY protocol: CR without LF");
        else
            parse_v1(r);
    } else if (c == '\n') {
        fail(r, "PROXY protocol: LF without CR");
    } else if (r->used == PROXY_HEADER_V1_MAX) {
        fail(r, "PROXY protocol: line too long");
    }
}

/* ---- version 2 ---- */

static size_t number16(const uint8_t *p)
{
    return (size_t)p[0] << 8 | p[1];
}

static uint32_t number32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Castagnoli's polynomial, bits reversed (RFC 3720 B.4). Bit by bit: once a connection, 4 KiB. */
static uint32_t crc32c(const uint8_t *p, size_t len)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ ((crc & 1) != 0 ? UINT32_C(0x82F63B78) : 0);
    }
    return ~crc;
}

struct tlv {
    unsigned type;
    const uint8_t *value;
    size_t len;
};

/* A run of TLVs: true and the next one; false at the end, or, with `*is_whole` false, where one is
 * cut short. */
static bool next_tlv(const uint8_t **p, const uint8_t *end, struct tlv *out, bool *is_whole)
{
    size_t left = (size_t)(end - *p);
    *is_whole = left == 0 || (left >= TLV_HEAD_SIZE && number16(*p + 1) <= left - TLV_HEAD_SIZE);
    if (left == 0 || !*is_whole)
        return false;
    *out = (struct tlv){(*p)[0], *p + TLV_HEAD_SIZE, number16(*p + 1)};
    *p += TLV_HEAD_SIZE + out->len;
    return true;
}

/* Of two values, programs on the way may have looked at the other. */
static void take_text(struct proxy_header_reader *r, const struct tlv *tlv,
                      struct proxy_header_text *out)
{
    if (out->data != NULL)
        fail(r, "PROXY protocol: a value is there twice");
    *out = (struct proxy_header_text){(const char *)tlv->value, tlv->len};
}

static void take_ssl(struct proxy_header_reader *r, const struct tlv *tlv)
{
    struct proxy_header *h = &r->header;
    if (tlv->len < SSL_FIXED_SIZE) {
        fail(r, "PROXY protocol: malformed SSL value");
        return;
    }
    unsigned client = tlv->value[0];
    bool has_certificate = (client & (CLIENT_CERT_CONN | CLIENT_CERT_SESS)) != 0;
    h->is_tls = (client & CLIENT_SSL) != 0;
    h->is_client_verified = h->is_tls && has_certificate && number32(tlv->value + 1) == 0;

    const uint8_t *p = tlv->value + SSL_FIXED_SIZE;
    struct tlv sub;
    bool is_whole;
    while (r->result != PROXY_HEADER_FAILED &&
           next_tlv(&p, tlv->value + tlv->len, &sub, &is_whole)) {
        if (sub.type == TLV_SSL_VERSION)
            take_text(r, &sub, &h->tls_version);
        else if (sub.type == TLV_SSL_CIPHER)
            take_text(r, &sub, &h->tls_cipher);
        else if (sub.type == TLV_SSL_CN)
            take_text(r, &sub, &h->tls_client_name);
    }
    if (r->result != PROXY_HEADER_FAILED && !is_whole)
        fail(r, "PROXY protocol: malformed SSL value");
    if (!h->is_client_verified)
        h->tls_client_name = (struct proxy_header_text){0};
}

/* Over the whole header, with zeros in the place of the sum. */
static void check_crc32c(struct proxy_header_reader *r, const struct tlv *tlv)
{
    if (tlv->len != CRC32C_SIZE) {
        fail(r, "PROXY protocol: malformed CRC32C");
        return;
    }
    uint32_t told = number32(tlv->value);
    memset(r->raw + (tlv->value - r->raw), 0, CRC32C_SIZE);
    if (crc32c(r->raw, r->used) != told)
        fail(r, "PROXY protocol: wrong CRC32C");
}

static void take_tlv(struct proxy_header_reader *r, const struct tlv *tlv, bool *has_crc,
                     bool *has_ssl)
{
    struct proxy_header *h = &r->header;
    bool *seen = tlv->type == TLV_CRC32C ? has_crc : tlv->type == TLV_SSL ? has_ssl : NULL;
    if (seen != NULL && *seen) {
        fail(r, "PROXY protocol: a value is there twice");
        return;
    }
    if (seen != NULL)
        *seen = true;
    switch (tlv->type) {
    case TLV_ALPN:
        take_text(r, tlv, &h->alpn);
        break;
    case TLV_AUTHORITY:
        take_text(r, tlv, &h->authority);
        break;
    case TLV_CRC32C:
        check_crc32c(r, tlv);
        break;
    case TLV_UNIQUE_ID:
        if (tlv->len > PROXY_HEADER_ID_MAX)
            fail(r, "PROXY protocol: UNIQUE_ID too long");
        else
            take_text(r, tlv, &h->unique_id);
        break;
    case TLV_SSL:
        take_ssl(r, tlv);
        break;
    case TLV_NETNS:
        take_text(r, tlv, &h->netns);
        break;
    default: /* NOOP, and what is unknown */
        break;
    }
}

static void parse_tlvs(struct proxy_header_reader *r, size_t begin)
{
    const uint8_t *p = r->raw + begin;
    struct tlv tlv;
    bool is_whole, has_crc = false, has_ssl = false;
    while (r->result != PROXY_HEADER_FAILED && next_tlv(&p, r->raw + r->used, &tlv, &is_whole))
        take_tlv(r, &tlv, &has_crc, &has_ssl);
    if (r->result != PROXY_HEADER_FAILED && !is_whole)
        fail(r, "PROXY protocol: a value is cut short");
}

/* Source, destination, their ports. */
static void take_endpoints(struct proxy_header *h, const uint8_t *p, size_t size)
{
    struct ip_endpoint *ends[] = {&h->source, &h->destination};
    for (size_t i = 0; i < array_count(ends); i++) {
        uint8_t *ip = ends[i]->ip.bytes;
        if (size == V4_SIZE)
            memset(ip + 10, 0xFF, 2); /* the rest is zero: IPv4-mapped */
        memcpy(ip + V6_SIZE - size, p + i * size, size);
        ends[i]->port = (uint16_t)number16(p + 2 * size + i * PORT_SIZE);
    }
    h->has_endpoints = true;
}

/* Bytes of addresses that a family begins with, or -1 if it is none. */
static int size_of_addresses(unsigned family)
{
    switch (family) {
    case FAMILY_UNSPEC:
        return 0;
    case FAMILY_TCP4:
    case FAMILY_UDP4:
        return 2 * (V4_SIZE + PORT_SIZE);
    case FAMILY_TCP6:
    case FAMILY_UDP6:
        return 2 * (V6_SIZE + PORT_SIZE);
    case FAMILY_UNIX_STREAM:
    case FAMILY_UNIX_DATAGRAM:
        return 2 * UNIX_PATH_SIZE;
    default:
        return -1;
    }
}

/* All of it is there, and its length fits its family. */
static void parse_v2(struct proxy_header_reader *r)
{
    struct proxy_header *h = &r->header;
    unsigned family = r->raw[SIGNATURE_SIZE + 1];
    h->version = 2;
    h->is_local = r->raw[SIGNATURE_SIZE] == COMMAND_LOCAL;
    r->result = PROXY_HEADER_DONE;
    if (h->is_local || family == FAMILY_UNSPEC)
        return;
    if (family == FAMILY_TCP4 || family == FAMILY_TCP6)
        take_endpoints(h, r->raw + FIXED_SIZE, family == FAMILY_TCP4 ? V4_SIZE : V6_SIZE);
    parse_tlvs(r, FIXED_SIZE + (size_t)size_of_addresses(family));
}

/* A family does not matter to LOCAL. */
static void scan_fixed_v2(struct proxy_header_reader *r)
{
    size_t at = r->used - 1;
    unsigned c = r->raw[at];
    bool is_local = at > SIGNATURE_SIZE && r->raw[SIGNATURE_SIZE] == COMMAND_LOCAL;
    if (at < SIGNATURE_SIZE) {
        if (c != (uint8_t)SIGNATURE[at])
            fail(r, "no PROXY protocol header");
    } else if (at == SIGNATURE_SIZE) {
        if (c != COMMAND_LOCAL && c != COMMAND_PROXY)
            fail(r, "PROXY protocol: unknown version or command");
    } else if (at == SIGNATURE_SIZE + 1) {
        if (!is_local && size_of_addresses(c) < 0)
            fail(r, "PROXY protocol: unknown family");
    } else if (at == FIXED_SIZE - 1) {
        size_t len = number16(r->raw + at - 1);
        if (len > PROXY_HEADER_MAX - FIXED_SIZE)
            fail(r, "PROXY protocol: header too long");
        else if (!is_local && len < (size_t)size_of_addresses(r->raw[SIGNATURE_SIZE + 1]))
            fail(r, "PROXY protocol: too short for its addresses");
    }
}

static void scan_v2(struct proxy_header_reader *r)
{
    if (r->used <= FIXED_SIZE)
        scan_fixed_v2(r);
    if (r->result == PROXY_HEADER_MORE && r->used >= FIXED_SIZE &&
        r->used == FIXED_SIZE + number16(r->raw + FIXED_SIZE - 2))
        parse_v2(r);
}

/* ---- either ---- */

enum proxy_header_result proxy_header_feed(struct proxy_header_reader *r, struct span *in)
{
    while (r->result == PROXY_HEADER_MORE && in->len > 0) {
        assert(r->used < PROXY_HEADER_MAX);
        r->raw[r->used++] = in->data[0];
        in->data++;
        in->len--;
        if (r->raw[0] == (uint8_t)V1_PREFIX[0])
            scan_v1(r);
        else
            scan_v2(r);
    }
    return r->result;
}

const struct proxy_header *proxy_header_of(const struct proxy_header_reader *r)
{
    assert(r->result == PROXY_HEADER_DONE);
    return &r->header;
}

const char *proxy_header_problem(const struct proxy_header_reader *r)
{
    return r->problem;
}
