/* What the demo shows to a browser: the files of proxy/demo/page and the client library, as they
 * were at build time (scripts/embed_pages.py). */
#ifndef TIDEGATE_PAGES_H
#define TIDEGATE_PAGES_H

#include "../serve/page.h"

extern const struct page_set demo_pages;

#endif
