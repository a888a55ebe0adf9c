/* A TLS duplex as its own files see it. Private to this floor.
 *
 *   tls_duplex.c  the calls, the life of it, the peer's side, the events of the lower duplex
 *   tls_shake.c   the handshake: who the peer is, and what is no TLS at all
 *   tls_seal.c    our side: what is written, as records
 */
#ifndef TIDEGATE_TLS_DUPLEX_INTERNAL_H
#define TIDEGATE_TLS_DUPLEX_INTERNAL_H

#include "queue.h"
#include "tls_duplex.h"
#include "tls_internal.h"

/* The owner is there in SHAKING and OPEN. */
enum tls_state { TLS_SHAKING, TLS_OPEN, TLS_DEAD };

struct tls_duplex {
    struct duplex duplex;
    struct duplex *lower; /* NULL once it is closed, aborted or lost */
    struct scheduler *scheduler;
    struct tls_duplex_options options;
    mbedtls_ssl_context ssl;
    struct span incoming;     /* of the lower's on_data under way: not yet decrypted */
    struct queue held;        /* not decrypted: the owner has paused, or `shake` is queued */
    struct queue waiting;     /* written before the handshake was over */
    struct deadline patience; /* lower lost: for the owner to take what it had brought */
    struct deadline confirm;  /* our side has ended, the lower's has not: for the peer to take it */
    struct task shake;        /* costly: a step of the handshake */
    struct task pump;         /* goes on after resume(), tells what calls brought about, frees */
    struct span early;        /* came before us; owned */
    struct cause dry;         /* why no more will come; told when all that came has been */
    int verdict; /* mbedTLS's last word on the peer's side, or 0: it is not asked again */
    unsigned confirm_poll_ms;
    enum tls_state state : 8;
    bool is_started : 1; /* resumed once */
    bool is_paused : 1;  /* by the owner */
    bool is_lower_paused : 1;
    bool is_lower_full : 1;
    bool is_lower_over : 1; /* its peer side has ended, or it is lost */
    bool is_full_told : 1;
    bool is_finishing : 1; /* finish() was called */
    bool has_sent_end : 1; /* close_notify was handed to the lower */
    bool has_told_end : 1;
    bool has_sent : 1; /* a byte */
    bool has_told_answered : 1;
    bool has_heard : 1;      /* a byte of the peer */
    bool has_peer_asked : 1; /* for a name of ours */
    bool has_failed : 1;     /* in a call: `dry` is to be told by the task */
};

/* ---- tls_duplex.c ---- */

/* From an event only. A handshake that fails leaves nobody with half a stream: its transport is
 * closed in an orderly way, so that the peer reads our alert. */
void tls_duplex_break(struct tls_duplex *t, struct cause cause);

/* The same, from a call: told by the task. Nothing is read or written any more. */
void tls_duplex_fail(struct tls_duplex *t, enum cause_what what, int native);

/* Our side ends, behind everything written. */
void tls_duplex_end_our_side(struct tls_duplex *t);

/* On_drain, if it is owed and due. */
void tls_duplex_tell_drain(struct tls_duplex *t);

/* ---- tls_shake.c ---- */

/* Before the handshake. 0, or mbedTLS's error. */
int tls_shake_prepare(struct tls_duplex *t);

/* Goes on with it, as far as what has come allows. Opens the duplex, or breaks it. */
void tls_shake(struct tls_duplex *t);

/* Whether `data`, the peer's first, is a request where a TLS record should begin. */
bool tls_shake_is_plain_http(const struct tls_duplex *t, struct span data);

/* Says so to the peer, and breaks the duplex. */
void tls_shake_answer_plain_http(struct tls_duplex *t);

/* ---- tls_seal.c ---- */

/* Room for one call into mbedTLS; calls do not nest, so one a thread does. Not thread-local itself:
 * threads that never see TLS (libuv's) would each have half a megabyte of it. */
struct tls_scratch {
    uint8_t plain[262144];  /* what is read in a turn */
    uint8_t sealed[270336]; /* what one read of a socket brings, sealed */
};

extern _Thread_local struct tls_scratch *tls_scratch;

/* Before the first use in a thread; it stays. False when out of memory. */
bool tls_scratch_prepare(void);

/* A record that mbedTLS has made, to the lower: at once, or with those that follow. */
void tls_seal_record(struct tls_duplex *t, const uint8_t *data, size_t len);

/* What is written, when the handshake is over. */
void tls_seal_spans(struct tls_duplex *t, const struct span *spans, size_t count);

/* What was written before. */
void tls_seal_waiting(struct tls_duplex *t);

/* Once; harmless where it cannot be. */
void tls_seal_close_notify(struct tls_duplex *t);

#endif
