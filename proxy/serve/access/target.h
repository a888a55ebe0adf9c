/* Where a client asks to be connected to, on a route that lets it say so: /tcp/HOST/PORT.
 *
 *     /tcp/db.example.org/5432      a name: letters, digits, '-', '.'
 *     /tcp/10.0.0.5/5432            IPv4: four decimal numbers, nothing else that looks like one
 *     /tcp/2001:db8::1/5432         IPv6, as it is or in brackets: /tcp/[2001:db8::1]/5432
 *
 * Nothing is decoded: '%' is in no host and no port. What inet_aton(3) would make an address of
 * (127.1, 0x7f.1, 2130706433, 0177.0.0.1) is no name either: the resolver never sees it. Text only;
 * whether the target is allowed is another question (target_rule.h). */
#ifndef TIDEGATE_TARGET_H
#define TIDEGATE_TARGET_H

#include "address.h"
#include "ip.h"

#define TARGET_NAME_MAX 253 /* RFC 1035 2.3.4, less what is not text */

struct target {
    struct address address; /* lower case; an IP address in its one form, IPv4-mapped as IPv4 */
    bool is_number;         /* an address, not a name: */
    struct ip ip;           /* ... this one */
};

/* Parses a path of `len` bytes (ws_head_path). 0; -ENOENT (404) if it does not begin with "/tcp/";
 * -EINVAL (400) with `*problem`, one static line for people. */
int target_parse(const char *path, size_t len, struct target *out, const char **problem);

/* Whether it is a host name that cannot be taken for an address: labels of 1 to 63 letters, digits
 * and inner '-', the last of which is no number; no dot at the end. */
bool target_is_name(const char *s, size_t len);

#endif
