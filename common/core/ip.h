/* An IP address as a number, and with a port: what sockets, rules and headers agree on.
 *
 * IPv4 is kept as its IPv4-mapped IPv6 address (RFC 4291 2.5.5.2), and a mapped address that comes
 * from outside counts as IPv4: one host has one value, however it is written or met. */
#ifndef TIDEGATE_IP_H
#define TIDEGATE_IP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sockaddr;

struct ip {
    uint8_t bytes[16]; /* network order; ::ffff:a.b.c.d for IPv4 */
};

struct ip_endpoint {
    struct ip ip;
    uint16_t port; /* host order; 0 if not known */
};

/* Exactly one address: "10.0.0.1" (four decimal numbers, no leading zeros) or "2001:db8::1". No
 * brackets, zone, port or blank. */
bool ip_parse(const char *s, size_t len, struct ip *out);

/* False if it is neither IPv4 nor IPv6 (a unix socket has no number). A zone is dropped. */
bool ip_endpoint_from_sockaddr(const struct sockaddr *address, struct ip_endpoint *out);

bool ip_is_v4(const struct ip *ip);
bool ip_equals(const struct ip *a, const struct ip *b);

/* "10.0.0.1", "2001:db8::1" in the form of RFC 5952. Returns `buffer`. */
#define IP_TEXT_MAX 46
char *ip_format(const struct ip *ip, char buffer[IP_TEXT_MAX]);

/* "10.0.0.1:80", "[2001:db8::1]:80". Returns `buffer`. */
#define IP_ENDPOINT_TEXT_MAX (IP_TEXT_MAX + 8)
char *ip_endpoint_format(const struct ip_endpoint *e, char buffer[IP_ENDPOINT_TEXT_MAX]);

#endif
