/* What the demo's backend answers with, and what its client checks the answer against: lines, bytes
 * and SHA-256 of a stream. Each side keeps a tally of its own. */
#ifndef TIDEGATE_TALLY_H
#define TIDEGATE_TALLY_H

#include "crypto.h"
#include "span.h"

#define TALLY_TEXT_MAX 160

struct tally {
    uint64_t lines, bytes;
    struct crypto_sha256 *hash; /* NULL when out of memory: the text then lacks it */
};

void tally_init(struct tally *t);
void tally_add(struct tally *t, struct span bytes);

/* "3 lines, 71 bytes, sha256 ...\n", terminated; returns its length. Frees the hash. */
size_t tally_finish(struct tally *t, char text[TALLY_TEXT_MAX]);

/* For a tally that is not finished. Harmless after tally_finish. */
void tally_clear(struct tally *t);

#endif
