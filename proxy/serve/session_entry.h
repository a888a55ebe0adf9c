/* What the log says of a session, and what is kept of it for that. */
#ifndef TIDEGATE_SESSION_ENTRY_H
#define TIDEGATE_SESSION_ENTRY_H

#include "../service/access_log.h"
#include "provenance.h"
#include "session.h"

struct access_entry session_entry(const struct session *s);

/* What is noted of it so far. Never NULL. */
const struct session_notes *session_noted(const struct session *s);

/* To be filled in: heap, the session's. NULL when out of memory. */
struct session_notes *session_notes(struct session *s);
void session_notes_free(struct session_notes *n); /* NULL is fine */

/* Who the client is, by what is known now. False when out of memory. */
bool session_note_client(struct session *s, const struct provenance *from);

/* The id that its front has given it. Once. False when out of memory. */
bool session_note_unique_id(struct session *s, const struct provenance *from);

/* Gives it one of ours, if it has none. False when out of memory, or of random numbers. */
bool session_make_unique_id(struct session *s);

#endif
