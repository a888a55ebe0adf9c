#include "tls_party.h"

#include "tls_world.h"

#include <assert.h>
#include <string.h>

#define MUCH 40000

static uint8_t byte_at(uint8_t salt, uint64_t position)
{
    return (uint8_t)(salt + position * 131 + (position >> 8));
}

bool tls_party_is_live(const struct tls_party *p)
{
    return p->duplex != NULL && !p->has_aborted && !p->has_closed && !p->has_seen_break;
}

static void demand(struct tls_party *p, bool holds, const char *problem)
{
    if (!holds && p->wrong == NULL)
        p->wrong = problem;
}

/* Urgent: also when full, as a WebSocket sends its control frames. */
static void party_send(struct tls_party *p, size_t n, bool is_urgent)
{
    static uint8_t bytes[MUCH];
    assert(n <= sizeof bytes);
    if (!tls_party_is_live(p) || p->has_ended || (p->is_full && !is_urgent) || n == 0)
        return;
    for (size_t i = 0; i < n; i++)
        bytes[i] = byte_at(p->salt, p->sent + i);
    p->sent += n;
    size_t first = n < 5 ? n : 5;
    struct span spans[] = {{bytes, first}, {bytes + first, n - first}};
    if (duplex_write(p->duplex, spans, 2))
        p->is_full = true;
}

static void party_end(struct tls_party *p)
{
    if (!tls_party_is_live(p) || p->has_ended)
        return;
    p->has_ended = true;
    duplex_finish(p->duplex);
}

static void party_close(struct tls_party *p)
{
    if (!tls_party_is_live(p))
        return;
    p->has_closed = true;
    p->has_closed_early = !p->has_seen_end || !p->has_finished;
    duplex_close(p->duplex);
}

static void party_abort(struct tls_party *p)
{
    if (!tls_party_is_live(p))
        return;
    p->has_aborted = true;
    duplex_abort(p->duplex, (struct cause){.what = CAUSE_RESET});
}

void tls_party_pause(struct tls_party *p)
{
    if (!tls_party_is_live(p))
        return;
    p->is_paused = !p->is_paused;
    if (p->is_paused)
        duplex_pause(p->duplex);
    else
        duplex_resume(p->duplex);
}

void tls_party_do(struct tls_party *p, uint8_t byte)
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
        tls_party_pause(p);
        break;
    default:
        break;
    }
}

static void party_react(struct tls_party *p, enum tls_party_trigger trigger)
{
    if (!p->is_armed[trigger])
        return;
    p->is_armed[trigger] = false;
    tls_party_do(p, p->reaction[trigger]);
}

static void party_told(struct tls_party *p, const char *problem)
{
    demand(p, tls_party_is_live(p), problem);
    demand(p, p->is_open, "told something before it was open");
}

static void party_on_data(void *owner, struct span data)
{
    struct tls_party *p = owner;
    party_told(p, "data behind the end of its life");
    demand(p, !p->has_seen_end, "data behind an end");
    demand(p, data.len > 0, "no data as data");
    for (size_t i = 0; i < data.len; i++)
        demand(p, data.data[i] == byte_at(p->peer->salt, p->received + i), "wrong bytes");
    memset(data.data, 0xDD, data.len);
    p->received += data.len;
    party_react(p, TLS_PARTY_ON_DATA);
}

static void party_on_end(void *owner)
{
    struct tls_party *p = owner;
    struct tls_party *peer = p->peer;
    party_told(p, "an end behind the end of its life");
    demand(p, !p->has_seen_end, "two ends");
    demand(p, peer->has_ended || peer->has_closed, "an end that nobody sent");
    demand(p, p->received == peer->sent, "an end before all bytes");
    p->has_seen_end = true;
    party_react(p, TLS_PARTY_ON_END);
}

static void party_on_abort(void *owner, struct cause cause)
{
    struct tls_party *p = owner;
    demand(p, tls_party_is_live(p), "a break behind the end of its life");
    demand(p, cause.what != CAUSE_NONE && cause.what != CAUSE_OK, "a break without a cause");
    p->has_seen_break = true;
}

static void party_on_drain(void *owner)
{
    struct tls_party *p = owner;
    party_told(p, "drained behind the end of its life");
    demand(p, p->is_full, "drained, but was not full");
    p->is_full = false;
    party_react(p, TLS_PARTY_ON_DRAIN_OR_FINISHED);
}

static void party_on_finished(void *owner)
{
    struct tls_party *p = owner;
    party_told(p, "finished behind the end of its life");
    demand(p, p->has_ended && !p->has_finished, "finished without an end of ours, or twice");
    p->has_finished = true;
    party_react(p, TLS_PARTY_ON_DRAIN_OR_FINISHED);
}

void tls_party_on_open(void *owner)
{
    struct tls_party *p = owner;
    demand(p, tls_party_is_live(p), "open behind the end of its life");
    demand(p, !p->is_open, "open twice");
    p->is_open = true;
    party_react(p, TLS_PARTY_ON_OPEN);
}

static const struct duplex_events party_events = {party_on_data, party_on_end, party_on_abort,
                                                  party_on_drain, party_on_finished};

void tls_party_init(struct tls_party *p, struct tls_party *peer, struct duplex *d, uint8_t salt)
{
    *p = (struct tls_party){.duplex = d, .peer = peer, .salt = salt};
    if (d == NULL)
        return;
    duplex_own(d, &party_events, p);
    duplex_resume(d);
}

void tls_party_close_if_complete(struct tls_party *p)
{
    if (p->has_seen_end && p->has_finished)
        party_close(p);
}
