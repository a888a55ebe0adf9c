#include "cidr.h"

#include "text.h"

#include <errno.h>
#include <string.h>

#define BITS    128
#define V4_BITS 32

/* `written` is shown as far as it is printable and not absurdly long. */
static int refuse(char why[CIDR_WHY_MAX], const char *written, const char *what)
{
    struct text t;
    text_init(&t, why, CIDR_WHY_MAX);
    text_add(&t, "'");
    for (size_t i = 0; written[i] != '\0'; i++) {
        if (i == IP_TEXT_MAX + 4) {
            text_add(&t, "...");
            break;
        }
        text_add_bytes(&t, written[i] >= ' ' && written[i] <= '~' ? written + i : "?", 1);
    }
    text_addf(&t, "' %s", what);
    return -EINVAL;
}

static const char *what_is_no_address(const char *s, size_t len)
{
    if (len == 0)
        return "has no address";
    if (s[0] == '[')
        return "must be written without brackets";
    if (memchr(s, '%', len) != NULL)
        return "must be written without a zone";
    if (memchr(s, ' ', len) != NULL || memchr(s, ',', len) != NULL)
        return "is not one address: write one network an item";
    if (strspn(s, "0123456789.") >= len)
        return "is not an IPv4 address: four numbers from 0 to 255, without leading zeros";
    if (memchr(s, ':', len) != NULL)
        return "is not an IPv6 address";
    return "is not an IP address; names are not resolved here";
}

static void clear_host_bits(struct cidr *c)
{
    for (unsigned bit = c->prefix; bit < BITS; bit++)
        c->network.bytes[bit / 8] &= (uint8_t) ~(0x80U >> bit % 8);
}

int cidr_parse(const char *s, struct cidr *out, char why[CIDR_WHY_MAX])
{
    size_t len = strcspn(s, "/");
    uint64_t prefix;
    why[0] = '\0';
    if (!ip_parse(s, len, &out->network))
        return refuse(why, s, what_is_no_address(s, len));
    bool is_dotted = memchr(s, ':', len) == NULL;
    uint64_t max = is_dotted ? V4_BITS : BITS;
    if (s[len] == '\0')
        prefix = max;
    else if (s[len + 1] == '\0')
        return refuse(why, s, "has no prefix length behind '/'");
    else if (!text_parse_number(s + len + 1, strlen(s + len + 1), UINT64_MAX, &prefix))
        return refuse(why, s, "has a prefix length that is not a number, as in 10.0.0.0/8");
    else if (prefix > max)
        return refuse(why, s,
                      is_dotted ? "has a prefix length above 32" : "has a prefix length above 128");
    out->prefix = (unsigned)(prefix + (BITS - max));

    struct ip written = out->network;
    clear_host_bits(out);
    if (!ip_equals(&written, &out->network)) {
        char network[CIDR_TEXT_MAX], what[CIDR_TEXT_MAX + 40];
        struct text t;
        text_init(&t, what, sizeof(what));
        text_addf(&t, "has host bits set; the network is %s", cidr_format(out, network));
        return refuse(why, s, what);
    }
    return 0;
}

bool cidr_has(const struct cidr *c, const struct ip *ip)
{
    unsigned whole = c->prefix / 8, rest = c->prefix % 8;
    if (ip_is_v4(&c->network) != ip_is_v4(ip) || memcmp(c->network.bytes, ip->bytes, whole) != 0)
        return false;
    return rest == 0 || (c->network.bytes[whole] ^ ip->bytes[whole]) >> (8 - rest) == 0;
}

bool cidr_list_has(const struct cidr *list, size_t count, const struct ip *ip)
{
    for (size_t i = 0; i < count; i++)
        if (cidr_has(&list[i], ip))
            return true;
    return false;
}

char *cidr_format(const struct cidr *c, char buffer[CIDR_TEXT_MAX])
{
    char ip[IP_TEXT_MAX];
    struct text t;
    text_init(&t, buffer, CIDR_TEXT_MAX);
    text_addf(&t, "%s/%u", ip_format(&c->network, ip),
              ip_is_v4(&c->network) ? c->prefix - (BITS - V4_BITS) : c->prefix);
    return buffer;
}
