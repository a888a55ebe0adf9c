#include "wire_tap.h"

#include <stdlib.h>
#include <string.h>

struct wire_tap {
    struct duplex duplex;
    struct duplex *lower;
    struct scheduler *scheduler;
    struct timeline *timeline;
    struct ws_reader up, down;
    struct task gone; /* frees */
};

static struct wire_tap *tap_of(struct duplex *d)
{
    return container_of(d, struct wire_tap, duplex);
}

/* ---- what passes ---- */

static void show_event(struct wire_tap *t, enum timeline_lane lane, const struct ws_event *e)
{
    switch (e->type) {
    case WS_EVENT_DATA:
        if (e->payload.len > 0)
            timeline_note(t->timeline, "wire", lane, MOOD_PLAIN, "%s, %zu bytes",
                          e->opcode == WS_TEXT ? "Text" : "Binary", e->payload.len);
        break;
    case WS_EVENT_PING:
        timeline_note(t->timeline, "wire", lane, MOOD_PLAIN, "Ping");
        break;
    case WS_EVENT_PONG:
        timeline_note(t->timeline, "wire", lane, MOOD_PLAIN, "Pong");
        break;
    case WS_EVENT_CLOSE:
        timeline_note(t->timeline, "wire", lane, MOOD_END, "Close %u", e->code);
        break;
    case WS_EVENT_CONTROL:
        timeline_note(t->timeline, "wire", lane, MOOD_END, "%.*s", (int)e->payload.len,
                      (const char *)e->payload.data);
        break;
    case WS_EVENT_ERROR:
        timeline_note(t->timeline, "wire", lane, MOOD_BAD, "%s", e->problem);
        break;
    }
}

/* Reading unmasks in place, so it is done on a copy. */
static void show_bytes(struct wire_tap *t, enum timeline_lane lane, struct span bytes)
{
    uint8_t *copy = malloc(bytes.len == 0 ? 1 : bytes.len);
    struct span in = {copy, bytes.len};
    struct ws_event e;

    if (copy == NULL)
        return;
    memcpy(copy, bytes.data, bytes.len);
    while (ws_reader_next(lane == LANE_UP ? &t->up : &t->down, &in, &e))
        show_event(t, lane, &e);
    free(copy);
}

void wire_tap_show_early(struct duplex *tap, struct span bytes)
{
    if (bytes.len > 0)
        show_bytes(tap_of(tap), LANE_DOWN, bytes);
}

/* ---- the six calls ---- */

static void run_gone(struct task *task)
{
    struct wire_tap *t = container_of(task, struct wire_tap, gone);

    ws_reader_clear(&t->up);
    ws_reader_clear(&t->down);
    free(t);
}

static bool tap_write(struct duplex *d, const struct span *spans, size_t count)
{
    struct wire_tap *t = tap_of(d);

    for (size_t i = 0; i < count; i++)
        show_bytes(t, LANE_UP, spans[i]);
    return duplex_write(t->lower, spans, count);
}

static void tap_finish(struct duplex *d)
{
    duplex_finish(tap_of(d)->lower);
}

static void tap_abort(struct duplex *d, struct cause cause)
{
    struct wire_tap *t = tap_of(d);

    duplex_abort(t->lower, cause);
    task_defer(t->scheduler, &t->gone);
}

static void tap_pause(struct duplex *d)
{
    duplex_pause(tap_of(d)->lower);
}

static void tap_resume(struct duplex *d)
{
    duplex_resume(tap_of(d)->lower);
}

static void tap_close(struct duplex *d)
{
    struct wire_tap *t = tap_of(d);

    duplex_close(t->lower);
    task_defer(t->scheduler, &t->gone);
}

static uint64_t tap_pending(const struct duplex *d)
{
    return duplex_pending(container_of(d, const struct wire_tap, duplex)->lower);
}

static void tap_cork(struct duplex *d)
{
    duplex_cork(tap_of(d)->lower);
}

static const struct duplex_ops tap_ops = {tap_write,  tap_finish, tap_abort,   tap_pause,
                                          tap_resume, tap_close,  tap_pending, tap_cork};

/* ---- the five events ---- */

static void on_data(void *owner, struct span data)
{
    struct wire_tap *t = owner;

    show_bytes(t, LANE_DOWN, data);
    t->duplex.events->on_data(t->duplex.owner, data);
}

static void on_end(void *owner)
{
    struct wire_tap *t = owner;

    t->duplex.events->on_end(t->duplex.owner);
}

static void on_abort(void *owner, struct cause cause)
{
    struct wire_tap *t = owner;

    task_defer(t->scheduler, &t->gone);
    t->duplex.events->on_abort(t->duplex.owner, cause);
}

static void on_drain(void *owner)
{
    struct wire_tap *t = owner;

    t->duplex.events->on_drain(t->duplex.owner);
}

static void on_finished(void *owner)
{
    struct wire_tap *t = owner;

    t->duplex.events->on_finished(t->duplex.owner);
}

static const struct duplex_events lower_events = {on_data, on_end, on_abort, on_drain, on_finished};

struct duplex *wire_tap_new(struct scheduler *s, struct duplex *lower, enum ws_carrier carrier,
                            struct timeline *timeline)
{
    struct wire_tap *t = calloc(1, sizeof(*t));

    if (t == NULL)
        return NULL;
    t->duplex.ops = &tap_ops;
    t->lower = lower;
    t->scheduler = s;
    t->timeline = timeline;
    ws_reader_init(&t->up, WS_SERVER, carrier);
    ws_reader_init(&t->down, WS_CLIENT, carrier);
    task_init(&t->gone, run_gone);
    duplex_own(lower, &lower_events, t);
    return &t->duplex;
}
