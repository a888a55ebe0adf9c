#include "tls_world.h"

#include "memory_pipe.h"
#include "model_tls.h"
#include "tls_duplex.h"
#include "tls_duplex_internal.h"

#include <assert.h>
#include <string.h>

#define LINGER_MS 5000
#define MUCH      40000
#define REPLAYED  2048

/* What one read of a lower duplex brings: a paused TLS duplex may hold that, and no more. */
#define READ_MAX 65536

enum trigger { ON_DATA, ON_OPEN, ON_END, ON_DRAIN_OR_FINISHED, TRIGGER_COUNT };

struct world;

struct party {
    struct world *world;
    struct duplex *duplex; /* NULL when out of memory: it was never there */
    uint8_t salt;
    uint64_t sent, received;
    bool is_full, is_paused, is_open;
    bool has_ended, has_closed, has_closed_early, has_aborted; /* what it did */
    bool has_seen_end, has_seen_break, has_finished;           /* what it was told */
    bool is_armed[TRIGGER_COUNT];
    uint8_t reaction[TRIGGER_COUNT];
    const char *wrong; /* the first thing that may not be */
};

/* The network's end of one pipe. */
struct tap {
    struct world *world;
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
    struct party party[2];
    struct tap tap[2];
    struct party *armed; /* the next op is its reaction */
    enum trigger armed_trigger;
    bool is_tampered;
};

/* ---- the programs ---- */

static uint8_t byte_at(uint8_t salt, uint64_t position)
{
    return (uint8_t)(salt + position * 131 + (position >> 8));
}

static struct party *peer_of(struct party *p)
{
    return p == &p->world->party[0] ? &p->world->party[1] : &p->world->party[0];
}

static bool is_live(const struct party *p)
{
    return p->duplex != NULL && !p->has_aborted && !p->has_closed && !p->has_seen_break;
}

static void demand(struct party *p, bool holds, const char *problem)
{
    if (!holds && p->wrong == NULL)
        p->wrong = problem;
}

/* Urgent: also when full, as a WebSocket sends its control frames. */
static void party_send(struct party *p, size_t n, bool is_urgent)
{
    static uint8_t bytes[MUCH];
    assert(n <= sizeof bytes);
    if (!is_live(p) || p->has_ended || (p->is_full && !is_urgent) || n == 0)
        return;
    for (size_t i = 0; i < n; i++)
        bytes[i] = byte_at(p->salt, p->sent + i);
    p->sent += n;
    size_t first = n < 5 ? n : 5;
    struct span spans[] = {{bytes, first}, {bytes + first, n - first}};
    if (duplex_write(p->duplex, spans, 2))
        p->is_full = true;
}

static void party_end(struct party *p)
{
    if (!is_live(p) || p->has_ended)
        return;
    p->has_ended = true;
    duplex_finish(p->duplex);
}

static void party_close(struct party *p)
{
    if (!is_live(p))
        return;
    p->has_closed = true;
    p->has_closed_early = !p->has_seen_end || !p->has_finished;
    duplex_close(p->duplex);
}

static void party_abort(struct party *p)
{
    if (!is_live(p))
        return;
    p->has_aborted = true;
    duplex_abort(p->duplex, (struct cause){.what = CAUSE_RESET});
}

static void party_pause(struct party *p)
{
    if (!is_live(p))
        return;
    p->is_paused = !p->is_paused;
    if (p->is_paused)
        duplex_pause(p->duplex);
    else
        duplex_resume(p->duplex);
}

static void party_do(struct party *p, uint8_t byte)
{
    size_t amount = byte >> 4;
    switch (byte & 15) {
    case TLS_WORLD_CLIENT_SEND:
    case TLS_WORLD_SERVER_SEND:
        party_send(p, 1 + amount * amount * 11, amount >= 8);
        break;
    case TLS_WORLD_SEND_MUCH:
        party_send(p, MUCH - 3000 * (amount >> 1), false);
        break;
    case TLS_WORLD_END:
        party_end(p);
        break;
    case TLS_WORLD_CLOSE:
        party_close(p);
        break;
    case TLS_WORLD_ABORT:
        party_abort(p);
        break;
    case TLS_WORLD_PAUSE:
        party_pause(p);
        break;
    default:
        break;
    }
}

static void party_react(struct party *p, enum trigger trigger)
{
    if (!p->is_armed[trigger])
        return;
    p->is_armed[trigger] = false;
    party_do(p, p->reaction[trigger]);
}

static void party_told(struct party *p, const char *problem)
{
    demand(p, is_live(p), problem);
    demand(p, p->is_open, "told something before it was open");
}

static void party_on_data(void *owner, struct span data)
{
    struct party *p = owner;
    party_told(p, "data behind the end of its life");
    demand(p, !p->has_seen_end, "data behind an end");
    demand(p, data.len > 0, "no data as data");
    for (size_t i = 0; i < data.len; i++)
        demand(p, data.data[i] == byte_at(peer_of(p)->salt, p->received + i), "wrong bytes");
    memset(data.data, 0xDD, data.len);
    p->received += data.len;
    party_react(p, ON_DATA);
}

static void party_on_end(void *owner)
{
    struct party *p = owner;
    struct party *peer = peer_of(p);
    party_told(p, "an end behind the end of its life");
    demand(p, !p->has_seen_end, "two ends");
    demand(p, peer->has_ended || peer->has_closed, "an end that nobody sent");
    demand(p, p->received == peer->sent, "an end before all bytes");
    p->has_seen_end = true;
    party_react(p, ON_END);
}

static void party_on_abort(void *owner, struct cause cause)
{
    struct party *p = owner;
    demand(p, is_live(p), "a break behind the end of its life");
    demand(p, cause.what != CAUSE_NONE && cause.what != CAUSE_OK, "a break without a cause");
    p->has_seen_break = true;
}

static void party_on_drain(void *owner)
{
    struct party *p = owner;
    party_told(p, "drained behind the end of its life");
    demand(p, p->is_full, "drained, but was not full");
    p->is_full = false;
    party_react(p, ON_DRAIN_OR_FINISHED);
}

static void party_on_finished(void *owner)
{
    struct party *p = owner;
    party_told(p, "finished behind the end of its life");
    demand(p, p->has_ended && !p->has_finished, "finished without an end of ours, or twice");
    p->has_finished = true;
    party_react(p, ON_DRAIN_OR_FINISHED);
}

static void party_on_open(void *owner)
{
    struct party *p = owner;
    demand(p, is_live(p), "open behind the end of its life");
    demand(p, !p->is_open, "open twice");
    p->is_open = true;
    party_react(p, ON_OPEN);
}

static const struct duplex_events party_events = {party_on_data, party_on_end, party_on_abort,
                                                  party_on_drain, party_on_finished};

static void party_close_if_complete(struct party *p)
{
    if (p->has_seen_end && p->has_finished)
        party_close(p);
}

/* ---- the network ---- */

static struct tap *other_tap(struct tap *t)
{
    return t == &t->world->tap[0] ? &t->world->tap[1] : &t->world->tap[0];
}

static void tap_write(struct tap *to, struct span data)
{
    if (to->duplex != NULL && !to->is_ended && data.len > 0 && duplex_write(to->duplex, &data, 1) &&
        other_tap(to)->duplex != NULL)
        duplex_pause(other_tap(to)->duplex);
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
    tap_write(other_tap(t), data);
}

static void tap_on_end(void *owner)
{
    tap_end(other_tap(owner));
}

static void tap_on_abort(void *owner, struct cause cause)
{
    struct tap *t = owner;
    (void)cause;
    t->duplex = NULL;
    tap_abort(other_tap(t));
}

static void tap_on_drain(void *owner)
{
    struct tap *from = other_tap(owner);
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
    tap_write(other_tap(t), (struct span){bytes, len});
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
        party_do(&w->party[0], byte);
        break;
    case TLS_WORLD_SERVER_SEND:
        party_do(&w->party[1], byte);
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
        w->armed_trigger = (enum trigger)(amount >> 1 & 3);
        break;
    default:
        party_do(&w->party[amount & 1], byte);
        break;
    }
    scheduler_run_tasks(&w->scheduler);
    for (int i = 0; i < 2; i++)
        party_close_if_complete(&w->party[i]);
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
            party_close_if_complete(&w->party[i]);
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
                party_pause(&w->party[k]);
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
        struct party *p = &w->party[i];
        struct tap *t = &w->tap[i];
        int role = i == 1 && options->asks_client ? MODEL_TLS_ASKING_SERVER : i;
        struct tls_duplex_options tls = {.config = options->configs[role],
                                         .host = i == MODEL_TLS_CLIENT ? MODEL_TLS_HOST : NULL,
                                         .linger_ms = LINGER_MS,
                                         .keeps_lower_open = i == 0 && options->keeps_lower_open,
                                         .on_open = party_on_open};
        memory_pipe_init(&w->pipe[i], options->capacity);
        t->world = p->world = w;
        t->duplex = &w->pipe[i].end[1 - i].duplex;
        duplex_own(t->duplex, &tap_events, t);
        duplex_resume(t->duplex);
        p->salt = i == 0 ? 7 : 99;
        struct duplex *lower = &w->pipe[i].end[i].duplex;
        p->duplex = tls_duplex_new(&w->scheduler, lower, &tls);
        if (p->duplex == NULL) {
            demand(p, options->on_ready != NULL, "no duplex");
            duplex_abort(lower, (struct cause){.what = CAUSE_NO_MEMORY});
        } else {
            duplex_own(p->duplex, &party_events, p);
            duplex_resume(p->duplex);
        }
    }
}

/* ---- properties ---- */

static const char *check_safety(const struct world *w)
{
    for (int i = 0; i < 2; i++) {
        const struct party *p = &w->party[i], *peer = &w->party[1 - i];
        if (p->wrong != NULL)
            return p->wrong;
        if (p->received > peer->sent)
            return "more arrived than was sent";
        if (!is_live(p))
            continue;
        if (p->is_open != tls_duplex_is_open(p->duplex))
            return "open, and not told";
        if (container_of(p->duplex, struct tls_duplex, duplex)->held.size > READ_MAX)
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
        const struct party *p = &w->party[i], *peer = &w->party[1 - i];
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
        if (is_live(p) && !p->has_ended && p->is_full)
            return "full for ever";
        if (is_live(p) && duplex_pending(p->duplex) != 0)
            return "something is left over";
    }
    return NULL;
}

/* One has left: the other knows, whatever the network did. */
static const char *check_left(const struct world *w)
{
    for (int i = 0; i < 2; i++) {
        const struct party *p = &w->party[i], *peer = &w->party[1 - i];
        if (is_live(p) && !is_live(peer) && !p->has_seen_end)
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
        if (problem == NULL && is_live(&w->party[i]))
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
