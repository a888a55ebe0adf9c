#include "model_app.h"

#include <assert.h>

static uint8_t byte_at(uint8_t salt, uint64_t position)
{
    return (uint8_t)(salt + position * 131 + (position >> 8));
}

bool model_app_is_live(const struct model_app *a)
{
    return !a->has_aborted && !a->has_closed && !a->has_seen_break;
}

static void app_on_data(void *owner, struct span data)
{
    struct model_app *a = owner;
    if (a->has_seen_end || a->has_seen_break || data.len == 0)
        a->has_seen_wrong = true;
    for (size_t i = 0; i < data.len; i++)
        if (data.data[i] != byte_at(a->peer_salt, a->received + i))
            a->has_seen_wrong = true;
    a->received += data.len;
}

static void app_on_end(void *owner)
{
    struct model_app *a = owner;
    if (a->has_seen_end || a->has_seen_break)
        a->has_seen_wrong = true;
    a->has_seen_end = true;
}

static void app_on_abort(void *owner, struct cause cause)
{
    struct model_app *a = owner;
    if (a->has_seen_break)
        a->has_seen_wrong = true;
    a->has_seen_break = true;
    a->cause = cause;
}

static void app_on_drain(void *owner)
{
    struct model_app *a = owner;
    if (!a->is_full)
        a->has_seen_wrong = true;
    a->is_full = false;
}

static void app_on_finished(void *owner)
{
    struct model_app *a = owner;
    if (a->has_finished || !a->has_ended)
        a->has_seen_wrong = true;
    a->has_finished = true;
}

static const struct duplex_events app_events = {app_on_data, app_on_end, app_on_abort, app_on_drain,
                                                app_on_finished};

void model_app_init(struct model_app *a, struct duplex *d, uint8_t salt, uint8_t peer_salt)
{
    *a = (struct model_app){.duplex = d, .salt = salt, .peer_salt = peer_salt};
    duplex_own(d, &app_events, a);
    duplex_resume(d);
}

void model_app_send(struct model_app *a, size_t n)
{
    uint8_t bytes[1024];
    assert(n <= sizeof bytes);
    if (!model_app_is_live(a) || a->has_ended || a->is_full || n == 0)
        return;
    for (size_t i = 0; i < n; i++)
        bytes[i] = byte_at(a->salt, a->sent + i);
    a->sent += n;
    a->is_full = duplex_write(a->duplex, &(struct span){bytes, n}, 1);
}

void model_app_end(struct model_app *a)
{
    if (!model_app_is_live(a) || a->has_ended)
        return;
    a->has_ended = true;
    duplex_finish(a->duplex);
}

void model_app_abort(struct model_app *a)
{
    if (!model_app_is_live(a))
        return;
    a->has_aborted = true;
    duplex_abort(a->duplex, (struct cause){.what = CAUSE_RESET});
}

void model_app_pause(struct model_app *a)
{
    if (!model_app_is_live(a))
        return;
    a->is_paused = !a->is_paused;
    if (a->is_paused)
        duplex_pause(a->duplex);
    else
        duplex_resume(a->duplex);
}

void model_app_close_if_complete(struct model_app *a)
{
    if (!model_app_is_live(a) || !a->has_seen_end || !a->has_finished)
        return;
    a->has_closed = true;
    duplex_close(a->duplex);
}
