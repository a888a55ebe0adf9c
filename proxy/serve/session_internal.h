/* A session as its own files see it. Private to them.
 *
 *   session.c          the beginning and the ends
 *   session_arrive.c   who comes: the PROXY protocol header, TLS
 *   session_request.c  what it asks for, and whether it may
 *   session_dial.c     the backend; from there on the relay has both
 */
#ifndef TIDEGATE_SESSION_INTERNAL_H
#define TIDEGATE_SESSION_INTERNAL_H

#include "../service/access_log.h"
#include "../service/early.h"
#include "backend_dial.h"
#include "provenance.h"
#include "session.h"
#include "ws_handshake.h"

/* What is needed until the relay starts. */
struct opening {
    struct session *session;
    struct duplex *client; /* its TLS, if it has that */
    const struct listen_address *at;
    struct provenance from;
    struct ws_head *head;      /* NULL once judged */
    struct backend_dial *dial; /* NULL before, and after */
    struct ws_offer offer;
    struct deadline timeout;     /* for the head */
    struct openings_place place; /* until there is an answer to it */
    struct early early;          /* frames that come before our 101 */
    bool has_spoken;             /* the client: something of a request has come */
};

static inline struct cause session_cause(enum cause_what what, enum cause_where where)
{
    return (struct cause){.what = what, .where = where};
}

/* ---- session.c ---- */

void session_free(struct session *s);
void session_free_opening(struct session *s);

/* Answers in HTTP, if the client can hear that, and else resets it. Frees the session. */
void session_refuse(struct session *s, int status, struct cause cause, const char *detail);

/* The client is gone before there was an answer; its stream is closed or dead. Frees the
 * session. */
void session_give_up(struct session *s, struct cause cause);

/* Those who count. Frees nothing. */
void session_tell_closed(struct session *s, const struct relay_report *report);

/* The relay's, or of one that did not come about. Frees the session. */
void session_relay_done(struct relay *r, const struct relay_report *report);

/* ---- session_arrive.c ---- */

/* Puts TLS on the client, of which `early` has come already. False when out of memory: then it is
 * as it was. */
bool session_secure(struct session *s, struct span early);

/* Until the PROXY protocol header is complete. */
extern const struct duplex_events session_header_events;

/* ---- session_request.c ---- */

/* From then on, until the relay has it. */
extern const struct duplex_events session_client_events;

/* ---- session_dial.c ---- */

/* Connects, to the target if that is not NULL. False when out of memory. */
bool session_dial(struct session *s, const struct target *target);

#endif
