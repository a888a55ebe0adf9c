#include "queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A chunk is this large with its header, or as large as one push needs. */
#define CHUNK_SIZE 16384

struct queue_chunk {
    struct queue_chunk *next;
    size_t begin, end, capacity; /* bytes [begin, end) of data are held */
    /* of the whole queue: kept in its first chunk only */
    struct queue_chunk *last;
    size_t size;
    uint8_t data[];
};

void queue_init(struct queue *q)
{
    *q = (struct queue){0};
}

void queue_clear(struct queue *q)
{
    while (q->first != NULL) {
        struct queue_chunk *next = q->first->next;
        free(q->first);
        q->first = next;
    }
}

size_t queue_size(const struct queue *q)
{
    return q->first != NULL ? q->first->size : 0;
}

static struct queue_chunk *chunk_new(size_t at_least)
{
    size_t capacity = CHUNK_SIZE - sizeof(struct queue_chunk);
    if (capacity < at_least)
        capacity = at_least;
    if (capacity > SIZE_MAX - sizeof(struct queue_chunk))
        return NULL;
    struct queue_chunk *c = malloc(sizeof(*c) + capacity);
    if (c == NULL)
        return NULL;
    c->next = NULL;
    c->begin = c->end = 0;
    c->capacity = capacity;
    c->last = c;
    c->size = 0;
    return c;
}

static void chunk_fill(struct queue_chunk *c, const uint8_t *data, size_t len)
{
    memcpy(c->data + c->end, data, len);
    c->end += len;
}

int queue_push(struct queue *q, struct span bytes)
{
    if (bytes.len == 0)
        return 0;
    struct queue_chunk *last = q->first != NULL ? q->first->last : NULL;
    size_t room = last != NULL ? last->capacity - last->end : 0;
    size_t fill = bytes.len < room ? bytes.len : room;
    size_t rest = bytes.len - fill;
    struct queue_chunk *added = NULL;
    if (rest > 0) {
        /* before anything is touched, so that a failure changes nothing */
        added = chunk_new(rest);
        if (added == NULL)
            return -ENOMEM;
        chunk_fill(added, bytes.data + fill, rest);
    }
    if (fill > 0)
        chunk_fill(last, bytes.data, fill);
    if (added != NULL) {
        if (last != NULL)
            last->next = added;
        else
            q->first = added;
        q->first->last = added;
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
