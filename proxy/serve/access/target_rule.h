/* The allow list for targets that clients name (target.h). A rule is a host and ports:
 *
 *     db.example.org:5432           this name
 *     *.example.org:80,443          names below it, at any depth; not itself
 *     10.0.0.0/8:8000-8999          addresses of a network
 *     10.0.0.5:*                    one address, any port
 *     [2001:db8::/32]:443           IPv6 in brackets
 *
 * Who may connect where, decided twice: by the name before it is resolved, by the address after it
 * was, and the address that was looked at is the one that is connected to (connect_filter).
 *
 * | the client asks for | resolved if | connected to an address if |
 * |---|---|---|
 * | a name with a name rule | always | it is not special, or a network rule has it |
 * | another name | there is a network rule for the port | a network rule has it |
 * | an address | | a network rule has it |
 *
 * Special: this machine and its link, where nobody outside should get by a name that resolves
 * oddly: loopback, 0.0.0.0/8 and ::, link-local (cloud metadata are there), multicast, reserved;
 * also as IPv4 in IPv6 (mapped, compatible, NAT64, 6to4). A network rule has a special address only
 * if all of it lies in that special block: 0.0.0.0/0 is "the internet", not 127.0.0.1; 127.0.0.0/8
 * or 127.0.0.1 says so. Private networks (10/8, fd00::/8) are not special: they are what names of
 * one's own resolve to. */
#ifndef TIDEGATE_TARGET_RULE_H
#define TIDEGATE_TARGET_RULE_H

#include "cidr.h"
#include "target.h"

#define TARGET_RULE_PORTS_MAX 16

enum target_rule_kind { TARGET_RULE_NAME, TARGET_RULE_SUFFIX, TARGET_RULE_NETWORK };

struct target_ports {
    uint16_t first, last;
};

struct target_rule {
    enum target_rule_kind kind;
    char name[TARGET_NAME_MAX + 1]; /* lower case; SUFFIX: without "*." */
    struct cidr network;
    unsigned port_count;
    struct target_ports ports[TARGET_RULE_PORTS_MAX];
};

/* Parses one rule, HOST:PORTS; PORTS is '*' or numbers and ranges N-M, with commas between them (so
 * a list of rules is separated by blanks). 0, or -EINVAL with one line for people in `why`. */
#define TARGET_RULE_WHY_MAX CIDR_WHY_MAX
int target_rule_parse(const char *text, struct target_rule *out, char why[TARGET_RULE_WHY_MAX]);

/* Before anything is done for the client: whether a name may be resolved, an address be connected
 * to. If not: 403, and the resolver is not asked. */
bool target_rule_may_ask(const struct target_rule *rules, size_t count,
                         const struct target *target);

/* Whether a connection to this address may be made for who asked for `target`. */
bool target_rule_may_connect(const struct target_rule *rules, size_t count,
                             const struct target *target, const struct sockaddr *to);

/* The same for connect_filter, whose `arg` is one of these. If all addresses are refused, connect.h
 * says DENIED: 403 again, in the same words, so that nobody learns what a name resolves to. */
struct target_check {
    const struct target_rule *rules;
    size_t count;
    const struct target *target;
};
bool target_rule_filter(void *check, const struct sockaddr *to);

#endif
