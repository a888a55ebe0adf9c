/* Reads one HTTP/1.1 request or response head, on llhttp in strict mode. Bytes in, fields out; no
 * I/O, no opinion on what the fields mean (ws_handshake.h has that). What follows the head in the
 * same segment is left to the caller.
 *
 * One heap block a head, given back before the connection carries data: the reader keeps the head
 * (WS_HEAD_MAX bytes at most) and hands out strings that point into it. */
#ifndef TIDEGATE_WS_HEAD_H
#define TIDEGATE_WS_HEAD_H

#include "span.h"
#include "ws_message.h"

#include <stdbool.h>

#define WS_HEAD_MAX   16384 /* whole head: request or status line and fields; beyond it 431 */
#define WS_TARGET_MAX 4096  /* request target; beyond it 414 */
#define WS_FIELDS_MAX 100   /* header fields; beyond it 431 */

/* The version of the HTTP parser that this was built with ("8.1.0"). Static. */
const char *ws_head_library_version(void);

struct ws_head; /* reads one request head or one response head */

/* NULL when out of memory. `role` is who we are: WS_SERVER reads a request, WS_CLIENT a response.
 */
struct ws_head *ws_head_new(enum ws_role role);
void ws_head_free(struct ws_head *head); /* NULL is fine */

/* Server role, before the first byte: HTTP/1.0 will do. A WebSocket needs 1.1. */
void ws_head_take_1_0(struct ws_head *head);

enum ws_head_result {
    WS_HEAD_MORE,  /* all of `in` consumed, feed more */
    WS_HEAD_DONE,  /* the head is complete; `in` is what follows it */
    WS_HEAD_FAILED /* not acceptable HTTP: ws_head_status and ws_head_problem say why */
};

/* Consumes from the front of `*in`. A client skips 1xx responses other than 101 (16 at most). */
enum ws_head_result ws_head_feed(struct ws_head *head, struct span *in);

/* After FAILED, server role: the status to answer with (400, 408, 414, 431, 505...). Client: 0. */
int ws_head_status(const struct ws_head *head);
const char *ws_head_problem(const struct ws_head *head); /* one line for people; static */

/* ---- after DONE ----
 *
 * Everything is as the peer sent it: nothing is decoded, nothing believed. All of it lies in the
 * head and is valid until ws_head_free. */

bool ws_head_is_1_0(const struct ws_head *head);
const char *ws_head_method(const struct ws_head *head); /* "GET" */
const char *
ws_head_target(const struct ws_head *head); /* "/path?query", "http://host/path?query" */

/* The path of the target, `*len` bytes up to '?' (not terminated there): what routes are chosen by
 * and what may be logged, because a query may hold secrets. "/" where an absolute target has none;
 * of no length for a target of another kind, which ws_handshake_judge refuses. */
const char *ws_head_path(const struct ws_head *head, size_t *len);

/* The host and port that an absolute target names, `*len` bytes, or NULL. ws_handshake_judge has
 * seen to it that it is the same as the field Host (but for upper case): look at that one. */
const char *ws_head_authority(const struct ws_head *head, size_t *len);

/* Any field, by its name in lower case ("origin", "authorization", "traceparent"). NULL if absent;
 * the values of a repeated field joined with ", " in order, blanks around each trimmed. Where one
 * value is expected, a count above 1 is a reason to refuse: of two, proxies on the way may have
 * looked at the other. Nothing is allocated: a head is bounded, and so is all that is in it. */
const char *ws_head_field(struct ws_head *head, const char *name);
unsigned ws_head_field_count(const struct ws_head *head, const char *name);

#endif
