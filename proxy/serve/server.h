/* The server: services whose sessions are WebSocket clients, each bridged to the backend, in as
 * many loops as there are workers. What it does itself, reading and reloading, it does in the
 * first. */
#ifndef TIDEGATE_SERVER_H
#define TIDEGATE_SERVER_H

#include "../service/service.h"
#include "config.h"

struct page_set;
struct server;
struct settings;
struct site;
struct worker;

/* For who wants to watch. All members may be NULL. */
struct server_observer {
    void (*on_connected)(void *arg, enum ws_carrier carrier); /* to the backend; 101 follows */
    void (*on_closed)(void *arg, const struct relay_report *report);
    void *arg;
};

/* Reads the files that the settings name, and holds the settings. `observer` (NULL: none) is
 * copied. 0 and `*out`, or a negative errno and one line for people. */
int server_new(struct loop *l, struct settings *settings, const struct server_observer *observer,
               struct server **out, struct text *problem);

/* Listens as service_open does, once, for all workers. 0, or a negative errno and one line for
 * people. */
int server_listen(struct server *s, char *problem, size_t problem_size);

/* After that, and before the loop runs: starts the threads of all workers but the first. 0, or a
 * negative errno and one line for people. */
int server_start_workers(struct server *s, char *problem, size_t problem_size);

/* Before server_listen: shows these (page.h) to who asks for them. They stay the caller's. */
void server_show_pages(struct server *s, const struct page_set *pages);

/* That of the first worker, which the others follow. */
struct service *server_service(const struct server *s);

/* They stay where they are from server_listen on (worker.h). */
unsigned server_worker_count(const struct server *s);
struct worker *server_worker(const struct server *s, unsigned index);

/* The current one, which a reload replaces: not to be kept beyond a turn of the loop. */
const struct site *server_site(const struct server *s);

/* How reading the configuration went last: at the start, or at a reload. */
struct server_reading {
    bool is_good;
    uint64_t good_ms; /* the last good one; since the epoch */
};

const struct server_reading *server_reading(const struct server *s);

/* Reads everything again (the configuration file, and the files that the settings name), for
 * connections that come from now on; those that are there keep what they came with. Says in the log
 * how that went: what is wrong changes nothing. The files but the configuration are also read again
 * by themselves when they have changed. */
void server_reload(struct server *s);

/* Calls `fn`, from the loop, whenever a reload is over: what was read is in use in all workers, or
 * nothing has changed. */
void server_on_reloaded(struct server *s, void (*fn)(void *arg), void *arg);

/* After the loop has ended by itself. NULL is fine. */
void server_free(struct server *s);

#endif
