/* Connecting to an address: resolution, then all addresses, IPv6 and IPv4 in turn, each attempt 250
 * ms after the last or at once when that failed; the first to connect wins (RFC 8305). */
#ifndef TIDEGATE_CONNECT_H
#define TIDEGATE_CONNECT_H

#include "address.h"
#include "duplex.h"
#include "stream.h"

#include <sys/socket.h>

struct connect;

/* Starts. `on_done` comes once, from the loop, never from this call:
 *   stream != NULL: connected, paused, owned by the callee;
 *   stream == NULL: `cause` is UNREACHABLE, CONNECT_TIMEOUT, NO_MEMORY or DENIED (native: the
 * first attempt's errno). After it the handle is gone. `timeout_ms` includes the resolver's time;
 * 0: no limit. NULL when out of memory: on_done does not come. */
struct connect *
connect_start(struct loop *l, const struct address *where, uint64_t timeout_ms,
              const struct stream_options *options,
              void (*on_done)(void *owner, struct duplex *stream, struct cause cause), void *owner);

/* Of what the name resolves to (or the number says), only addresses for which `may` says yes are
 * connected to: the address that was checked is the one that is used, whatever the name means a
 * moment later. If it says no to all, the cause is DENIED. To be called right after connect_start;
 * `may` is called once for each address, before the first attempt, and must not cancel. `arg` lives
 * until on_done or connect_cancel. A unix socket is an address, too. */
void connect_filter(struct connect *c, bool (*may)(void *arg, const struct sockaddr *to),
                    void *arg);

/* Gives up: closes all attempts, no on_done. */
void connect_cancel(struct connect *c);

#endif
