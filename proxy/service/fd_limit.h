/* The limit on open descriptors, and how many connections it allows. */
#ifndef TIDEGATE_FD_LIMIT_H
#define TIDEGATE_FD_LIMIT_H

#include <stddef.h>
#include <stdint.h>

/* Raises the soft limit to the hard one, and sets `*max_connections` to what that allows if it is
 * 0. A quarter of the descriptors, 16 to 64, is kept for other things, and `also` of them before
 * that. 0, or -EMFILE with one line for people if the limit is too small for that many, or for one
 * connection. */
int fd_limit_prepare(uint64_t *max_connections, uint64_t also, char *problem, size_t problem_size);

/* The descriptors of a further worker that has so many listeners: those of its loop among them. */
uint64_t fd_limit_of_worker(uint64_t listeners);

/* How many workers there may be, `wanted` or less but one at least, so that all of them together
 * have no more than a quarter of the descriptors. */
uint64_t fd_limit_workers(uint64_t wanted, uint64_t listeners);

#endif
