/* Two duplexes joined in memory, for tests: what is written at one end is told at the other, when
 * and in the portions that the test says. Behaves as a TCP connection does, with a virtual network
 * in between. */
#ifndef TIDEGATE_MEMORY_PIPE_H
#define TIDEGATE_MEMORY_PIPE_H

#include "duplex.h"
#include "queue.h"

struct memory_pipe;

struct memory_end {
    struct duplex duplex;
    struct memory_pipe *pipe;
    struct queue out; /* written here, not yet told there */
    size_t capacity;  /* of `out`: full when it holds more */
    uint64_t written; /* bytes, ever */
    bool is_paused, is_full_told;
    bool is_finishing;                   /* finish() was called */
    bool has_told_end;                   /* ... and the other end knows */
    bool is_aborted, is_closed, is_lost; /* the three ways for the owner to be rid of it */
    bool has_told_break;
    bool has_failed; /* out of memory for what was written */
    struct cause abort_cause;
};

struct memory_pipe {
    struct memory_end end[2];
};

void memory_pipe_init(struct memory_pipe *p, size_t capacity);
void memory_pipe_clear(struct memory_pipe *p);

/* Lets up to `max` bytes written at end `from` arrive at the other end, then, if nothing is left,
 * the end or break behind them. Returns whether anything happened. */
bool memory_pipe_step(struct memory_pipe *p, int from, size_t max);

/* The connection is lost: both ends that still have an owner hear on_abort, and what was under way
 * is gone. */
void memory_pipe_break(struct memory_pipe *p, enum cause_what what);

/* No owner any more: closed, aborted, or told of a break. */
bool memory_end_is_released(const struct memory_end *e);

#endif
