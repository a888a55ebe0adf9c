/* A small HTTP/1.1 server for few and short requests: GET and HEAD, one a connection, no request
 * body. What it answers is its handler's business. Bounded in all: connections, their time, their
 * memory. Also takes HTTP/1.0, which load balancers ask with.
 *
 * A body may be long: it comes in pieces, one a turn of the loop, and only as fast as the client
 * takes it. It may be made in other loops: they have to go on until status_http_close has been
 * called, and to run what was sent to them before that. */
#ifndef TIDEGATE_STATUS_HTTP_H
#define TIDEGATE_STATUS_HTTP_H

#include "address.h"
#include "loop.h"
#include "text.h"

struct status_http;
struct status_body;

#define STATUS_HTTP_CONNECTIONS 16    /* descriptors it uses at most, but for its listener's */
#define STATUS_HTTP_PIECE       24576 /* the room that `next` finds */

struct status_body_ops {
    /* Appends the next piece, which may be empty; takes a millisecond at most. True: the last. */
    bool (*next)(struct status_body *b, struct text *out);
    /* The loop in whose thread `next` is to be called next. NULL: any. */
    struct loop *(*where)(const struct status_body *b);
    /* There, or where `next` was called last. */
    void (*free)(struct status_body *b);
};

/* First or other member of somebody's body. */
struct status_body {
    const struct status_body_ops *ops;
};

struct status_answer {
    int status;
    const char *type;         /* Content-Type; static */
    const char *text;         /* the body, static; or NULL, and ... */
    struct status_body *body; /* ... to be freed by its ops */
};

struct status_http_handler {
    /* A GET or HEAD of `path` (`len` bytes, no query). */
    void (*answer)(void *owner, const char *path, size_t len, struct status_answer *out);
};

/* Listens. `handler` outlives it. 0 and `*out`, or a negative errno and one line for people. */
int status_http_open(struct loop *l, const struct address *where,
                     const struct status_http_handler *handler, void *owner,
                     struct status_http **out, char *problem, size_t problem_size);

/* The addresses, as they are bound. */
const char *status_http_name(const struct status_http *h);

/* Stops listening, breaks what has no whole answer yet; the handler is not asked again. What still
 * has to leave keeps the loop going for a second at most. Frees, then or later. NULL is fine. */
void status_http_close(struct status_http *h);

#endif
