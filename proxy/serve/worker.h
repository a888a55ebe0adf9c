/* One loop of the server: what its sessions share, and the service that they belong to. Each worker
 * but the first has a thread of its own (../service/crew.h); what all of them have in common is
 * read-only, atomic, or has a lock of its own, and none of it is on the data path. */
#ifndef TIDEGATE_WORKER_H
#define TIDEGATE_WORKER_H

#include "session.h"
#include "status/lag.h"

struct worker {
    struct session_host host;
    struct openings openings;
    struct client_slot admitted; /* of who has been let in, until its session has it */
    struct lag lag;
    struct site *_Atomic incoming;    /* held: to be adopted; or NULL */
    _Atomic unsigned wanted, adopted; /* numbers of the sites that were sent, and are in use */
    struct loop_call adopt;
    struct loop_call has_adopted; /* the answer to that */
    struct loop *first;           /* where that goes: the loop that worker_send is called in */
    void (*on_adopted)(void *arg);
    void *on_adopted_arg;
};

extern const struct service_handler worker_handler; /* its owners are workers */

/* `host` has what all workers have in common, and is copied; the loop, the site, openings and
 * counters are set here. `max_handshakes` is for all workers together: this one has its part. 0, or
 * -ENOMEM; worker_clear may follow either. */
int worker_init(struct worker *w, const struct session_host *host, struct loop *l,
                uint64_t max_handshakes, unsigned worker_count);

/* For connections that come from now on. Holds it, and lets go of the one before. In its own
 * thread, or before that runs. */
void worker_adopt(struct worker *w, struct site *site);

/* Before its thread runs: worker_send will be called in the loop `first`, and `fn` there when what
 * was sent is in use; for several of them perhaps only once. */
void worker_follow(struct worker *w, struct loop *first, void (*fn)(void *arg), void *arg);

/* worker_adopt, from `first`, soon. */
void worker_send(struct worker *w, struct site *site);

/* Whether all that was sent is in use. From the thread that sends. */
bool worker_is_current(const struct worker *w);

/* Brings up to date what it counts only now and then; in its own thread. */
void worker_count_loop(struct worker *w);

/* After its service, and the loop if that is its own, have been freed. */
void worker_clear(struct worker *w);

#endif
