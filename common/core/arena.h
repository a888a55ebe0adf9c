/* Memory that is given back all at once: for what is read from a file and lives as long as what was
 * read from it. Not for the data path. */
#ifndef TIDEGATE_ARENA_H
#define TIDEGATE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *newest;
}; /* all zero: empty */

/* `size` bytes, zeroed and aligned for any type. NULL when out of memory. */
void *arena_alloc(struct arena *a, size_t size);

/* A terminated copy of `len` bytes. NULL when out of memory. */
char *arena_copy(struct arena *a, const char *s, size_t len);

/* `*items` has `count` elements of `size` bytes; makes room for one more, so that items[count] can
 * be written. The array may move; the old one stays until the end. False when out of memory. */
bool arena_grow(struct arena *a, void **items, size_t count, size_t size);

/* Gives all back; it is empty afterwards. */
void arena_clear(struct arena *a);

#endif
