/* Incremental UTF-8 validation that fails at the first byte that no continuation could mend (RFC
 * 3629: no surrogates, nothing above U+10FFFF, no overlong form). */
#ifndef TIDEGATE_UTF8_H
#define TIDEGATE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero is the start of a text. */
struct utf8 {
    uint8_t need;      /* continuation bytes still to come; 0 at a character boundary */
    uint8_t low, high; /* the range the next one must be in */
};

/* False as soon as the text cannot be valid any more. */
bool utf8_feed(struct utf8 *u, const uint8_t *data, size_t len);

/* True if the text may end here: no character is cut. */
bool utf8_is_complete(const struct utf8 *u);

#endif
