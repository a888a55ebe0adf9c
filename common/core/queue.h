/* Bytes that a slow sink would not take: a first-in first-out queue in chunks.
 *
 * Not on the fast path: a connection whose sink keeps up never allocates here. An empty queue owns
 * no memory, and is no more than a pointer: every connection has some. */
#ifndef TIDEGATE_QUEUE_H
#define TIDEGATE_QUEUE_H

#include "span.h"

#include <stdbool.h>

struct queue_chunk;

struct queue {
    struct queue_chunk *first; /* knows the last, and how much there is; NULL: empty */
};

/* All zero is an empty queue, too. */
void queue_init(struct queue *q);

/* Frees all it holds; the queue is empty and usable afterwards. */
void queue_clear(struct queue *q);

static inline bool queue_is_empty(const struct queue *q)
{
    return q->first == NULL;
}

/* Bytes held. */
size_t queue_size(const struct queue *q);

/* Copies `bytes` behind what is there. 0, or -ENOMEM with the queue as it was. */
int queue_push(struct queue *q, struct span bytes);

/* Describes the first bytes, in order, as up to `max` spans; returns how many. They point into the
 * queue and stay valid until queue_drop or queue_clear (queue_push does not move them). */
size_t queue_peek(const struct queue *q, struct span *spans, size_t max);

/* Forgets the first `n` bytes (n <= queue_size), freeing chunks that became empty. */
void queue_drop(struct queue *q, size_t n);

#endif
