/* The services that follow one: each in a loop of its own, that a thread of its own runs. They are
 * made in the leader's thread, which all calls here belong to; from crew_start on each is its own
 * thread's, and what it is to do is sent there (loop_send).
 *
 * A follower's loop goes on, also when its service has drained, until crew_dismiss: what was sent
 * to it before that is still run. The leader's loop goes on until all have drained. */
#ifndef TIDEGATE_CREW_H
#define TIDEGATE_CREW_H

#include "loop.h"

struct crew;
struct service;

/* For up to `max` followers. NULL when out of memory. `leader` is the loop of the one they follow.
 */
struct crew *crew_new(struct loop *leader, unsigned max);

/* Takes over both. `s` is of that loop, and is not running yet. */
void crew_add(struct crew *c, struct loop *l, struct service *s);

/* Runs them. 0, or a negative errno: then those that run already are ended by crew_free. */
int crew_start(struct crew *c);

/* Calls `fn` once, from the leader's loop, when all have drained. */
void crew_on_drained(struct crew *c, void (*fn)(void *arg), void *arg);
bool crew_is_drained(const struct crew *c);

/* service_drain and service_stop, for each of them. */
void crew_drain(struct crew *c, bool is_delayed);
void crew_stop(struct crew *c);

/* Their loops may end. Harmless if they were told already. */
void crew_dismiss(struct crew *c);

/* Dismisses them, and waits for their threads. Harmless again. */
void crew_join(struct crew *c);

/* The connections of all. From any thread. */
uint64_t crew_connections(const struct crew *c);

/* Whether each loop has gone round since the last time this was asked: false if one is stuck. */
bool crew_goes_round(struct crew *c);

/* After crew_join: whether one was stopped with connections left, or looks up a name (loop.h). */
bool crew_was_cut(const struct crew *c);
bool crew_is_looking_up(const struct crew *c);

/* Joins them, and frees all of it; only if none was cut. NULL is fine. */
void crew_free(struct crew *c);

#endif
