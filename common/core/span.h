/* A run of bytes somewhere else: a pointer and a length, nothing owned.
 *
 * Also the two macros that nearly every file needs. */
#ifndef TIDEGATE_SPAN_H
#define TIDEGATE_SPAN_H

#include <stddef.h>
#include <stdint.h>

struct span {
    uint8_t *data;
    size_t len;
};

/* The structure that holds `member`, given a pointer to that member. */
#define container_of(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define array_count(array) (sizeof(array) / sizeof((array)[0]))

#endif
