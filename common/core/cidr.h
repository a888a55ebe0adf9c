/* A network of IP addresses, "10.0.0.0/8" or "2001:db8::/32"; an address alone is a network of one.
 * For rules: who is trusted, who may come in, where one may connect to. Text only: names are not
 * resolved.
 *
 * IPv4 and IPv6 stay apart: "::/0" is all of IPv6 and nothing of IPv4. IPv4-mapped addresses and
 * networks (::ffff:10.0.0.0/104) count as IPv4 (ip.h). */
#ifndef TIDEGATE_CIDR_H
#define TIDEGATE_CIDR_H

#include "ip.h"

struct cidr {
    struct ip network;
    unsigned prefix; /* bits of the 128 that are fixed: for IPv4, 96 more than is written */
};

/* Parses `s`. 0, or -EINVAL with one line for people in `why`: "10.0.0.1/8 has host bits set; the
 * network is 10.0.0.0/8". */
#define CIDR_WHY_MAX 160
int cidr_parse(const char *s, struct cidr *out, char why[CIDR_WHY_MAX]);

bool cidr_has(const struct cidr *c, const struct ip *ip);

/* Whether one of `count` networks has it; of none, none has. Linear in their number. */
bool cidr_list_has(const struct cidr *list, size_t count, const struct ip *ip);

/* The text form, always with its prefix. Returns `buffer`. */
#define CIDR_TEXT_MAX (IP_TEXT_MAX + 4)
char *cidr_format(const struct cidr *c, char buffer[CIDR_TEXT_MAX]);

#endif
