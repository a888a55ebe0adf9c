/* A program at one end of a TLS connection, for tests: it sends a sequence of bytes that the other
 * knows, ends, closes, aborts and pauses, also in an event, and checks all that it is told. */
#ifndef TIDEGATE_TLS_PARTY_H
#define TIDEGATE_TLS_PARTY_H

#include "duplex.h"

enum tls_party_trigger {
    TLS_PARTY_ON_DATA,
    TLS_PARTY_ON_OPEN,
    TLS_PARTY_ON_END,
    TLS_PARTY_ON_DRAIN_OR_FINISHED,
    TLS_PARTY_TRIGGERS
};

struct tls_party {
    struct tls_party *peer;
    struct duplex *duplex; /* NULL when out of memory: it was never there */
    uint8_t salt;
    uint64_t sent, received;
    bool is_full, is_paused, is_open;
    bool has_ended, has_closed, has_closed_early, has_aborted; /* what it did */
    bool has_seen_end, has_seen_break, has_finished;           /* what it was told */
    bool is_armed[TLS_PARTY_TRIGGERS];
    uint8_t reaction[TLS_PARTY_TRIGGERS];
    const char *wrong; /* the first thing that may not be */
};

/* Makes the program the owner of `d`; NULL when there is none. */
void tls_party_init(struct tls_party *p, struct tls_party *peer, struct duplex *d, uint8_t salt);

/* On_open of the TLS duplex. */
void tls_party_on_open(void *owner);

/* What one byte of a schedule (tls_world.h) does to a program; nothing where it could not. */
void tls_party_do(struct tls_party *p, uint8_t byte);

void tls_party_pause(struct tls_party *p);
void tls_party_close_if_complete(struct tls_party *p);

/* Neither left nor told of a break. */
bool tls_party_is_live(const struct tls_party *p);

#endif
