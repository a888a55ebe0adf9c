/* The relay: two duplexes joined. Data in, data out; end in, end out; break in, break out; full
 * out, pause in. Half-close is translated here and nowhere else.
 *
 * Knows nothing of sockets or WebSocket. Each direction is an object of its own (struct relay_way)
 * with a status of its own; the relay only watches two statuses. */
#ifndef TIDEGATE_RELAY_H
#define TIDEGATE_RELAY_H

#include "duplex.h"
#include "scheduler.h"

enum relay_side {
    RELAY_CLIENT,
    RELAY_BACKEND
}; /* as in enum cause_where: who connected to us, to whom we */

struct relay_limits {
    uint64_t idle_ms; /* no byte either way while both directions are open; 0: no limit */
    uint64_t
        half_closed_ms; /* no byte since one direction ended; every byte restarts it; 0: no limit */
    uint64_t lifetime_ms; /* of it all, whatever goes on; each relay gets up to a tenth less, by
                             chance, so that not all that came together go together; 0: no limit */
};

/* How it went, for the log and the counters. */
struct relay_report {
    struct cause cause;        /* CAUSE_OK, or the first failure seen */
    uint64_t bytes[2];         /* [RELAY_CLIENT]: up, from the client; [RELAY_BACKEND]: down */
    bool has_ended[2];         /* that side said it was complete */
    bool is_complete[2];       /* ... and the other side has accepted all of it */
    bool has_first_end;        /* somebody ended: */
    enum relay_side first_end; /* who did first */
    uint64_t half_closed_ms; /* from the first end to the second, or to the end of all; 0 if none */
    uint64_t pauses[2];      /* how often that side was paused because the other was full */
};

struct relay;

/* Leads to where the other one begins. */
struct relay_way {
    struct duplex *from;
    uint64_t bytes;
    uint32_t pauses;
    enum relay_side begins_at : 8;
    bool is_paused;   /* `from` is, because the other end is full */
    bool has_ended;   /* `from` said so, and the other end was told to finish */
    bool is_finished; /* which it has carried out */
};

/* Whose relay it is. */
struct relay_handler {
    /* Exactly once, from a task at the end of a turn, when both duplexes have been closed, aborted
     * or lost. `report` is valid during the call, and `r` may be freed in it. */
    void (*on_done)(struct relay *r, const struct relay_report *report);
    /* One direction has ended, and the other goes on: at most once, before on_done. May abort other
     * relays. Or NULL. */
    void (*on_first_end)(struct relay *r);
};

struct relay {
    struct relay_way up, down; /* up: from the client */
    struct scheduler *scheduler;
    const struct relay_limits *limits;
    const struct relay_handler *handler;
    uint64_t last_byte_ms, first_end_ms, second_end_ms;
    union {
        struct {
            struct deadline watch; /* over idleness and lifetime */
            uint64_t ends_ms;      /* its lifetime; UINT64_MAX: never */
            uint64_t pending;      /* on both sides, at the last look of the idle timer */
        } live;
        struct {
            struct task done;
            struct cause cause;
        } over; /* if is_over */
    };
    bool is_over, has_first_end;
    enum relay_side first_end : 8;
};

/* Joins two paused duplexes, takes ownership of both, and sets them going. `r` is the caller's
 * memory and stays put until on_done; `limits` and `handler` outlive it. */
void relay_start(struct relay *r, struct scheduler *s, struct duplex *client,
                 struct duplex *backend, const struct relay_limits *limits,
                 const struct relay_handler *handler);

/* How it goes, for who asks while it does. Indices as in the report: a direction is known by the
 * side that it begins at. All zero of a relay that is all zero: not started yet. */
struct relay_view {
    uint64_t bytes[2], pauses[2];
    uint64_t pending[2]; /* told to its receiver, and not taken: duplex_pending */
    bool is_paused[2], has_ended[2], is_complete[2];
    bool has_first_end;
    enum relay_side first_end;
};

void relay_look(const struct relay *r, struct relay_view *out);

/* Breaks both directions from our side (shutdown, lifetime). on_done follows. Harmless if already
 * over. */
void relay_abort(struct relay *r, struct cause cause);

#endif
