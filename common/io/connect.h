/* Connecting to an address: resolution, then all addresses, IPv6 and IPv4 in turn, each attempt 250
 * ms after the last or at once when that failed; the first to connect wins (RFC 8305). */
#ifndef TIDEGATE_CONNECT_H
#define TIDEGATE_CONNECT_H

#include "address.h"
#include "duplex.h"
#include "stream.h"

struct connect;

/* Starts. `on_done` comes once, from the loop, never from this call:
 *   stream != NULL: connected, paused, owned by the callee;
 *   stream == NULL: `cause` is UNREACHABLE, CONNECT_TIMEOUT or NO_MEMORY (native: the first
 * attempt's errno). After it the handle is gone. `timeout_ms` includes the resolver's time; 0: no
 * limit. NULL when out of memory: on_done does not come. */
struct connect *
connect_start(struct loop *l, const struct address *where, uint64_t timeout_ms,
              const struct stream_options *options,
              void (*on_done)(void *owner, struct duplex *stream, struct cause cause), void *owner);

/* Gives up: closes all attempts, no on_done. */
void connect_cancel(struct connect *c);

#endif
