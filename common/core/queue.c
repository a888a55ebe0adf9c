#include "queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A chunk is this large with its header, however much is pushed: of chunks of many sizes, with
 * small and lasting blocks in between, holes stay behind that nothing fits into. */
#define CHUNK_SIZE 16384

struct queue_chunk {
    struct queue_chunk *next;
    size_t begin, end; /* bytes [begin, end) of data are held */
    /* of the whole queue: kept in its first chunk only */
    struct queue_chunk *last;
    size_t size;
    uint8_t data[];
};

#define CHUNK_CAPACITY (CHUNK_SIZE - sizeof(struct queue_chunk))

void queue_init(struct queue *q)
{
    *q = (struct queue){0};
}

size_t queue_size(const struct queue *q)
{
    return q->first != NULL ? q->first->size : 0;
}

static void free_chunks(struct queue_chunk *c)
{
    while (c != NULL) {
        struct queue_chunk *next = c->next;
        free(c);
        c = next;
    }
}

void queue_clear(struct queue *q)
{
    free_chunks(q->first);
    q->first = NULL;
}

static void chunk_fill(struct queue_chunk *c, const uint8_t *data, size_t len)
{
    memcpy(c->data + c->end, data, len);
    c->end += len;
}

/* As many as it takes, of which the first knows the last. NULL when out of memory. */
static struct queue_chunk *make_chunks(const uint8_t *data, size_t len)
{
    struct queue_chunk *first = NULL, **link = &first, *last = NULL;
    assert(len > 0);
    while (len > 0) {
        size_t fill = len < CHUNK_CAPACITY ? len : CHUNK_CAPACITY;
        last = *link = malloc(CHUNK_SIZE);
        if (last == NULL) {
            free_chunks(first);
            return NULL;
        }
        last->next = NULL;
        last->begin = last->end = last->size = 0;
        chunk_fill(last, data, fill);
        data += fill;
        len -= fill;
        link = &last->next;
    }
    first->last = last;
    return first;
}

int queue_push(struct queue *q, struct span bytes)
{
    if (bytes.len == 0)
        return 0;
    struct queue_chunk *last = q->first != NULL ? q->first->last : NULL;
    size_t room = last != NULL ? CHUNK_CAPACITY - last->end : 0;
    size_t fill = bytes.len < room ? bytes.len : room;
    struct queue_chunk *added = NULL;
    if (fill < bytes.len) {
        /* before anything is touched, so that a failure changes nothing */
        added = make_chunks(bytes.data + fill, bytes.len - fill);
        if (added == NULL)
            return -ENOMEM;
    }
    if (fill > 0)
        chunk_fill(last, bytes.data, fill);
    if (added != NULL && last != NULL) {
        last->next = added;
        q->first->last = added->last;
    } else if (added != NULL) {
        q->first = added;
    }
    q->first->size += bytes.len;
    return 0;
}

size_t queue_peek(const struct queue *q, struct span *spans, size_t max)
{
    size_t n = 0;
    for (struct queue_chunk *c = q->first; c != NULL && n < max; c = c->next)
        spans[n++] = (struct span){c->data + c->begin, c->end - c->begin};
    return n;
}

/* The first chunk is empty: the next one knows from now on what only the first does. */
static void drop_chunk(struct queue *q)
{
    struct queue_chunk *c = q->first, *next = c->next;
    if (next != NULL) {
        next->last = c->last;
        next->size = c->size;
    }
    q->first = next;
    free(c);
}

void queue_drop(struct queue *q, size_t n)
{
    assert(n <= queue_size(q));
    while (n > 0) {
        struct queue_chunk *c = q->first;
        size_t held = c->end - c->begin;
        size_t gone = n < held ? n : held;
        c->begin += gone;
        c->size -= gone;
        n -= gone;
        if (gone == held)
            drop_chunk(q);
    }
}
