/* The opening handshake (RFC 6455 section 4), both roles: judges a head that ws_head.h has read,
 * and writes requests and answers. No I/O. */
#ifndef TIDEGATE_WS_HANDSHAKE_H
#define TIDEGATE_WS_HANDSHAKE_H

#include "text.h"
#include "ws_head.h"

#define WS_KEY_SIZE    25 /* 24 characters of base64 and the terminator */
#define WS_ACCEPT_SIZE 29 /* 28 and the terminator */

/* ---- server ---- */

/* What a good request asks for, and what we answer. */
struct ws_offer {
    enum ws_carrier carrier;     /* the extension if well formed, else v1.tidegate, else plain */
    const char *subprotocol;     /* to answer: "v1.tidegate", "binary" or NULL. Static */
    uint64_t window;             /* or, if not 0: "v1.tidegate.window." and this number */
    bool has_half_close_asked;   /* either carrier was offered */
    char accept[WS_ACCEPT_SIZE]; /* Sec-WebSocket-Accept */
};

/* Judges a complete request as protocol.md sections 2 and 6 say. 101 with `*offer` filled in, or
 * the status to refuse with (400, 405, 426, 505) and `*problem`, one static line for people. */
int ws_handshake_judge(struct ws_head *request, struct ws_offer *offer, const char **problem);

/* Appends the 101 response, or a refusal: status line, Connection: close, Content-Type,
 * Content-Length, what the status demands (401: WWW-Authenticate: Bearer; 405: Allow; 426: Upgrade
 * and Sec-WebSocket-Version: 13; 503: Retry-After), and `problem` as a one-line text body. */
void ws_handshake_accept(const struct ws_offer *offer, struct text *out);
void ws_handshake_refuse(int status, const char *problem, struct text *out);

/* ---- client ---- */

struct ws_ask {
    const char *host;                          /* Host field, with port if not the default */
    const char *target;                        /* "/path?query" */
    bool is_plain;                             /* offer neither carrier */
    bool offers_extension, offers_subprotocol; /* otherwise these */
    const char *fields;    /* further fields, each ended by CRLF; NULL for none */
    char key[WS_KEY_SIZE]; /* filled in by ws_handshake_ask: fresh, random */
};

/* Appends the request. 0, -EIO (no randomness) or -ENOSPC. */
int ws_handshake_ask(struct ws_ask *ask, struct text *out);

/* Judges a complete response to `ask`. 0 and `*carrier` (WS_PLAIN if the server took neither), or
 * -EPROTO (bad accept key, an extension or subprotocol not asked for, both carriers, 101 without
 * its fields) or -EACCES (any status but 101, see ws_head_status), with `*problem`. */
int ws_handshake_check(struct ws_head *response, const struct ws_ask *ask, enum ws_carrier *carrier,
                       const char **problem);

/* The Sec-WebSocket-Accept for a key (RFC 6455 4.2.2). 0 or -EIO. */
int ws_handshake_accept_key(const char *key, char out[WS_ACCEPT_SIZE]);

#endif
