#include "supervised.h"

#include "notify.h"
#include "text.h"

#include <inttypes.h>
#include <string.h>

#define STATUS_MS   10000 /* between two of them at least */
#define STOPPING_MS 5000  /* between two signs of life in a drain */
#define PATIENCE_MS 20000 /* and how long we have for the next one */

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

static void describe(const struct supervised *s, struct text *out)
{
    uint64_t connections = service_connections(s->service);

    if (s->is_stopping)
        text_addf(out, "draining, %" PRIu64 " connection%s", connections, plural(connections));
    else
        text_addf(out, "%u listener%s, %" PRIu64 " connection%s", s->listeners,
                  plural(s->listeners), connections, plural(connections));
}

static void remember(struct supervised *s, const char *status)
{
    struct text t;

    text_init(&t, s->told, sizeof(s->told));
    text_add(&t, status);
    s->told_ms = s->scheduler->now_ms;
}

/* `news` is a line, with its '\n', that goes before the status. */
static void tell(struct supervised *s, const char *news)
{
    char status[sizeof(s->told)];
    struct text t;

    text_init(&t, status, sizeof(status));
    describe(s, &t);
    remember(s, status);
    notify_send("%sSTATUS=%s", news, status);
}

static void tell_if_changed(struct supervised *s)
{
    char status[sizeof(s->told)];
    struct text t;

    if (s->scheduler->now_ms - s->told_ms < STATUS_MS)
        return;
    text_init(&t, status, sizeof(status));
    describe(s, &t);
    if (strcmp(status, s->told) != 0)
        tell(s, "");
}

static void schedule(struct supervised *s)
{
    uint64_t wait_ms = s->is_stopping ? STOPPING_MS : STATUS_MS;
    uint64_t watchdog_ms = notify_watchdog_ms();

    if (watchdog_ms > 0 && watchdog_ms / 2 < wait_ms)
        wait_ms = watchdog_ms / 2;
    deadline_set(s->scheduler, &s->tick, wait_ms > 0 ? wait_ms : 1);
}

/* Each time anew: a loop that is stuck in its drain is found, too. */
static void ask_for_time(void)
{
    notify_send("EXTEND_TIMEOUT_USEC=%d", PATIENCE_MS * 1000);
}

static void on_tick(struct deadline *d)
{
    struct supervised *s = container_of(d, struct supervised, tick);

    if (notify_watchdog_ms() > 0 && service_goes_round(s->service))
        notify_send("WATCHDOG=1");
    if (s->is_stopping)
        ask_for_time();
    tell_if_changed(s);
    schedule(s);
}

void supervised_begin(struct supervised *s, struct service *service, struct scheduler *scheduler)
{
    *s = (struct supervised){
        .service = service, .scheduler = scheduler, .listeners = service_listeners(service)};
    deadline_init(&s->tick, on_tick);
    if (!notify_is_open())
        return;
    tell(s, "READY=1\n");
    schedule(s);
}

void supervised_stopping(struct supervised *s)
{
    if (s->service == NULL || s->is_stopping || !notify_is_open())
        return;
    s->is_stopping = true;
    tell(s, "STOPPING=1\n");
    ask_for_time();
    schedule(s);
}

void supervised_end(struct supervised *s)
{
    if (s->service != NULL)
        deadline_clear(s->scheduler, &s->tick);
    s->service = NULL;
}
