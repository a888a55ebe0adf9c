/* The demo's backend: a TCP server on loopback that reads to the end of its input, and only then
 * answers with the tally of it. So does a compiler, a sort, a checksum: whatever needs all of its
 * input first.
 *
 * For people that watch it in a browser it also sorts: the lines first, one after the other, then
 * the tally. */
#ifndef TIDEGATE_DEMO_BACKEND_H
#define TIDEGATE_DEMO_BACKEND_H

#include "loop.h"
#include "timeline.h"

struct demo_backend;

/* `on_over` is told how many bytes a connection was answered with, when both its directions are
 * over. 0 and `*out`, or a negative errno and one line for people. */
int demo_backend_start(struct loop *l, struct timeline *timeline,
                       void (*on_over)(void *arg, uint64_t answered), void *arg,
                       struct demo_backend **out, char *problem, size_t problem_size);

uint16_t demo_backend_port(const struct demo_backend *b);

/* From now on it sorts, and takes its time over the answer. */
void demo_backend_sort(struct demo_backend *b);

/* Accepts no more; connections go on. */
void demo_backend_close(struct demo_backend *b);

/* After the loop has ended. NULL is fine. */
void demo_backend_free(struct demo_backend *b);

#endif
