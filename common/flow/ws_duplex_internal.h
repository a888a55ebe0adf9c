/* A WebSocket duplex as its own files see it. Private to this floor.
 *
 *   ws_duplex.c    the calls, the life of it, and what the owner is told from a task
 *   ws_receive.c   the peer's side: messages, and the events of the lower duplex
 *   ws_liveness.c  pings
 *   ws_timer.c     when these are due
 */
#ifndef TIDEGATE_WS_DUPLEX_INTERNAL_H
#define TIDEGATE_WS_DUPLEX_INTERNAL_H

#include "queue.h"
#include "ws_duplex.h"
#include "ws_sender.h"

/* The life of it. The owner is there in OPEN and BROKEN only. */
enum ws_state {
    WS_OPEN,    /* both directions may still bring something */
    WS_BROKEN,  /* the lower is gone; what it brought, and then on_abort, are still to be told */
    WS_CLOSING, /* the owner has closed; waiting for the peer's Close, or for its end behind that */
    WS_DEAD     /* nothing left but to be freed */
};

/* What is waited for, and for how long at most. */
enum ws_timer {
    WS_TIMER_PATIENCE, /* for the owner to take `held`, or for the peer's Close */
    WS_TIMER_AHEAD,    /* in a pause: then it is read on up to WS_READ_AHEAD */
    WS_TIMER_PING,     /* for the next ping to be due, or the last one to be answered */
    WS_TIMER_COUNT
};

/* A ws_duplex_config, with room for 49 days. */
struct ws_times {
    uint32_t ping_interval_ms, ping_timeout_ms, linger_ms, close_timeout_ms, stall_ms;
};

/* An open connection is mostly this: a member here costs as much as there are connections. */
struct ws_duplex {
    struct duplex duplex;
    struct scheduler *scheduler;
    struct ws_sender sender; /* has the lower duplex: NULL once that is closed, aborted or lost */
    struct ws_reader reader;
    uint64_t received;  /* payload bytes of the peer's side */
    uint64_t life_ms;   /* when the peer last gave a sign of life */
    uint64_t ping_ms;   /* when the ping under way was sent */
    struct queue held;  /* payload that the paused owner has not taken */
    struct queue early; /* what came with the handshake */
    union {
        struct {
            uint64_t pending;  /* bytes before it that the peer had not taken, at the last look */
            uint64_t since_ms; /* ... and when that was last less than before */
        } close;               /* OPEN, CLOSING: ours */
        struct cause broken;   /* BROKEN: to be told */
    };
    uint64_t due_ms[WS_TIMER_COUNT]; /* ws_timer.c has these ... */
    struct deadline deadline;        /* ... and this for the earliest */
    struct task pump;                /* tells the owner what is due, or frees */
    struct ws_times times;
    uint32_t window; /* payload that the peer may be ahead of the owner; 0: it is not told any */
    uint32_t granted_at; /* what the owner had taken when the peer was last told; modulo 2^32 */
    uint16_t peer_code;  /* of the peer's Close */
    enum ws_state state : 8;
    /* looked at for all that comes and goes */
    bool is_paused;       /* by the owner */
    bool is_lower_paused; /* by us */
    bool is_full_told;    /* write() said full: on_drain is owed */
    bool has_peer_ended;  /* FIN n came and n was right (plain: Close 1000) */
    bool is_finishing;    /* finish() was called */
    bool has_sent_end;    /* FIN was handed to the lower (plain: Close) */
    bool awaits_pong;
    /* now and then */
    bool reads_ahead : 1;   /* the pause has lasted */
    bool is_lower_over : 1; /* the lower's peer side has ended, harmlessly */
    bool has_told_end : 1;
    bool has_peer_closed : 1; /* Close came */
    bool is_finished : 1;     /* has_sent_end, and accepted; client: confirmed. It is to be told */
    bool has_told_finished : 1;
};

static inline bool ws_duplex_has_owner(const struct ws_duplex *w)
{
    return w->state == WS_OPEN || w->state == WS_BROKEN;
}

static inline bool ws_duplex_is_plain(const struct ws_duplex *w)
{
    return w->sender.carrier == WS_PLAIN;
}

/* Both streams complete on this WebSocket. What comes then harms nothing (protocol.md section 5.4).
 */
static inline bool ws_duplex_is_complete(const struct ws_duplex *w)
{
    return w->has_peer_ended && w->has_sent_end;
}

/* ---- ws_duplex.c ---- */

/* Something failed. The owner hears of it behind the bytes that came before, if it takes them in
 * time. */
void ws_duplex_break(struct ws_duplex *w, struct cause cause);

/* The same, for a cause of our own. */
void ws_duplex_break_for(struct ws_duplex *w, enum cause_what what, int native);

/* Clears the timers; the memory goes at the end of the turn. The lower is gone already. */
void ws_duplex_die(struct ws_duplex *w);

/* The lower has broken. */
void ws_duplex_forget_lower(struct ws_duplex *w);

/* Close goes out behind what was sent, then the transport ends in an orderly way so that it is
 * read. */
void ws_duplex_send_close_and_leave(struct ws_duplex *w, uint16_t code, const char *reason);

/* Closes the lower and dies: nothing is left to do but to be freed. */
void ws_duplex_leave(struct ws_duplex *w);

/* Pauses or resumes the lower, as the state and the owner's pause demand. */
void ws_duplex_update_reading(struct ws_duplex *w);

/* Lets the peer send more if the owner has taken enough to be worth saying so. Not while the lower
 * is full, so that nothing piles up for a peer that does not read: again when it has drained. */
void ws_duplex_grant(struct ws_duplex *w);

/* After the lower drained, or the window grew. */
void ws_duplex_writing_went_on(struct ws_duplex *w);

/* Our side is finished if nothing more is to be waited for. */
void ws_duplex_check_finished(struct ws_duplex *w);

/* Our side is finished: the owner will be told. */
void ws_duplex_note_finished(struct ws_duplex *w);

/* For ws_timer.c. */
void ws_duplex_fire_patience(struct ws_duplex *w);
void ws_duplex_fire_ahead(struct ws_duplex *w);

/* ---- ws_receive.c ---- */

/* Owns the lower duplex: its events come here from now on. */
void ws_receive_init(struct ws_duplex *w);

/* What the lower brought, or the handshake before it. */
void ws_receive_bytes(struct ws_duplex *w, struct span bytes);

/* ---- ws_liveness.c ---- */

/* Sends the first ping after an interval, if there are to be any. */
void ws_liveness_init(struct ws_duplex *w);

/* For ws_timer.c. */
void ws_liveness_fire_ping(struct ws_duplex *w);

/* ---- ws_timer.c ---- */

/* None is set. */
void ws_timer_init(struct ws_duplex *w);

/* Sets it, or sets it anew: it fires once, `delay_ms` from now. */
void ws_timer_set(struct ws_duplex *w, enum ws_timer timer, uint64_t delay_ms);
bool ws_timer_is_set(const struct ws_duplex *w, enum ws_timer timer);

void ws_timer_clear_all(struct ws_duplex *w);

#endif
