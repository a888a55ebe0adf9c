#include "memory_pipe.h"

#include <assert.h>
#include <string.h>

static struct memory_end *from_duplex(struct duplex *d)
{
    return container_of(d, struct memory_end, duplex);
}

bool memory_end_is_released(const struct memory_end *e)
{
    return e->is_aborted || e->is_closed || e->is_lost;
}

static bool memory_write(struct duplex *d, const struct span *spans, size_t count)
{
    struct memory_end *e = from_duplex(d);
    assert(!memory_end_is_released(e) && !e->is_finishing);
    for (size_t i = 0; i < count; i++) {
        if (queue_push(&e->out, spans[i]) != 0)
            e->has_failed = true; /* the connection is lost at the next step, and tells so */
        e->written += spans[i].len;
        memset(spans[i].data, 0xEE, spans[i].len); /* the bytes belong to the callee */
    }
    if (queue_size(&e->out) > e->capacity)
        e->is_full_told = true; /* until on_drain */
    return e->is_full_told;
}

static void memory_finish(struct duplex *d)
{
    struct memory_end *e = from_duplex(d);
    assert(!memory_end_is_released(e));
    e->is_finishing = true;
}

static void memory_abort(struct duplex *d, struct cause cause)
{
    struct memory_end *e = from_duplex(d);
    assert(!memory_end_is_released(e));
    e->is_aborted = true;
    e->abort_cause = cause;
    if (!e->has_told_end)
        e->is_finishing = false;
}

static void memory_pause(struct duplex *d)
{
    from_duplex(d)->is_paused = true;
}

static void memory_resume(struct duplex *d)
{
    from_duplex(d)->is_paused = false;
}

static void memory_close(struct duplex *d)
{
    struct memory_end *e = from_duplex(d);
    assert(!memory_end_is_released(e));
    e->is_closed = true;
    e->is_finishing = true;
}

static uint64_t memory_pending(const struct duplex *d)
{
    return queue_size(&container_of(d, const struct memory_end, duplex)->out);
}

static const struct duplex_ops memory_ops = {memory_write,   memory_finish, memory_abort,
                                             memory_pause,   memory_resume, memory_close,
                                             memory_pending, NULL};

void memory_pipe_init(struct memory_pipe *p, size_t capacity)
{
    memset(p, 0, sizeof *p);
    for (int i = 0; i < 2; i++) {
        p->end[i].duplex.ops = &memory_ops;
        p->end[i].pipe = p;
        p->end[i].capacity = capacity;
        p->end[i].is_paused = true;
    }
}

void memory_pipe_clear(struct memory_pipe *p)
{
    queue_clear(&p->end[0].out);
    queue_clear(&p->end[1].out);
}

static void tell_break(struct memory_end *e, enum cause_what what)
{
    e->is_lost = true;
    e->duplex.events->on_abort(e->duplex.owner, (struct cause){.what = what});
}

static bool deliver(struct memory_end *a, struct memory_end *b, size_t max)
{
    struct span first;
    if (queue_peek(&a->out, &first, 1) == 0)
        return false;
    if (memory_end_is_released(b)) {
        /* Nobody is there: a closed socket reads on to the end, an aborted one answers with a
         * reset. */
        queue_clear(&a->out);
    } else if (b->is_paused) {
        return false;
    } else {
        static uint8_t copy[65536];
        size_t n = first.len < max ? first.len : max;
        n = n < sizeof copy ? n : sizeof copy;
        memcpy(copy, first.data, n);
        queue_drop(&a->out, n);
        b->duplex.events->on_data(b->duplex.owner, (struct span){copy, n});
    }
    if (queue_is_empty(&a->out) && a->is_full_told && !memory_end_is_released(a)) {
        a->is_full_told = false;
        a->duplex.events->on_drain(a->duplex.owner);
    }
    return true;
}

bool memory_pipe_step(struct memory_pipe *p, int from, size_t max)
{
    struct memory_end *a = &p->end[from], *b = &p->end[1 - from];
    if (a->has_failed) {
        a->has_failed = false;
        memory_pipe_break(p, CAUSE_NO_MEMORY);
        return true;
    }
    if (deliver(a, b, max))
        return true;
    if (!queue_is_empty(&a->out))
        return false;
    if (a->is_finishing && !a->has_told_end) {
        if (b->is_paused && !memory_end_is_released(b))
            return false; /* as TCP: the end is read, and a paused end does not read */
        a->has_told_end = true;
        if (!memory_end_is_released(a))
            a->duplex.events->on_finished(a->duplex.owner);
        if (!memory_end_is_released(b))
            b->duplex.events->on_end(b->duplex.owner);
        return true;
    }
    if (a->is_aborted && !a->has_told_break) {
        if (b->is_paused && !memory_end_is_released(b))
            return false;
        a->has_told_break = true;
        if (!memory_end_is_released(b))
            tell_break(b, CAUSE_RESET);
        return true;
    }
    return false;
}

void memory_pipe_break(struct memory_pipe *p, enum cause_what what)
{
    memory_pipe_clear(p);
    for (int i = 0; i < 2; i++)
        if (!memory_end_is_released(&p->end[i]))
            tell_break(&p->end[i], what);
}
