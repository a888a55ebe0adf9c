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
    uint8_t data[];
};

void queue_init(struct queue *q)
{
    *q = (struct queue){0};
}

void queue_clear(struct queue *q)
{
    while (q->head != NULL) {
        struct queue_chunk *next = q->head->next;
        free(q->head);
        q->head = next;
    }
    *q = (struct queue){0};
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
    size_t room = q->tail != NULL ? q->tail->capacity - q->tail->end : 0;
    size_t first = bytes.len < room ? bytes.len : room;
    size_t rest = bytes.len - first;
    struct queue_chunk *added = NULL;
    if (rest > 0) {
        /* before anything is touched, so that a failure changes nothing */
        added = chunk_new(rest);
        if (added == NULL)
            return -ENOMEM;
        chunk_fill(added, bytes.data + first, rest);
    }
    if (first > 0)
        chunk_fill(q->tail, bytes.data, first);
    if (added != NULL) {
        if (q->tail != NULL)
            q->tail->next = added;
        else
            q->head = added;
        q->tail = added;
    }
    q->size += bytes.len;
    return 0;
}

size_t queue_peek(const struct queue *q, struct span *spans, size_t max)
{
    size_t n = 0;
    for (struct queue_chunk *c = q->head; c != NULL && n < max; c = c->next)
        spans[n++] = (struct span){c->data + c->begin, c->end - c->begin};
    return n;
}

void queue_drop(struct queue *q, size_t n)
{
    assert(n <= q->size);
    q->size -= n;
    while (n > 0) {
        struct queue_chunk *c = q->head;
        size_t held = c->end - c->begin;
        if (n < held) {
            c->begin += n;
            return;
        }
        n -= held;
        q->head = c->next;
        free(c);
    }
    if (q->head == NULL)
        q->tail = NULL;
}
