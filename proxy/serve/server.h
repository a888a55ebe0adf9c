/* The server: listeners, a limit on connections, the list of sessions, and a graceful end. Lives in
 * one loop and may share it with others (the demo does).
 *
 * Connections are counted by their descriptors: each has one for the client and one for the backend
 * reserved from accept on, and gives each back when it has really been closed, lingering included.
 */
#ifndef TIDEGATE_SERVER_H
#define TIDEGATE_SERVER_H

#include "session.h"

/* Descriptors besides the two of each connection: log, listeners, loop, refusals, attempts to
 * connect. */
#define SERVER_SPARE_DESCRIPTORS 64

struct server;

/* For who wants to watch. All members may be NULL. */
struct server_observer {
    void (*on_connected)(void *arg, enum ws_carrier carrier); /* to the backend; 101 follows */
    void (*on_closed)(void *arg, const struct relay_report *report);
    void *arg;
};

/* Listens, and logs msg=listening for each address. `config` outlives the server;
 * config->max_connections is set. `observer` (NULL: none) is copied. 0 and `*out`, or a negative
 * errno and one line for people. */
int server_start(struct loop *l, const struct server_config *config,
                 const struct server_observer *observer, struct server **out, char *problem,
                 size_t problem_size);

/* "address:port", as it is bound, of listener `index`. */
const char *server_address(const struct server *s, unsigned index);

/* Stops accepting, refuses what is not open yet, and lets open connections end; after
 * drain_timeout_ms they are aborted, and a second later what is left is reset and the loop stopped.
 * Otherwise the loop goes on until the last one has ended. */
void server_drain(struct server *s);

/* The same without the waiting: aborts all at once, and stops the loop in its next turn. */
void server_stop(struct server *s);

bool server_is_draining(const struct server *s);

/* Whether connections had to be reset at the end. What was above their streams is then still
 * referred to by the loop's deadlines: neither server nor loop may be freed, the process is to
 * exit. */
bool server_was_cut(const struct server *s);

/* After the loop has ended by itself. NULL is fine. */
void server_free(struct server *s);

#endif
