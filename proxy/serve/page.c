#include "page.h"

#include "text.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_MAX 1024

static bool is_head(const struct ws_head *request)
{
    return strcmp(ws_head_method(request), "HEAD") == 0;
}

/* A WebSocket, a body, or a method that pages do not have. */
static bool wants_more(struct ws_head *request)
{
    const char *length = ws_head_field(request, "content-length");

    return ws_head_field(request, "upgrade") != NULL ||
           ws_head_field(request, "transfer-encoding") != NULL ||
           (length != NULL && strcmp(length, "0") != 0) ||
           (strcmp(ws_head_method(request), "GET") != 0 && !is_head(request));
}

const struct page *page_find(const struct page_set *set, struct ws_head *request)
{
    size_t len;
    const char *path = ws_head_path(request, &len);

    if (set == NULL || wants_more(request))
        return NULL;
    for (size_t i = 0; i < set->count; i++)
        if (strlen(set->items[i].path) == len && memcmp(set->items[i].path, path, len) == 0)
            return &set->items[i];
    return NULL;
}

static void add_head(struct text *t, const struct page *p)
{
    text_addf(t,
              "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
              "Cache-Control: no-store\r\nConnection: close\r\n",
              p->type, p->len);
    text_add(t, "Content-Security-Policy: default-src 'none'; script-src 'self'; "
                "style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
                "form-action 'none'; frame-ancestors 'none'\r\n"
                "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
                "Cross-Origin-Resource-Policy: same-origin\r\n\r\n");
}

bool page_write(const struct page *p, struct ws_head *request, struct duplex *to)
{
    size_t size = HEAD_MAX + p->len;
    char *copy = malloc(size); /* what is written may be changed on its way */
    struct text t;

    if (copy == NULL)
        return false;
    text_init(&t, copy, size);
    add_head(&t, p);
    if (!is_head(request))
        text_add_bytes(&t, (const char *)p->bytes, p->len);
    assert(!t.overflowed);
    struct span span = {(uint8_t *)t.data, t.len};
    duplex_write(to, &span, 1);
    free(copy);
    return true;
}
