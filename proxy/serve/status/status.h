/* The status port of a server: whether it lives and is ready, its metrics, its connections. In
 * the first loop of the server, before the others run. docs/metrics.md is what it answers. */
#ifndef TIDEGATE_STATUS_H
#define TIDEGATE_STATUS_H

#include "address.h"
#include "loop.h"

struct server;
struct status;

/* The descriptors that it may use. */
#define STATUS_DESCRIPTORS 18

/* Listens, for a server that listens, and logs msg="status". Goes on through a drain, until the
 * last connection has gone; does not keep the loop from ending. 0 and `*out`, or a negative errno
 * and one line for people. */
int status_open(struct loop *l, struct server *server, const struct address *where,
                struct status **out, char *problem, size_t problem_size);

/* After the loop has ended by itself, and before the server goes. NULL is fine. */
void status_free(struct status *s);

#endif
