/* Where to listen or connect, as written by people: HOST:PORT, :PORT, [V6]:PORT, unix:PATH; to
 * listen only, also systemd:NAME, a socket that was bound by whoever started us.
 *
 * Text only: nothing is resolved here (io/resolve.h does). ":PORT" is loopback, on both families
 * ("localhost"): a service meets the network only where somebody wrote that it should. */
#ifndef TIDEGATE_ADDRESS_H
#define TIDEGATE_ADDRESS_H

#include <stddef.h>
#include <stdint.h>

enum address_kind { ADDRESS_TCP, ADDRESS_UNIX, ADDRESS_SYSTEMD };

#define ADDRESS_HOST_MAX 255 /* longest host name or socket path kept, without the terminator */

struct address {
    enum address_kind kind;
    uint16_t port; /* TCP; 0 asks the system for one (listening only) */
    char host[ADDRESS_HOST_MAX +
              1]; /* TCP: name or number, no brackets. Unix: the path. systemd: the name */
};

/* Parses `s`. 0, or -EINVAL with `*why` a static phrase for people ("port is not a number"). */
int address_parse(const char *s, struct address *out, const char **why);

/* The same, and systemd:NAME. */
int address_parse_listen(const char *s, struct address *out, const char **why);

/* The text form again, brackets and all. Returns `buffer`; ADDRESS_TEXT_MAX bytes always do. */
#define ADDRESS_TEXT_MAX (ADDRESS_HOST_MAX + 16)
char *address_format(const struct address *a, char *buffer, size_t size);

#endif
