/* Pages that a server shows to an ordinary GET, on the port where its WebSockets come. They are a
 * part of the program: few, short, and never anything that a peer has said. */
#ifndef TIDEGATE_PAGE_H
#define TIDEGATE_PAGE_H

#include "duplex.h"
#include "ws_head.h"

struct page {
    const char *path, *type; /* type: Content-Type */
    const uint8_t *bytes;
    size_t len;
};

struct page_set {
    const struct page *items;
    size_t count;
};

/* What a whole request asks for: a GET or HEAD that is no upgrade, has no body, and names the path
 * of one of them; otherwise NULL. `set` NULL: no pages. */
const struct page *page_find(const struct page_set *set, struct ws_head *request);

/* Writes the answer to such a request; the caller closes. The page may use nothing but what comes
 * from the same address. False when out of memory: nothing is written. */
bool page_write(const struct page *p, struct ws_head *request, struct duplex *to);

#endif
