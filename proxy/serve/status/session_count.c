#include "session_count.h"

#include "../session.h"
#include "../site.h"

void session_count_secure(struct session *s)
{
    s->is_secure = true;
    counter_add(&s->host->counters->loop.tls[CAUSE_OK], 1);
}

void session_count_refused(const struct session *s, struct cause cause)
{
    if (s->has_tls && !s->is_secure)
        counter_add(&s->host->counters->loop.tls[cause.what], 1);
    counter_add(&s->counted.route->handshakes[cause.what], 1);
}

void session_count_opened(const struct session *s)
{
    struct route_counts *c = s->counted.route;

    counter_add(&c->handshakes[CAUSE_OK], 1);
    counter_add(&c->opened[s->carrier], 1);
    counter_add(&c->active, 1);
}

/* A counter or a gauge, by how much this session's part of it has changed. */
static void carry(uint64_t *counter, uint64_t *told, uint64_t now)
{
    counter_add(counter, now - *told);
    *told = now;
}

static void carry_pauses(struct session *s, unsigned way, uint64_t now)
{
    struct session_counted *told = &s->counted;

    counter_add(&told->route->pauses[way], now - told->pauses[way]);
    told->pauses[way] = (uint32_t)now; /* as the relay counts them */
}

static void carry_half_closed(struct session *s, enum relay_side way, bool is_now)
{
    struct session_counted *told = &s->counted;

    if (told->is_half_closed[way] != is_now)
        counter_add(&told->route->half_closed[way], is_now ? 1 : UINT64_MAX);
    told->is_half_closed[way] = is_now;
}

static void carry_half_close(struct session *s, enum relay_side first)
{
    if (!s->counted.has_half_close)
        counter_add(&s->counted.route->half_closes[first][s->carrier], 1);
    s->counted.has_half_close = true;
}

void session_count_live(struct session *s)
{
    struct session_counted *told = &s->counted;
    struct route_counts *c = told->route;
    struct relay_view v;

    relay_look(&s->relay, &v);
    if (v.has_first_end)
        carry_half_close(s, v.first_end);
    for (unsigned way = 0; way < 2; way++) {
        carry(&c->bytes[way], &told->bytes[way], v.bytes[way]);
        carry_pauses(s, way, v.pauses[way]);
        carry(&c->buffered[way], &told->buffered[way], v.pending[way]);
        carry_half_closed(s, way, v.has_first_end && !v.has_ended[way]);
    }
}

void session_count_closed(struct session *s, const struct relay_report *report)
{
    struct session_counted *told = &s->counted;
    struct route_counts *c = told->route;
    struct cause cause = report->cause;

    counter_add(&c->active, UINT64_MAX);
    counter_add(&c->closed[cause.what][cause.where], 1);
    histogram_add(&c->age, &counters_scale_age, loop_now_ms(s->host->loop) - s->base.started_ms);
    if (report->has_first_end) {
        carry_half_close(s, report->first_end);
        histogram_add(&c->half_closed_time, &counters_scale_half_closed, report->half_closed_ms);
    }
    for (unsigned way = 0; way < 2; way++) {
        carry(&c->bytes[way], &told->bytes[way], report->bytes[way]);
        carry_pauses(s, way, report->pauses[way]);
        carry(&c->buffered[way], &told->buffered[way], 0);
        carry_half_closed(s, way, false);
        if (!report->is_complete[way])
            counter_add(&c->truncated[way][cause.what], 1);
    }
}
