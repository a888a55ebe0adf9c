/* All connections of a run: the clients, and what came to the backend because of them; in one
 * thread, with one epoll. */
#ifndef TIDEGATE_BENCH_POOL_H
#define TIDEGATE_BENCH_POOL_H

#include "options.h"

/* `on_answer`: see endpoint.h. Nothing is connected yet. */
void pool_set_up(const struct options *o, void (*on_answer)(uint64_t ns));

/* Connects until there are `count` clients, at most options.connections; blocking. */
void pool_connect(size_t count);

/* Ends the program if a connection ends. */
void pool_run_until(uint64_t until_ns);

/* Runs until every client has a connection at the backend; ends the program if that takes long. */
void pool_await_backends(void);

/* Whether the sources send, and whether those they send to read. At first both. */
void pool_let(bool sources_send, bool sinks_read);

/* Payload bytes that have arrived at the far end; an echo's do not count. */
uint64_t pool_received(void);

/* Bytes that the sources have sent, with their frames. */
uint64_t pool_sent(void);

void pool_tear_down(void);

#endif
