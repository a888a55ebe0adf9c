/* A program at the end of a connection, for tests: sends a known sequence of bytes, ends or breaks
 * its side, and checks what it is told against what the other program has sent. */
#ifndef TIDEGATE_MODEL_APP_H
#define TIDEGATE_MODEL_APP_H

#include "duplex.h"

struct model_app {
    struct duplex *duplex;
    uint8_t salt;      /* of the sequence it sends */
    uint8_t peer_salt; /* of the one it expects */
    uint64_t sent, received;
    bool is_full, is_paused, has_ended, has_aborted, has_closed; /* what it did */
    bool has_seen_end, has_seen_break, has_finished;             /* what it was told */
    bool has_seen_wrong; /* bytes not sent, or anything behind an end or a break */
    struct cause cause;
};

void model_app_init(struct model_app *a, struct duplex *d, uint8_t salt, uint8_t peer_salt);

/* These do nothing where a program could not (it has ended, it is full, the connection is broken).
 */
void model_app_send(struct model_app *a, size_t n);
void model_app_end(struct model_app *a);
void model_app_abort(struct model_app *a);

/* Stops or goes on reading. */
void model_app_pause(struct model_app *a);

/* Closes once both directions are complete. */
void model_app_close_if_complete(struct model_app *a);

bool model_app_is_live(const struct model_app *a);

#endif
