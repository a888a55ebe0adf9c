#include "arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct arena_block {
    struct arena_block *older;
    max_align_t data[];
};

void *arena_alloc(struct arena *a, size_t size)
{
    struct arena_block *block;

    if (size > SIZE_MAX / 2)
        return NULL;
    block = calloc(1, sizeof(*block) + size);
    if (block == NULL)
        return NULL;
    block->older = a->newest;
    a->newest = block;
    return block->data;
}

char *arena_copy(struct arena *a, const char *s, size_t len)
{
    char *copy = arena_alloc(a, len + 1);

    if (copy != NULL)
        memcpy(copy, s, len);
    return copy;
}

bool arena_grow(struct arena *a, void **items, size_t count, size_t size)
{
    bool is_room = count > 0 && (count & (count - 1)) != 0; /* it grows at powers of two */
    void *grown;

    if (is_room)
        return true;
    grown = arena_alloc(a, (count == 0 ? 1 : count * 2) * size);
    if (grown == NULL)
        return false;
    if (count > 0)
        memcpy(grown, *items, count * size);
    *items = grown;
    return true;
}

void arena_clear(struct arena *a)
{
    for (struct arena_block *older, *block = a->newest; block != NULL; block = older) {
        older = block->older;
        free(block);
    }
    a->newest = NULL;
}
