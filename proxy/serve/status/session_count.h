/* What a session tells the counters, and what has been told of it so far.
 *
 * The relay counts for itself, and the data path knows nothing of metrics: what has come since the
 * last time is carried over when somebody asks (session_count_live) and at the end. */
#ifndef TIDEGATE_SESSION_COUNT_H
#define TIDEGATE_SESSION_COUNT_H

#include "counters.h"

struct session;

struct session_counted {
    struct route_counts *route;
    uint64_t bytes[2], buffered[2];
    uint32_t pauses[2];
    bool has_half_close;
    bool is_half_closed[2]; /* by the direction that is open still */
};

/* Its TLS has shaken hands. */
void session_count_secure(struct session *s);

/* Over without 101. */
void session_count_refused(const struct session *s, struct cause cause);

/* 101 has been sent: session_count_closed follows. */
void session_count_opened(const struct session *s);
void session_count_closed(struct session *s, const struct relay_report *report);

/* Brings the counters up to date. Costs two system calls. */
void session_count_live(struct session *s);

#endif
