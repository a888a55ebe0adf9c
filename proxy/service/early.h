/* What a connection brought before it could be passed on: bytes, up to a bound, and the end behind
 * them. docs/half-close.md rule 9. */
#ifndef TIDEGATE_EARLY_H
#define TIDEGATE_EARLY_H

#include "span.h"

#include <stdbool.h>

#define EARLY_MAX                                                                                  \
    65536 /* then the connection is paused; the read under way may still go beyond                 \
           */

struct early {
    struct span bytes; /* owned */
    bool has_ended;
}; /* all zero: nothing yet */

/* Copies `in` behind what is there. False when out of memory: then it is as it was. */
bool early_keep(struct early *e, struct span in);

/* Pause what it comes from. */
bool early_is_full(const struct early *e);

/* Frees; nothing is kept afterwards. */
void early_clear(struct early *e);

#endif
