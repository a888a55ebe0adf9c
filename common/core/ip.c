#include "ip.h"

#include "text.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

_Static_assert(IP_TEXT_MAX >= INET6_ADDRSTRLEN, "inet_ntop's longest");

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

static void set_v4(struct ip *ip, const void *four)
{
    memcpy(ip->bytes, mapped, sizeof(mapped));
    memcpy(ip->bytes + sizeof(mapped), four, 4);
}

bool ip_parse(const char *s, size_t len, struct ip *out)
{
    char number[IP_TEXT_MAX];
    uint8_t four[4];
    if (len >= sizeof(number) || memchr(s, '\0', len) != NULL)
        return false;
    memcpy(number, s, len);
    number[len] = '\0';
    if (inet_pton(AF_INET, number, four) == 1) {
        set_v4(out, four);
        return true;
    }
    return inet_pton(AF_INET6, number, out->bytes) == 1;
}

bool ip_endpoint_from_sockaddr(const struct sockaddr *address, struct ip_endpoint *out)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    switch (address->sa_family) {
    case AF_INET:
        memcpy(&v4, address, sizeof(v4));
        set_v4(&out->ip, &v4.sin_addr);
        out->port = ntohs(v4.sin_port);
        return true;
    case AF_INET6:
        memcpy(&v6, address, sizeof(v6));
        memcpy(out->ip.bytes, &v6.sin6_addr, sizeof(out->ip.bytes));
        out->port = ntohs(v6.sin6_port);
        return true;
    default:
        return false;
    }
}

bool ip_is_v4(const struct ip *ip)
{
    return memcmp(ip->bytes, mapped, sizeof(mapped)) == 0;
}

bool ip_equals(const struct ip *a, const struct ip *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

char *ip_format(const struct ip *ip, char buffer[IP_TEXT_MAX])
{
    const char *text = ip_is_v4(ip)
                           ? inet_ntop(AF_INET, ip->bytes + sizeof(mapped), buffer, IP_TEXT_MAX)
                           : inet_ntop(AF_INET6, ip->bytes, buffer, IP_TEXT_MAX);
    if (text == NULL) /* cannot be: there is room for every address */
        buffer[0] = '\0';
    return buffer;
}

char *ip_endpoint_format(const struct ip_endpoint *e, char buffer[IP_ENDPOINT_TEXT_MAX])
{
    char ip[IP_TEXT_MAX];
    struct text t;
    text_init(&t, buffer, IP_ENDPOINT_TEXT_MAX);
    text_addf(&t, ip_is_v4(&e->ip) ? "%s:%u" : "[%s]:%u", ip_format(&e->ip, ip), e->port);
    return buffer;
}
