/* What was probably meant by a word that nobody knows: for "did you mean ...?". */
#ifndef TIDEGATE_NEAREST_H
#define TIDEGATE_NEAREST_H

#include <stddef.h>

struct nearest {
    const char *word;
    size_t len;
    const char *close, *alike; /* the best so far of each sort, or NULL */
    size_t least, longest;     /* how far that is off, how much of it is the same */
};

/* `word` (`len` bytes, not terminated) is not copied. */
void nearest_begin(struct nearest *n, const char *word, size_t len);

/* One that is known; not copied. */
void nearest_offer(struct nearest *n, const char *name);

/* The best of them: a slip of up to two letters, else the same beginning. NULL: none is near. */
const char *nearest_found(const struct nearest *n);

#endif
