/* The duplex contract: a two-way byte stream whose directions end separately.
 *
 * Glossary
 *   duplex     a TCP, unix or TLS connection, or a WebSocket, seen from its middle by its one owner
 *   our side   the direction we write: write(), then finish()
 *   peer side  the direction we read: on_data, then on_end
 *   end        a direction is complete: every byte of it is there and its sender said so
 *   break      anything else: both directions are over, nothing may look like an end
 *   full       more was written than the layer below takes at once: the rest is kept, write no more
 *   lower      the duplex under a duplex: the TCP connection under a WebSocket
 *
 * The relay (relay.h) joins two of these and knows nothing else. To add a transport, write the
 * calls, tell the events, and test them as tests/unit/test_stream*.c do.
 *
 * Rules
 *   - No call calls back into its owner. Events come from the loop: from a socket, a deadline or a
 * task.
 *   - The life of a duplex ends with exactly one of: the owner's close(), the owner's abort(), the
 * event on_abort. After it the owner does not touch the duplex, and hears nothing more from it.
 * What is left to do (flush, wait for the peer, free) the duplex does alone, bounded by its linger
 * time. Memory is freed at the end of the loop's turn at the earliest.
 *   - A new duplex is paused: the owner sets itself with duplex_own, then calls resume().
 *   - After pause() the rest of the read under way may still come as on_data, on_end or on_abort.
 *   - Ends travel behind bytes; on_abort comes behind the bytes that came before the failure, as
 * long as the owner takes them within the linger time.
 *   - Data spans belong to the callee for the call: on_data may change them, write() too (a client
 * masks in place). They are not valid afterwards.
 *   - Nothing here fails: a stream that cannot go on tells on_abort. Contracts are asserted. */
#ifndef TIDEGATE_DUPLEX_H
#define TIDEGATE_DUPLEX_H

#include "cause.h"
#include "span.h"

#include <stdbool.h>

struct duplex;

struct duplex_ops {
    /* Takes all bytes. True: full, as is every write until on_drain comes. Not after finish(). Once
     * the duplex has failed (on_abort may still be on its way behind data) the bytes go nowhere:
     * false. */
    bool (*write)(struct duplex *d, const struct span *spans, size_t count);
    /* Ends our side behind everything written; reading goes on. Again: harmless. on_finished
     * follows. */
    void (*finish)(struct duplex *d);
    /* The peer is to see a break, never an end: what was written before goes first if the peer
     * takes it within the linger time, a finish() that has not been carried out does not. Frees. */
    void (*abort)(struct duplex *d, struct cause cause);
    /* Stop and go on reading. Both harmless when already so. */
    void (*pause)(struct duplex *d);
    void (*resume)(struct duplex *d);
    /* Both directions are complete (on_end heard, on_finished heard): orderly close. Frees. */
    void (*close)(struct duplex *d);
    /* Bytes written that the peer has not taken yet, here or in the kernel: if it gets smaller
     * while nothing is written, a slow peer is reading. For timers; not on the data path. */
    uint64_t (*pending)(const struct duplex *d);
    /* A hint, which may be NULL: what is written from here on may wait for the finish() or close()
     * that comes behind it at once, and share a packet with that (TCP_CORK). */
    void (*cork)(struct duplex *d);
};

struct duplex_events {
    void (*on_data)(void *owner, struct span data); /* len > 0 */
    void (*on_end)(void *owner); /* the peer's side is complete; once, no data after */
    void (*on_abort)(void *owner, struct cause cause); /* broken; once, last; `where` is not set */
    void (*on_drain)(void *owner);                     /* no longer full */
    /* Our side is complete: all that was written and the end behind it have been accepted. TCP: by
     * the peer's kernel. WebSocket server: FIN by ours. WebSocket client: the server's Close 1000,
     * which confirms the far end (docs/protocol.md section 5). Once. */
    void (*on_finished)(void *owner);
};

struct duplex {
    const struct duplex_ops *ops;
    const struct duplex_events *events;
    void *owner;
};

static inline void duplex_own(struct duplex *d, const struct duplex_events *events, void *owner)
{
    d->events = events;
    d->owner = owner;
}

static inline bool duplex_write(struct duplex *d, const struct span *spans, size_t count)
{
    return d->ops->write(d, spans, count);
}

static inline void duplex_finish(struct duplex *d)
{
    d->ops->finish(d);
}

static inline void duplex_abort(struct duplex *d, struct cause cause)
{
    d->ops->abort(d, cause);
}

static inline void duplex_pause(struct duplex *d)
{
    d->ops->pause(d);
}

static inline void duplex_resume(struct duplex *d)
{
    d->ops->resume(d);
}

static inline uint64_t duplex_pending(const struct duplex *d)
{
    return d->ops->pending(d);
}

static inline void duplex_close(struct duplex *d)
{
    d->ops->close(d);
}

static inline void duplex_cork(struct duplex *d)
{
    if (d->ops->cork != NULL)
        d->ops->cork(d);
}

/* Last words. */
static inline void duplex_write_and_close(struct duplex *d, struct span last)
{
    duplex_cork(d);
    duplex_write(d, &last, 1);
    duplex_close(d);
}

#endif
