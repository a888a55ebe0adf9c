/* Keeps lines, and hands them out in order: what can be done only when all of them are there. */
#ifndef TIDEGATE_SORTER_H
#define TIDEGATE_SORTER_H

#include "span.h"

#include <stdbool.h>

#define SORTER_MAX 65536 /* bytes; of more than that nothing is kept */

struct sorter {
    uint8_t *bytes;
    size_t len, room;
    struct span *lines; /* NULL until sorted */
    size_t count, next;
    bool is_over; /* too long, or out of memory */
};

void sorter_init(struct sorter *s);
void sorter_add(struct sorter *s, struct span bytes);

/* All is there. Returns the number of lines; 0 also if it was too much, or without memory. */
size_t sorter_sort(struct sorter *s);

/* The next line, by bytes, with its newline (the last one of the input gets one). False: that was
 * all. */
bool sorter_next(struct sorter *s, struct span *line);

void sorter_clear(struct sorter *s);

#endif
