#include "client_address.h"

#include "span.h"
#include "text.h"

#include <string.h>

#define PORT_DIGITS_MAX 5

static const char malformed[] = "malformed", hidden[] = "a proxy does not tell its client";

/* A run of characters of a field. */
struct piece {
    const char *at;
    size_t len;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct piece trim(struct piece p)
{
    while (p.len > 0 && is_blank(p.at[0])) {
        p.at++;
        p.len--;
    }
    while (p.len > 0 && is_blank(p.at[p.len - 1]))
        p.len--;
    return p;
}

static bool begins_with(struct piece p, char c)
{
    return p.len > 0 && p.at[0] == c;
}

static bool is_word(struct piece p, const char *word)
{
    return text_equals_nocase(p.at, p.len, word);
}

/* ---- one node: "192.0.2.43", "192.0.2.43:47011", "2001:db8::1", "[2001:db8::1]:4711" ---- */

static bool is_obfuscated(struct piece p)
{
    return begins_with(p, '_') && p.len > 1 &&
           strspn(p.at, "0123456789._-"
                        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") >= p.len;
}

/* Nothing, ":4711" or ":_hidden" (RFC 7239 6). */
static bool read_port(struct piece p, uint16_t *out)
{
    uint64_t port = 0;
    if (p.len == 0)
        return true;
    struct piece number = {p.at + 1, p.len - 1};
    if (!begins_with(p, ':'))
        return false;
    if (is_obfuscated(number))
        return true;
    if (number.len > PORT_DIGITS_MAX ||
        !text_parse_number(number.at, number.len, UINT16_MAX, &port))
        return false;
    *out = (uint16_t)port;
    return true;
}

static bool read_ip(struct piece p, bool is_v6, struct ip_endpoint *out)
{
    return (memchr(p.at, ':', p.len) != NULL) == is_v6 && ip_parse(p.at, p.len, &out->ip);
}

/* False if it is no address. */
static bool read_node(struct piece p, struct ip_endpoint *out)
{
    *out = (struct ip_endpoint){.port = 0};
    if (p.len == 0)
        return false;
    if (begins_with(p, '[')) {
        const char *end = memchr(p.at, ']', p.len);
        if (end == NULL)
            return false;
        struct piece ip = {p.at + 1, (size_t)(end - p.at) - 1};
        struct piece port = {end + 1, p.len - ip.len - 2};
        return read_ip(ip, true, out) && read_port(port, &out->port);
    }
    if (ip_parse(p.at, p.len, &out->ip))
        return true;
    const char *colon = memchr(p.at, ':', p.len);
    if (colon == NULL)
        return false;
    struct piece ip = {p.at, (size_t)(colon - p.at)}, port = {colon, p.len - ip.len};
    return read_ip(ip, false, out) && read_port(port, &out->port);
}

/* Why a node that is no address is none. */
static const char *doubt_about(struct piece p)
{
    struct piece name = {p.at, 0};
    while (name.len < p.len && p.at[name.len] != ':')
        name.len++;
    uint16_t ignored;
    struct piece port = {p.at + name.len, p.len - name.len};
    if ((is_word(name, "unknown") || is_obfuscated(name)) && read_port(port, &ignored))
        return hidden;
    return malformed;
}

/* ---- Forwarded: for=192.0.2.43;proto=http, for="[2001:db8::1]:4711" ---- */

/* Takes one "name=value" off the front, and the ';' behind it. False if it is none. */
static bool take_pair(struct piece *from, struct piece *name, struct piece *value)
{
    const char *p = from->at, *end = from->at + from->len;
    name->at = p;
    while (p < end && *p != '=' && *p != ';' && *p != '"' && !is_blank(*p))
        p++;
    name->len = (size_t)(p - name->at);
    if (name->len == 0 || p == end || *p != '=')
        return false;
    p++;
    bool is_quoted = p < end && *p == '"';
    value->at = is_quoted ? ++p : p;
    while (p < end && (is_quoted ? *p != '"' : *p != ';' && *p != '"' && !is_blank(*p)))
        p += is_quoted && *p == '\\' && p + 1 < end ? 2 : 1;
    value->len = (size_t)(p - value->at);
    if (is_quoted) {
        if (p == end)
            return false;
        p++;
    }
    *from = trim((struct piece){p, (size_t)(end - p)});
    if (from->len == 0)
        return true;
    if (!begins_with(*from, ';'))
        return false;
    *from = trim((struct piece){from->at + 1, from->len - 1});
    return true;
}

/* One element. NULL and an address, or why there is none. */
static const char *read_forwarded(struct piece element, struct ip_endpoint *out)
{
    struct piece name, value, node = {NULL, 0};
    if (element.len == 0)
        return malformed;
    while (element.len > 0) {
        if (!take_pair(&element, &name, &value))
            return malformed;
        if (!is_word(name, "for"))
            continue;
        if (node.at != NULL) /* twice */
            return malformed;
        node = value;
    }
    if (node.at == NULL)
        return hidden;
    return read_node(node, out) ? NULL : doubt_about(node);
}

static const char *read_x_forwarded_for(struct piece element, struct ip_endpoint *out)
{
    return read_node(element, out) ? NULL : doubt_about(element);
}

/* ---- from right to left ---- */

static bool is_escaped(const char *list, size_t at)
{
    size_t backslashes = 0;
    while (backslashes < at && list[at - 1 - backslashes] == '\\')
        backslashes++;
    return backslashes % 2 == 1;
}

/* The element that ends at `*len`, which becomes the place behind the comma before it, or 0. From
 * the right, because a quote that the client has left open may not swallow what a proxy has added:
 * the quotes of what a proxy wrote are paired. Where they are not, the element turns out to be
 * malformed. */
static struct piece take_last(const char *list, size_t *len)
{
    size_t end = *len, begin = end;
    bool is_inside = false;
    while (begin > 0 && (is_inside || list[begin - 1] != ',')) {
        begin--;
        if (list[begin] == '"' && (!is_inside || !is_escaped(list, begin)))
            is_inside = !is_inside;
    }
    *len = begin;
    return trim((struct piece){list + begin, end - begin});
}

static bool is_trusted(const struct client_trust *trust, const struct ip_endpoint *e)
{
    return cidr_list_has(trust->networks, trust->count, &e->ip);
}

/* From a peer that is trusted. An empty field is one malformed element. */
static void walk(const struct client_trust *trust, const char *list,
                 const char *(*read)(struct piece element, struct ip_endpoint *out),
                 struct client_address *c)
{
    size_t len = strlen(list);
    for (;;) {
        struct ip_endpoint next;
        c->doubt = read(take_last(list, &len), &next);
        if (c->doubt != NULL)
            return;
        c->has_endpoint = true;
        c->endpoint = next;
        if (len == 0 || !is_trusted(trust, &next))
            return;
        len--; /* the comma */
    }
}

static bool is_same(const struct client_address *a, const struct client_address *b)
{
    return a->doubt == NULL && b->doubt == NULL && ip_equals(&a->endpoint.ip, &b->endpoint.ip);
}

void client_address_find(const struct client_trust *trust, const struct ip_endpoint *peer,
                         const char *x_forwarded_for, const char *forwarded,
                         struct client_address *out)
{
    *out = (struct client_address){.has_endpoint = peer != NULL};
    if (peer != NULL)
        out->endpoint = *peer;
    if (peer != NULL ? !is_trusted(trust, peer) : !trust->has_unix)
        return;
    struct client_address x = *out, f = *out;
    if (x_forwarded_for != NULL)
        walk(trust, x_forwarded_for, read_x_forwarded_for, &x);
    if (forwarded != NULL)
        walk(trust, forwarded, read_forwarded, &f);
    if (x_forwarded_for == NULL)
        *out = f;
    else if (forwarded == NULL || is_same(&x, &f))
        *out = x;
    else
        out->doubt = "X-Forwarded-For and Forwarded do not agree";
}
