#include "tls_world.h"

#include "memory_pipe.h"
#include "model_tls.h"
#include "tls_duplex.h"
#include "tls_duplex_internal.h"
#include "tls_party.h"

#include <string.h>

#define LINGER_MS 5000
#define REPLAYED  2048

/* What one read of a lower duplex brings: a paused TLS duplex may hold that, and no more. */
#define READ_MAX 65536

/* The network's end of one pipe. */
struct tap {
    struct tap *other;
    struct duplex *duplex; /* NULL: gone */
    bool is_ended;         /* nothing more goes this way out */
    unsigned flip, drop;   /* of what comes in: where, how many; 0: nothing */
    uint8_t last[REPLAYED];
    size_t last_len;
};

struct world {
    struct tls_world_options options;
    struct scheduler scheduler;
    struct memory_pipe pipe[2];
    struct tls_party party[2];
    struct tap tap[2];
    struct tls_party *armed; /* the next op is its reaction */
    enum tls_party_trigger armed_trigger;
    bool is_tampered;
};

/* ---- the network ---- */

static void tap_write(struct tap *to, struct span data)
{
    if (to->duplex != NULL && !to->is_ended && data.len > 0 && duplex_write(to->duplex, &data, 1) &&
        to->other->duplex != NULL)
        duplex_pause(to->other->duplex);
}

static void tap_end(struct tap *to)
{
    if (to->duplex == NULL || to->is_ended)
        return;
    to->is_ended = true;
    duplex_finish(to->duplex);
}

static void tap_abort(struct tap *to)
{
    if (to->duplex == NULL)
        return;
    duplex_abort(to->duplex, (struct cause){.what = CAUSE_RESET});
    to->duplex = NULL;
}

static void tap_on_data(void *owner, struct span data)
{
    struct tap *t = owner;
    if (t->flip > 0)
        data.data[t->flip * 37 % data.len] ^= (uint8_t)(1 << t->flip % 8);
    t->flip = 0;
    if (t->drop > 0) {
        size_t n = t->drop < data.len ? t->drop : data.len;
        data.data += n;
        data.len -= n;
    }
    t->drop = 0;
    t->last_len = data.len < REPLAYED ? data.len : REPLAYED;
    memcpy(t->last, data.data, t->last_len);
    tap_write(t->other, data);
}

static void tap_on_end(void *owner)
{
    struct tap *t = owner;
    tap_end(t->other);
}

static void tap_on_abort(void *owner, struct cause cause)
{
    struct tap *t = owner;
    (void)cause;
    t->duplex = NULL;
    tap_abort(t->other);
}

static void tap_on_drain(void *owner)
{
    struct tap *t = owner, *from = t->other;
    if (from->duplex != NULL)
        duplex_resume(from->duplex);
}

static void tap_on_finished(void *owner)
{
    (void)owner;
}

static const struct duplex_events tap_events = {tap_on_data, tap_on_end, tap_on_abort, tap_on_drain,
                                                tap_on_finished};

static void tap_insert(struct tap *t, size_t amount)
{
    uint8_t bytes[REPLAYED];
    size_t len = t->last_len;
    memcpy(bytes, t->last, len);
    if (amount & 1) {
        len = amount;
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)(20 + i * amount);
    }
    tap_write(t->other, (struct span){bytes, len});
}

static void cut(struct world *w, size_t amount)
{
    size_t which = amount & 1;
    switch (amount >> 1 & 3) {
    case 0:
    case 1:
        tap_end(&w->tap[which]);
        break;
    case 2:
        tap_abort(&w->tap[which]);
        tap_abort(&w->tap[1 - which]);
        break;
    case 3:
    default:
        memory_pipe_break(&w->pipe[which], CAUSE_RESET);
        break;
    }
}

/* ---- the schedule ---- */

/* `up`: from the client. */
static bool step(struct world *w, bool up, size_t max)
{
    bool has_moved = false;
    for (int i = 0; i < 2; i++) {
        int which = up ? i : 1 - i;
        has_moved |= memory_pipe_step(&w->pipe[which], up ? 0 : 1, max);
        scheduler_run_tasks(&w->scheduler);
    }
    return has_moved;
}

static void tamper(struct world *w, uint8_t byte)
{
    size_t amount = byte >> 4;
    struct tap *t = &w->tap[amount & 1];
    w->is_tampered = true;
    switch (byte & 15) {
    case TLS_WORLD_FLIP:
        t->flip = 1 + (unsigned)(amount >> 1) * 5;
        break;
    case TLS_WORLD_DROP:
        t->drop = 1 + (unsigned)(amount >> 1) * 7;
        break;
    case TLS_WORLD_INSERT:
        tap_insert(t, amount >> 1);
        break;
    default:
        cut(w, amount);
        break;
    }
}

static void world_do(struct world *w, uint8_t byte)
{
    size_t amount = byte >> 4;
    if (w->armed != NULL) {
        w->armed->is_armed[w->armed_trigger] = true;
        w->armed->reaction[w->armed_trigger] = byte;
        w->armed = NULL;
        return;
    }
    switch (byte & 15) {
    case TLS_WORLD_CLIENT_SEND:
        tls_party_do(&w->party[0], byte);
        break;
    case TLS_WORLD_SERVER_SEND:
        tls_party_do(&w->party[1], byte);
        break;
    case TLS_WORLD_STEP_UP:
    case TLS_WORLD_STEP_DOWN:
        for (size_t i = 0; i <= amount; i++)
            step(w, (byte & 15) == TLS_WORLD_STEP_UP, SIZE_MAX);
        break;
    case TLS_WORLD_STEP_ONE:
        memory_pipe_step(&w->pipe[amount >> 1 & 1], amount & 1, 1 + amount * amount);
        break;
    case TLS_WORLD_WAIT:
        scheduler_advance(&w->scheduler, w->scheduler.now_ms + 50 + amount * amount * 100);
        break;
    case TLS_WORLD_FLIP:
    case TLS_WORLD_DROP:
    case TLS_WORLD_INSERT:
    case TLS_WORLD_CUT:
        tamper(w, byte);
        break;
    case TLS_WORLD_ARM:
        w->armed = &w->party[amount & 1];
        w->armed_trigger = (enum tls_party_trigger)(amount >> 1 & 3);
        break;
    default:
        tls_party_do(&w->party[amount & 1], byte);
        break;
    }
    scheduler_run_tasks(&w->scheduler);
    for (int i = 0; i < 2; i++)
        tls_party_close_if_complete(&w->party[i]);
    scheduler_run_tasks(&w->scheduler);
}

/* Until nothing moves any more. */
static void flow(struct world *w)
{
    bool is_moving = true;
    while (is_moving) {
        is_moving = step(w, true, SIZE_MAX);
        is_moving |= step(w, false, SIZE_MAX);
        for (int i = 0; i < 2; i++)
            tls_party_close_if_complete(&w->party[i]);
        scheduler_run_tasks(&w->scheduler);
        is_moving |= scheduler_has_tasks(&w->scheduler);
    }
}

/* Everybody reads, the network works, and enough time passes for every wait that has a bound. */
static void settle(struct world *w)
{
    for (int i = 0; i < 20; i++) {
        for (int k = 0; k < 2; k++)
            if (w->party[k].is_paused)
                tls_party_pause(&w->party[k]);
        scheduler_run_tasks(&w->scheduler);
        flow(w);
        scheduler_advance(&w->scheduler, w->scheduler.now_ms + 1000);
        scheduler_run_tasks(&w->scheduler);
    }
}

static void world_init(struct world *w, const struct tls_world_options *options)
{
    memset(w, 0, sizeof *w);
    w->options = *options;
    scheduler_init(&w->scheduler, 1000);
    for (int i = 0; i < 2; i++) {
        struct tap *t = &w->tap[i];
        int role = i == 1 && options->asks_client ? MODEL_TLS_ASKING_SERVER : i;
        struct tls_duplex_options tls = {.config = options->configs[role],
                                         .host = i == MODEL_TLS_CLIENT ? MODEL_TLS_HOST : NULL,
                                         .linger_ms = LINGER_MS,
                                         .keeps_lower_open = i == 0 && options->keeps_lower_open,
                                         .on_open = tls_party_on_open};
        memory_pipe_init(&w->pipe[i], options->capacity);
        t->other = &w->tap[1 - i];
        t->duplex = &w->pipe[i].end[1 - i].duplex;
        duplex_own(t->duplex, &tap_events, t);
        duplex_resume(t->duplex);
        struct duplex *lower = &w->pipe[i].end[i].duplex;
        struct duplex *d = tls_duplex_new(&w->scheduler, lower, &tls);
        if (d == NULL)
            duplex_abort(lower, (struct cause){.what = CAUSE_NO_MEMORY});
        tls_party_init(&w->party[i], &w->party[1 - i], d, i == 0 ? 7 : 99);
    }
}

/* ---- properties ---- */

static const char *check_safety(const struct world *w)
{
    for (int i = 0; i < 2; i++) {
        const struct tls_party *p = &w->party[i], *peer = &w->party[1 - i];
        if (p->wrong != NULL)
            return p->wrong;
        if (p->duplex == NULL && w->options.on_ready == NULL)
            return "no duplex";
        if (p->received > peer->sent)
            return "more arrived than was sent";
        if (p->duplex == NULL || !tls_party_is_live(p))
            continue;
        if (p->is_open != tls_duplex_is_open(p->duplex))
            return "open, and not told";
        if (queue_size(&container_of(p->duplex, struct tls_duplex, duplex)->held) > READ_MAX)
            return "holds more than one read";
    }
    return NULL;
}

static bool is_disturbed(const struct world *w)
{
    bool is_party = false;
    for (int i = 0; i < 2; i++)
        is_party = is_party || w->party[i].has_aborted || w->party[i].has_closed_early;
    return is_party || w->is_tampered;
}

/* Nobody did anything bad: all has arrived. */
static const char *check_undisturbed(const struct world *w)
{
    for (int i = 0; i < 2; i++) {
        const struct tls_party *p = &w->party[i], *peer = &w->party[1 - i];
        if (!p->is_open)
            return "never opened";
        if (p->has_seen_break)
            return "a break that nobody caused";
        if (p->received != peer->sent)
            return "bytes did not arrive";
        if (p->has_seen_end != peer->has_ended)
            return "an end did not arrive";
        if (p->has_finished != p->has_ended)
            return "an end of ours was not told as accepted";
        if (p->has_closed != (p->has_ended && peer->has_ended))
            return "not closed exactly when complete";
        if (tls_party_is_live(p) && !p->has_ended && p->is_full)
            return "full for ever";
        if (tls_party_is_live(p) && duplex_pending(p->duplex) != 0)
            return "something is left over";
    }
    return NULL;
}

/* One has left: the other knows, whatever the network did. */
static const char *check_left(const struct world *w)
{
    for (int i = 0; i < 2; i++) {
        const struct tls_party *p = &w->party[i], *peer = &w->party[1 - i];
        if (tls_party_is_live(p) && !tls_party_is_live(peer) && !p->has_seen_end)
            return "the other has left, and it does not know";
    }
    return NULL;
}

static const char *world_end(struct world *w)
{
    for (int i = 0; i < 2; i++)
        memory_pipe_break(&w->pipe[i], CAUSE_LOST);
    flow(w);
    scheduler_advance(&w->scheduler, w->scheduler.now_ms + 2 * LINGER_MS);
    flow(w);
    const char *problem = check_safety(w);
    for (int i = 0; i < 2; i++) {
        memory_pipe_clear(&w->pipe[i]);
        if (problem == NULL && tls_party_is_live(&w->party[i]))
            problem = "everything was lost, and it does not know";
        if (problem == NULL && !memory_end_is_released(&w->pipe[i].end[i]))
            problem = "the lower duplex is not released";
    }
    uint64_t at_ms;
    if (problem == NULL && scheduler_next(&w->scheduler, &at_ms))
        problem = "a deadline is left over";
    return problem;
}

const char *tls_world_run(const struct tls_world_options *options, const uint8_t *schedule,
                          size_t len)
{
    static struct world w;
    if (options->on_ready != NULL)
        options->on_ready();
    world_init(&w, options);
    if (options->is_shaken)
        flow(&w);
    const char *problem = check_safety(&w);
    for (size_t i = 0; i < len && problem == NULL; i++) {
        world_do(&w, schedule[i]);
        problem = check_safety(&w);
    }
    if (problem == NULL) {
        settle(&w);
        problem = check_safety(&w);
    }
    if (problem == NULL)
        problem = check_left(&w);
    if (problem == NULL && options->on_ready == NULL && !is_disturbed(&w))
        problem = check_undisturbed(&w);
    const char *at_end = world_end(&w);
    return problem != NULL ? problem : at_end;
}
