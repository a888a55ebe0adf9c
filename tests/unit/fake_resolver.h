/* A getaddrinfo(3) that answers from a table, in place of the system's: linked into a test program,
 * libuv calls this one. */
#ifndef TIDEGATE_FAKE_RESOLVER_H
#define TIDEGATE_FAKE_RESOLVER_H

#include <stdbool.h>

struct fake_name {
    const char *name;
    const char *addresses; /* separated by ' ' */
    int error;             /* EAI_ to fail with */
    bool blocks;           /* until fake_resolver_release */
};

/* The table ends with a NULL name, and stays. All counts go back to 0, and blocking begins anew. */
void fake_resolver_set(const struct fake_name *names);
void fake_resolver_release(void);

unsigned fake_resolver_calls(void);

#endif
