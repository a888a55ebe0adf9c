#include "target_rule.h"

#include "span.h"
#include "text.h"

#include <errno.h>
#include <string.h>

#define V4(bits) (96 + (bits)) /* of the mapped address */

/* ---- special addresses ---- */

static const struct cidr special_v4[] = {
    {{{[10] = 0xFF, 0xFF, 0}}, V4(8)},         /* this network, 0.0.0.0: this machine */
    {{{[10] = 0xFF, 0xFF, 127}}, V4(8)},       /* loopback */
    {{{[10] = 0xFF, 0xFF, 169, 254}}, V4(16)}, /* link-local */
    {{{[10] = 0xFF, 0xFF, 224}}, V4(4)},       /* multicast */
    {{{[10] = 0xFF, 0xFF, 240}}, V4(4)},       /* reserved, broadcast */
};

static const struct cidr special_v6[] = {
    {{{0}}, 96},          /* unspecified, loopback, IPv4-compatible */
    {{{0xFE, 0x80}}, 10}, /* link-local */
    {{{0xFF}}, 8},        /* multicast */
    {{{0x20, 0x02}}, 16}, /* 6to4: IPv4 inside */
};

static const struct cidr nat64 = {{{0x00, 0x64, 0xFF, 0x9B}}, 96}; /* RFC 6052: IPv4 inside */

static unsigned find_prefix(const struct cidr *blocks, size_t count, const struct ip *ip)
{
    for (size_t i = 0; i < count; i++)
        if (cidr_has(&blocks[i], ip))
            return blocks[i].prefix;
    return 0;
}

/* The prefix of the special block that an address is in; 0: in none. */
static unsigned special_prefix(const struct ip *ip)
{
    struct ip inside = {{[10] = 0xFF, 0xFF}};

    if (ip_is_v4(ip))
        return find_prefix(special_v4, array_count(special_v4), ip);
    if (!cidr_has(&nat64, ip))
        return find_prefix(special_v6, array_count(special_v6), ip);
    memcpy(inside.bytes + 12, ip->bytes + 12, 4);
    return find_prefix(special_v4, array_count(special_v4), &inside);
}

/* ---- rules ---- */

static int refuse(char why[TARGET_RULE_WHY_MAX], const char *phrase)
{
    struct text t;

    text_init(&t, why, TARGET_RULE_WHY_MAX);
    text_add(&t, phrase);
    return -EINVAL;
}

static bool parse_port(const char *s, size_t len, uint16_t *out)
{
    uint64_t number;

    if (!text_parse_number(s, len, UINT16_MAX, &number) || number == 0)
        return false;
    *out = (uint16_t)number;
    return true;
}

static bool parse_range(const char *s, size_t len, struct target_ports *out)
{
    const char *dash = memchr(s, '-', len);
    size_t first = dash != NULL ? (size_t)(dash - s) : len;

    if (!parse_port(s, first, &out->first))
        return false;
    out->last = out->first;
    return dash == NULL ||
           (parse_port(dash + 1, len - first - 1, &out->last) && out->first <= out->last);
}

static int parse_ports(const char *s, struct target_rule *out, char why[TARGET_RULE_WHY_MAX])
{
    if (strcmp(s, "*") == 0) {
        out->ports[out->port_count++] = (struct target_ports){1, UINT16_MAX};
        return 0;
    }
    for (;;) {
        size_t len = strcspn(s, ",");
        if (out->port_count == TARGET_RULE_PORTS_MAX)
            return refuse(why, "has more than 16 ports and ranges of ports: write two rules");
        if (!parse_range(s, len, &out->ports[out->port_count]))
            return refuse(why, "ports are '*', or numbers from 1 to 65535 and ranges, as in "
                               "80,443,8000-8999");
        out->port_count++;
        if (s[len] == '\0')
            return 0;
        s += len + 1;
    }
}

static bool parse_name(const char *host, struct target_rule *out)
{
    const char *name = strncmp(host, "*.", 2) == 0 ? host + 2 : host;
    size_t len = strlen(name);

    if (!target_is_name(name, len))
        return false;
    out->kind = name != host ? TARGET_RULE_SUFFIX : TARGET_RULE_NAME;
    for (size_t i = 0; i < len; i++)
        out->name[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] - 'A' + 'a') : name[i];
    return true;
}

/* Digits and dots, or with a prefix: whoever wrote it meant a network. */
static bool is_like_network(const char *host)
{
    return strchr(host, '/') != NULL || host[strspn(host, "0123456789.")] == '\0';
}

int target_rule_parse(const char *text, struct target_rule *out, char why[TARGET_RULE_WHY_MAX])
{
    bool is_bracketed = text[0] == '[';
    const char *end = is_bracketed ? strchr(text, ']') : strrchr(text, ':');
    const char *from = text + is_bracketed;
    char host[TARGET_NAME_MAX + 3]; /* "*." and a name */
    size_t len;

    *out = (struct target_rule){.kind = TARGET_RULE_NETWORK};
    why[0] = '\0';
    if (end == NULL || (is_bracketed && end[1] != ':'))
        return refuse(why, "a target is HOST:PORTS; ports may be '*'");
    len = (size_t)(end - from);
    if (len == 0 || len >= sizeof(host))
        return refuse(why, len == 0 ? "has no host" : "the host is too long");
    memcpy(host, from, len);
    host[len] = '\0';
    if (is_bracketed && strchr(host, ':') == NULL)
        return refuse(why, "brackets are for IPv6");
    if (!is_bracketed && strchr(host, ':') != NULL)
        return refuse(why, "IPv6 needs brackets, as in [2001:db8::/32]:443");
    if (is_bracketed || is_like_network(host)) {
        if (cidr_parse(host, &out->network, why) != 0)
            return -EINVAL;
    } else if (strcmp(host, "*") == 0) {
        return refuse(why, "'*' is no host: 0.0.0.0/0 and [::/0] are all addresses");
    } else if (!parse_name(host, out)) {
        return refuse(why, "no host name, *.name or network (10.0.0.0/8)");
    }
    return parse_ports(end + (is_bracketed ? 2 : 1), out, why);
}

/* ---- the checks ---- */

static bool has_port(const struct target_rule *rule, uint16_t port)
{
    for (unsigned i = 0; i < rule->port_count; i++)
        if (port >= rule->ports[i].first && port <= rule->ports[i].last)
            return true;
    return false;
}

static bool has_name(const struct target_rule *rule, const char *name)
{
    size_t len = strlen(name), suffix = strlen(rule->name);

    if (rule->kind == TARGET_RULE_NAME)
        return strcmp(name, rule->name) == 0;
    return rule->kind == TARGET_RULE_SUFFIX && len > suffix + 1 && name[len - suffix - 1] == '.' &&
           strcmp(name + len - suffix, rule->name) == 0;
}

static bool has_ip(const struct target_rule *rule, const struct ip *ip, unsigned special)
{
    return rule->kind == TARGET_RULE_NETWORK && rule->network.prefix >= special &&
           cidr_has(&rule->network, ip);
}

static bool may_ip(const struct target_rule *rules, size_t count, const struct target *target,
                   const struct ip *ip)
{
    unsigned special = special_prefix(ip);

    for (size_t i = 0; i < count; i++) {
        if (!has_port(&rules[i], target->address.port))
            continue;
        if (has_ip(&rules[i], ip, special))
            return true;
        if (special == 0 && !target->is_number && has_name(&rules[i], target->address.host))
            return true;
    }
    return false;
}

bool target_rule_may_ask(const struct target_rule *rules, size_t count, const struct target *target)
{
    if (target->is_number)
        return may_ip(rules, count, target, &target->ip);
    for (size_t i = 0; i < count; i++) {
        if (has_port(&rules[i], target->address.port) &&
            (rules[i].kind == TARGET_RULE_NETWORK || has_name(&rules[i], target->address.host)))
            return true;
    }
    return false;
}

bool target_rule_may_connect(const struct target_rule *rules, size_t count,
                             const struct target *target, const struct sockaddr *to)
{
    struct ip_endpoint e;

    return ip_endpoint_from_sockaddr(to, &e) && e.port == target->address.port &&
           (!target->is_number || ip_equals(&e.ip, &target->ip)) &&
           may_ip(rules, count, target, &e.ip);
}

bool target_rule_filter(void *check, const struct sockaddr *to)
{
    const struct target_check *c = check;

    return target_rule_may_connect(c->rules, c->count, c->target, to);
}
