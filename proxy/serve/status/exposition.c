#include "exposition.h"

#include "metric.h"
#include "process_usage.h"
#include "span.h"

#include <stdio.h>

#define STEPS_MAX 64 /* families or rows at a time, also where they have nothing to say */

/* A name, and who writes its samples: `whole` all of them, `each` those of one route. */
struct family {
    const char *name;
    enum metric_type type;
    const char *help;
    void (*whole)(struct text *t, const char *name, const struct exposition *e);
    void (*each)(struct text *t, const char *name, const char *route, const struct route_counts *c);
};

static const char *const directions[] = {
    [RELAY_CLIENT] = "to_backend", [RELAY_BACKEND] = "to_client"};
static const char *const sides[] = {[RELAY_CLIENT] = "client", [RELAY_BACKEND] = "backend"};
static const char *const carriers[] = {
    [WS_PLAIN] = "plain", [WS_EXTENSION] = "extension", [WS_SUBPROTOCOL] = "subprotocol"};

_Static_assert(array_count(carriers) == COUNTERS_CARRIERS, "one for each");

static struct exposition_state state_of(const struct exposition *e)
{
    struct exposition_state s;

    e->look(e->owner, &s);
    return s;
}

static struct loop_counts sum(const struct exposition *e)
{
    struct loop_counts c;

    counters_sum_loop(e->blocks, e->block_count, &c);
    return c;
}

/* ---- of each route ---- */

static void one(struct text *t, const char *name, const char *route, uint64_t value)
{
    metric_number(t, name, (struct metric_label[]){{"route", route}, {NULL, NULL}}, value);
}

static void two(struct text *t, const char *name, const char *route, const char *label,
                const char *value, uint64_t n)
{
    metric_number(t, name, (struct metric_label[]){{"route", route}, {label, value}, {NULL, NULL}},
                  n);
}

static void both_directions(struct text *t, const char *name, const char *route,
                            const uint64_t values[2])
{
    for (unsigned i = 0; i < 2; i++)
        two(t, name, route, "direction", directions[i], values[i]);
}

/* Causes are many, and most never come: 0 is told of what is always looked for only. */
static void causes(struct text *t, const char *name, const char *route, const char *label,
                   const uint64_t values[CAUSE_COUNT])
{
    for (unsigned i = CAUSE_OK; i < CAUSE_COUNT; i++)
        if (values[i] > 0 || i == CAUSE_OK)
            two(t, name, route, label, cause_name(i), values[i]);
}

static void handshakes(struct text *t, const char *name, const char *route,
                       const struct route_counts *c)
{
    causes(t, name, route, "result", c->handshakes);
}

static void active(struct text *t, const char *name, const char *route,
                   const struct route_counts *c)
{
    one(t, name, route, c->active);
}

static void opened(struct text *t, const char *name, const char *route,
                   const struct route_counts *c)
{
    for (unsigned i = 0; i < COUNTERS_CARRIERS; i++)
        two(t, name, route, "carrier", carriers[i], c->opened[i]);
}

static void closed(struct text *t, const char *name, const char *route,
                   const struct route_counts *c)
{
    for (unsigned i = CAUSE_OK; i < CAUSE_COUNT; i++) {
        for (unsigned at = 0; at < COUNTERS_PLACES; at++) {
            bool is_usual = i == CAUSE_OK && at == CAUSE_AT_PROXY;
            if (c->closed[i][at] == 0 && !is_usual)
                continue;
            struct metric_label labels[] = {{"route", route},
                                            {"cause", cause_name(i)},
                                            {"at", cause_where_name(at)},
                                            {NULL, NULL}};
            metric_number(t, name, labels, c->closed[i][at]);
        }
    }
}

static void bytes(struct text *t, const char *name, const char *route, const struct route_counts *c)
{
    both_directions(t, name, route, c->bytes);
}

static void pauses(struct text *t, const char *name, const char *route,
                   const struct route_counts *c)
{
    both_directions(t, name, route, c->pauses);
}

static void buffered(struct text *t, const char *name, const char *route,
                     const struct route_counts *c)
{
    both_directions(t, name, route, c->buffered);
}

static void half_closes(struct text *t, const char *name, const char *route,
                        const struct route_counts *c)
{
    for (unsigned side = 0; side < 2; side++) {
        for (unsigned i = 0; i < COUNTERS_CARRIERS; i++) {
            struct metric_label labels[] = {{"route", route},
                                            {"first_end", sides[side]},
                                            {"carrier", carriers[i]},
                                            {NULL, NULL}};
            metric_number(t, name, labels, c->half_closes[side][i]);
        }
    }
}

static void half_closed(struct text *t, const char *name, const char *route,
                        const struct route_counts *c)
{
    for (unsigned i = 0; i < 2; i++)
        two(t, name, route, "open", directions[i], c->half_closed[i]);
}

static void truncated(struct text *t, const char *name, const char *route,
                      const struct route_counts *c)
{
    for (unsigned way = 0; way < 2; way++) {
        for (unsigned i = CAUSE_OK + 1; i < CAUSE_COUNT; i++) {
            if (c->truncated[way][i] == 0)
                continue;
            struct metric_label labels[] = {{"route", route},
                                            {"direction", directions[way]},
                                            {"cause", cause_name(i)},
                                            {NULL, NULL}};
            metric_number(t, name, labels, c->truncated[way][i]);
        }
    }
}

static void connect_errors(struct text *t, const char *name, const char *route,
                           const struct route_counts *c)
{
    for (unsigned i = CAUSE_OK + 1; i < CAUSE_COUNT; i++)
        if (c->connect_errors[i] > 0 || i == CAUSE_UNREACHABLE || i == CAUSE_CONNECT_TIMEOUT)
            two(t, name, route, "cause", cause_name(i), c->connect_errors[i]);
}

static void route_histogram(struct text *t, const char *name, const char *route,
                            const struct histogram_scale *scale, const struct histogram *h)
{
    metric_histogram(t, name, (struct metric_label[]){{"route", route}, {NULL, NULL}}, scale, h);
}

static void age(struct text *t, const char *name, const char *route, const struct route_counts *c)
{
    route_histogram(t, name, route, &counters_scale_age, &c->age);
}

static void half_closed_time(struct text *t, const char *name, const char *route,
                             const struct route_counts *c)
{
    route_histogram(t, name, route, &counters_scale_half_closed, &c->half_closed_time);
}

static void connect_time(struct text *t, const char *name, const char *route,
                         const struct route_counts *c)
{
    route_histogram(t, name, route, &counters_scale_connect, &c->connect);
}

/* ---- of all ---- */

static void build(struct text *t, const char *name, const struct exposition *e)
{
    struct exposition_state s = state_of(e);
    struct metric_label labels[] = {{"version", s.version},
                                    {"libuv", s.libuv},
                                    {"mbedtls", s.mbedtls},
                                    {"llhttp", s.llhttp},
                                    {NULL, NULL}};

    metric_number(t, name, labels, 1);
}

static void max_connections(struct text *t, const char *name, const struct exposition *e)
{
    metric_number(t, name, NULL, state_of(e).max_connections);
}

static void handshaking(struct text *t, const char *name, const struct exposition *e)
{
    metric_number(t, name, NULL, sum(e).handshaking);
}

static void deadlines(struct text *t, const char *name, const struct exposition *e)
{
    metric_number(t, name, NULL, sum(e).deadlines);
}

static void tls_handshakes(struct text *t, const char *name, const struct exposition *e)
{
    struct loop_counts c = sum(e);

    for (unsigned i = CAUSE_OK; i < CAUSE_COUNT; i++)
        if (c.tls[i] > 0 || i == CAUSE_OK || i == CAUSE_TLS)
            metric_number(t, name, (struct metric_label[]){{"result", cause_name(i)}, {NULL, NULL}},
                          c.tls[i]);
}

static void limits(struct text *t, const char *name, const struct exposition *e)
{
    struct loop_counts c = sum(e);

    for (unsigned i = 0; i < LIMIT_COUNT; i++)
        metric_number(t, name, (struct metric_label[]){{"limit", limit_name(i)}, {NULL, NULL}},
                      c.limits[i]);
}

static void lag(struct text *t, const char *name, const struct exposition *e)
{
    struct loop_counts c = sum(e);

    metric_histogram(t, name, NULL, &counters_scale_lag, &c.lag);
}

static void draining(struct text *t, const char *name, const struct exposition *e)
{
    metric_number(t, name, NULL, state_of(e).is_draining);
}

static void reload_good(struct text *t, const char *name, const struct exposition *e)
{
    metric_number(t, name, NULL, state_of(e).is_reload_good);
}

static void reload_time(struct text *t, const char *name, const struct exposition *e)
{
    metric_seconds(t, name, NULL, state_of(e).reloaded_ms);
}

static void certificates(struct text *t, const char *name, const struct exposition *e)
{
    struct exposition_state s = state_of(e);

    for (size_t i = 0; i < tls_config_pair_count(s.tls); i++) {
        char file[256];
        struct text path;
        text_init(&path, file, sizeof(file)); /* cut, if it is a very long one */
        text_add(&path, s.pairs[i].cert_file);
        metric_number(t, name, (struct metric_label[]){{"file", file}, {NULL, NULL}},
                      tls_config_not_after(s.tls, i));
    }
}

/* ---- of the process ---- */

static struct process_usage usage(void)
{
    struct process_usage u;

    process_usage_read(&u);
    return u;
}

static void cpu(struct text *t, const char *name, const struct exposition *e)
{
    (void)e;
    metric_seconds(t, name, NULL, usage().cpu_ms);
}

static void open_files(struct text *t, const char *name, const struct exposition *e)
{
    (void)e;
    metric_number(t, name, NULL, process_usage_open_files());
}

static void max_files(struct text *t, const char *name, const struct exposition *e)
{
    (void)e;
    metric_number(t, name, NULL, usage().max_files);
}

static void resident(struct text *t, const char *name, const struct exposition *e)
{
    (void)e;
    metric_number(t, name, NULL, usage().resident_bytes);
}

static void virtual(struct text *t, const char *name, const struct exposition *e)
{
    (void)e;
    metric_number(t, name, NULL, usage().virtual_bytes);
}

static void threads(struct text *t, const char *name, const struct exposition *e)
{
    (void)e;
    metric_number(t, name, NULL, usage().threads);
}

static void started(struct text *t, const char *name, const struct exposition *e)
{
    metric_seconds(t, name, NULL, state_of(e).started_ms);
}

/* ---- the table ---- */

#define COUNTER   METRIC_COUNTER
#define GAUGE     METRIC_GAUGE
#define HISTOGRAM METRIC_HISTOGRAM

static const struct family families[] = {
    {"tidegate_build_info", GAUGE, "What is running.", build, NULL},
    {"tidegate_connections_limit", GAUGE, "The value of --max-connections.", max_connections, NULL},
    {"tidegate_connections_active", GAUGE, "WebSockets open now.", NULL, active},
    {"tidegate_connections_opened_total", COUNTER, "WebSockets that got 101.", NULL, opened},
    {"tidegate_connections_closed_total", COUNTER, "WebSockets that are over, by why.", NULL,
     closed},
    {"tidegate_connection_duration_seconds", HISTOGRAM, "From accept to the end of a WebSocket.",
     NULL, age},
    {"tidegate_bytes_total", COUNTER, "Payload passed on, also of open connections.", NULL, bytes},
    {"tidegate_half_closes_total", COUNTER, "Connections of which one direction ended.", NULL,
     half_closes},
    {"tidegate_half_closed_connections", GAUGE, "Those with one direction open still.", NULL,
     half_closed},
    {"tidegate_half_closed_duration_seconds", HISTOGRAM,
     "From the first end to the second, or to the end of all.", NULL, half_closed_time},
    {"tidegate_truncated_streams_total", COUNTER, "Directions broken before their end.", NULL,
     truncated},
    {"tidegate_backpressure_pauses_total", COUNTER,
     "How often the sender of a direction was paused because its receiver was slow.", NULL, pauses},
    {"tidegate_buffered_bytes", GAUGE, "Waiting for a receiver, here and in the kernel.", NULL,
     buffered},
    {"tidegate_handshakes_total", COUNTER, "Opening handshakes that are over, by result.", NULL,
     handshakes},
    {"tidegate_handshakes_in_progress", GAUGE, "Connections without an answer to their request.",
     handshaking, NULL},
    {"tidegate_tls_handshakes_total", COUNTER, "TLS handshakes of clients, by result.",
     tls_handshakes, NULL},
    {"tidegate_limit_rejections_total", COUNTER, "Clients turned away by a limit.", limits, NULL},
    {"tidegate_backend_connect_duration_seconds", HISTOGRAM,
     "For a backend to be connected to, TLS included.", NULL, connect_time},
    {"tidegate_backend_connect_errors_total", COUNTER, "Backends that could not be connected to.",
     NULL, connect_errors},
    {"tidegate_loop_lag_seconds", HISTOGRAM, "How late the event loop comes to a timer.", lag,
     NULL},
    {"tidegate_deadlines", GAUGE, "Timers that are armed.", deadlines, NULL},
    {"tidegate_draining", GAUGE, "1 from SIGTERM on.", draining, NULL},
    {"tidegate_config_last_reload_successful", GAUGE, "Whether the last reload was good.",
     reload_good, NULL},
    {"tidegate_config_last_reload_success_timestamp_seconds", GAUGE,
     "When the configuration in use was read.", reload_time, NULL},
    {"tidegate_certificate_not_after_timestamp_seconds", GAUGE,
     "When the first certificate of a chain of ours expires.", certificates, NULL},
    {"process_cpu_seconds_total", COUNTER, "User and system time.", cpu, NULL},
    {"process_open_fds", GAUGE, "Open file descriptors.", open_files, NULL},
    {"process_max_fds", GAUGE, "Limit on file descriptors.", max_files, NULL},
    {"process_resident_memory_bytes", GAUGE, "Memory in RAM.", resident, NULL},
    {"process_virtual_memory_bytes", GAUGE, "Address space.", virtual, NULL},
    {"process_threads", GAUGE, "Threads.", threads, NULL},
    {"process_start_time_seconds", GAUGE, "When it was started.", started, NULL},
};

/* ---- in pieces ---- */

void exposition_init(struct exposition *e, const struct counters *const *blocks, size_t count,
                     void (*look)(void *owner, struct exposition_state *out), void *owner)
{
    *e = (struct exposition){
        .blocks = blocks,
        .block_count = count,
        .look = look,
        .owner = owner,
    };
}

/* Before a route is found there is nothing but handshakes. */
static bool is_told(const struct family *f, const struct route_row *row)
{
    return row->name[0] != '\0' || f->each == handshakes;
}

/* One family, or what one route has of it. */
static void advance(struct exposition *e, struct text *out)
{
    const struct family *f = &families[e->family];
    struct route_counts counts;

    if (!e->has_head) {
        metric_head(out, f->name, f->type, f->help);
        e->has_head = true;
        e->row = counters_first(e->blocks[0]);
    }
    if (f->whole != NULL) {
        f->whole(out, f->name, e);
        e->row = NULL;
    } else {
        counters_sum_route(e->blocks, e->block_count, e->row, &counts);
        if (is_told(f, e->row))
            f->each(out, f->name, e->row->name, &counts);
        e->row = counters_next(e->row);
    }
    if (e->row == NULL) {
        e->family++;
        e->has_head = false;
    }
}

bool exposition_next(struct exposition *e, struct text *out)
{
    for (unsigned i = 0; i < STEPS_MAX && e->family < array_count(families); i++) {
        if (out->size - out->len < EXPOSITION_PIECE)
            break;
        advance(e, out);
    }
    return e->family == array_count(families);
}
