#include "lag.h"

#include "span.h"

#define LOOK_MS 500

static void set(struct lag *lag)
{
    lag->due_ms = lag->scheduler->now_ms + LOOK_MS;
    deadline_set(lag->scheduler, &lag->look, LOOK_MS);
}

static void on_look(struct deadline *d)
{
    struct lag *lag = container_of(d, struct lag, look);

    histogram_add(&lag->counters->loop.lag, &counters_scale_lag,
                  lag->scheduler->now_ms - lag->due_ms);
    set(lag);
}

void lag_begin(struct lag *lag, struct scheduler *s, struct counters *counters)
{
    *lag = (struct lag){.scheduler = s, .counters = counters};
    deadline_init(&lag->look, on_look);
    set(lag);
}

void lag_end(struct lag *lag)
{
    if (lag->scheduler != NULL)
        deadline_clear(lag->scheduler, &lag->look);
    lag->scheduler = NULL;
}
