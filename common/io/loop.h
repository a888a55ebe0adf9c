/* The event loop: libuv's, with a scheduler that it feeds, one read buffer that all its streams
 * share, and a register of what is open. One a thread. Nothing outside common/io includes <uv.h>.
 */
#ifndef TIDEGATE_LOOP_H
#define TIDEGATE_LOOP_H

#include "scheduler.h"
#include "span.h"

struct loop;

/* NULL when out of memory or descriptors. SIGPIPE is ignored from the first loop on. */
struct loop *loop_new(void);

/* Runs until nothing is open any more (no stream, listener, dial, hold or task; deadlines and
 * signal watches alone do not count) or loop_stop. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);

/* For who waits for a deadline only: loop_run goes on until each hold has been released. */
void loop_hold(struct loop *l);
void loop_release(struct loop *l);

/* Closes at once whatever is still open (streams by reset), and frees all of it. NULL is fine. */
void loop_free(struct loop *l);

/* Whether a thread looks up a name: neither loop_free nor exit(3) returns before it has an answer,
 * or its resolver gives up, after ten seconds or more. */
bool loop_is_looking_up(const struct loop *l);

struct scheduler *loop_scheduler(struct loop *l);

/* The version of libuv that is in use. Static. */
const char *loop_library_version(void);

/* Wall-clock time is for people only; this is the loop's monotonic one, as of this turn. */
uint64_t loop_now_ms(const struct loop *l);

/* Calls `fn` from the loop at each `signum`. Replaces an earlier watch of the same signal. Does not
 * keep loop_run going. 0 or a negative errno. */
int loop_on_signal(struct loop *l, int signum, void (*fn)(void *arg, int signum), void *arg);

/* A call from another thread into this loop. The caller's memory: it stays put until it has run. */
struct loop_call {
    void (*run)(struct loop_call *c); /* in the thread of the loop; c may be sent again, or freed */
    struct loop_call *next;           /* private */
    bool is_sent;                     /* private */
};

void loop_call_init(struct loop_call *c, void (*run)(struct loop_call *c));

/* Runs `c` in the thread of `l`, in one of its next turns; in the order in which they were sent.
 * From any thread, as long as the loop is there. Harmless if it has been sent and has not run yet.
 * One that is under way does not keep loop_run going: who sends it holds the loop, or sees to it
 * that something else does. */
void loop_send(struct loop *l, struct loop_call *c);

/* Streams open now, lingering ones too: the descriptors they hold. */
unsigned loop_open_streams(const struct loop *l);

/* Resets every stream still open, lingering ones too, without any event to their owners. For the
 * very end. */
void loop_reset_streams(struct loop *l);

#endif
