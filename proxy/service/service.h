/* What `serve` and `tunnel` have in common: listeners, a limit on connections, the list of
 * sessions, and a graceful end. What a session does with its connection is its handler's business.
 * Lives in one loop and may share it with others (the demo does). It may have followers: the same
 * service in further loops, each in a thread of its own (crew.h).
 *
 * Each connection has two ends: the near one, that was accepted, and the far one, that the session
 * connects. Connections are counted by their descriptors: each has one for either end reserved from
 * accept on, and gives each back when it has really been closed, lingering included. */
#ifndef TIDEGATE_SERVICE_H
#define TIDEGATE_SERVICE_H

#include "config.h"
#include "ip.h"
#include "loop.h"

struct service;

/* First or other member of a handler's session, which knows its service. That fills it in. */
struct service_session {
    struct service_session *next, *previous;
    uint64_t id, started_ms;
    bool has_far; /* service_session_connected has been told */
};

/* How a connection came here: valid during the call; `at` as long as the service. */
struct service_arrival {
    const struct listen_address *at;
    const char *name; /* of the peer: "address:port", "unix" */
    bool has_peer;    /* false: a unix socket */
    struct ip_endpoint peer;
};

struct service_handler {
    /* Takes over a new, paused stream and sets it going. NULL when out of memory: `near` is
     * untouched. */
    struct service_session *(*start)(void *owner, struct duplex *near,
                                     const struct service_arrival *arrival);
    /* Takes over one above the limit, to end it soon. */
    void (*turn_away)(void *owner, uint64_t id, struct duplex *near,
                      const struct service_arrival *arrival);
    /* Whether there may be one more, asked before `start`. If not, takes it over, to end it soon.
     * NULL: always. */
    bool (*admit)(void *owner, uint64_t id, struct duplex *near,
                  const struct service_arrival *arrival);
    /* What an address takes, for the log: static. NULL: there is but one kind. */
    const char *(*form)(void *owner, const struct listen_address *at);
    /* The service is going away: ends what is not open yet, leaves the rest. May end `s`. */
    void (*drain)(struct service_session *s);
    /* Its patience is over: breaks what is open, ends the rest. May end `s`. */
    void (*abort)(struct service_session *s);
    const char *far_key; /* what its log records call the far end */
};

/* Listens. `config` (with max_connections set), `handler`
 * and `far_name` (for the log) outlive the service. 0 and `*out`, or a negative errno and one line
 * for people. */
int service_open(struct loop *l, const struct service_config *config,
                 const struct service_handler *handler, void *owner, const char *far_name,
                 struct service **out, char *problem, size_t problem_size);

/* The same for another loop, with the same limit on all connections, and addresses of the same
 * (listener_open_beside): `leader` was opened with a configuration that has several workers. What
 * is called here for the leader goes for all that follow it, too (crew.h). */
int service_open_beside(const struct service *leader, struct loop *l, void *owner,
                        struct service **out, char *problem, size_t problem_size);

/* Those that follow it. To be called once, before its loop runs; the service frees it. */
struct crew;
void service_lead(struct service *s, struct crew *crew);

/* Logs msg=listening for each address: who waits for that may connect. */
void service_announce(const struct service *s);

/* "address:port", as it is bound, of listener `index`. */
const char *service_address(const struct service *s, unsigned index);

/* A session has its far end: a stream. */
void service_session_connected(struct service *s, struct service_session *session,
                               struct duplex *far);
/* A session is about to be freed. */
void service_session_over(struct service *s, struct service_session *session);

/* Takes connections for drain_delay_ms more, if `is_delayed`, while service_is_ready says no. Then
 * stops accepting, and lets open connections end; after drain_timeout_ms they are aborted, and a
 * second later the loop is stopped, for what is left to be reset. Otherwise the loop goes on until
 * the last one has ended. */
void service_drain(struct service *s, bool is_delayed);

/* The same without the waiting: aborts all at once, and stops the loop in its next turn. */
void service_stop(struct service *s);

/* Whether a drain has begun, its delay included. */
bool service_is_draining(const struct service *s);

/* Whether new connections are welcome: from service_open to the beginning of a drain. */
bool service_is_ready(const struct service *s);

/* In all loops. From any thread. */
uint64_t service_connections(const struct service *s);
unsigned service_listeners(const struct service *s); /* 0 once they are closed */

/* Calls `fn` once, from the loop, when a drain is over, that of the followers, too: all connections
 * have gone and their descriptors are closed, or the loops are being stopped with some left
 * (service_was_cut). */
void service_on_drained(struct service *s, void (*fn)(void *arg), void *arg);

/* A walk over all sessions of its own loop that takes as many turns as it wants: those that end
 * meanwhile are left out, those that begin, too. */
struct service_walk {
    struct service *service;
    struct service_session *at;
    struct service_walk *next, **link;
};

void service_walk_begin(struct service *s, struct service_walk *w);
struct service_session *service_walk_next(struct service_walk *w); /* NULL: that was all */
/* Before `w` goes, and the service. */
void service_walk_end(struct service_walk *w);

/* After the loop has ended: waits for the threads of those that follow. */
void service_join(struct service *s);

/* After that: whether a thread looks up a name (loop.h). */
bool service_is_looking_up(const struct service *s);

/* Whether the loops of its followers have gone round since this was asked last. */
bool service_goes_round(struct service *s);

/* Whether a loop was stopped with connections left. Their streams are to be reset, and the
 * process is to exit: what is above them is still referred to by the loop's deadlines, so neither
 * service nor loop may be freed. */
bool service_was_cut(const struct service *s);

/* After the loop has ended by itself. NULL is fine. */
void service_free(struct service *s);

/* ---- as a program of its own ---- */

struct service_program {
    const char *subcommand;
    int (*start)(void *arg, struct loop *l, struct service **out, char *problem,
                 size_t problem_size); /* 0, or a negative errno and one line for people */
    void (*end)(void *arg);            /* frees what start made, the service too */
};

/* Runs until SIGTERM or SIGINT. The exit status. Fills in config->max_connections. */
int service_run(const struct service_program *program, void *arg, struct service_config *config);

#endif
