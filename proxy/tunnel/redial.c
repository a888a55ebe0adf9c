#include "redial.h"

#include "crypto.h"
#include "log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DELAY_MS     250
#define DELAY_MAX_MS 10000

struct redial {
    struct loop *loop;
    const struct redial_config *config;
    void (*on_done)(void *owner, const struct dialer_result *result);
    void *owner;
    struct dialer *dialer; /* NULL while waiting */
    struct deadline wait;
    uint64_t started_ms, retries;
    uint64_t most_ms; /* of the next wait */
};

bool redial_parse_retry(const char *text, uint64_t *count, uint64_t *ms)
{
    if (text_parse_number(text, strlen(text), 1000000, count)) {
        *ms = UINT64_MAX;
        return true;
    }
    *count = UINT64_MAX;
    return text_parse_duration(text, ms);
}

static void redial_free(struct redial *r)
{
    deadline_clear(loop_scheduler(r->loop), &r->wait);
    if (r->dialer != NULL)
        dialer_cancel(r->dialer);
    loop_release(r->loop);
    free(r);
}

/* A failure that may be over soon. */
static bool is_passing(const struct dialer_result *result)
{
    int status = result->status;

    switch (result->failure) {
    case DIALER_UNREACHABLE:
        return true;
    case DIALER_NO_NAME:
        return result->cause.native != -ENOENT;
    case DIALER_REFUSED:
        return status == 502 || status == 503 || status == 504;
    case DIALER_OK:
    case DIALER_DENIED:
    case DIALER_PROTOCOL:
    case DIALER_TLS:
    case DIALER_SYSTEM:
    case DIALER_GIVEN_UP:
        break;
    }
    return false;
}

/* Between nothing and all of `most`. */
static uint64_t jitter_ms(uint64_t most_ms)
{
    uint32_t random;

    if (crypto_random(&random, sizeof(random)) != 0)
        return most_ms;
    return random % (most_ms + 1);
}

static void log_retry(const struct dialer_result *result, uint64_t delay_ms)
{
    struct log_record r;

    log_begin(&r, LOG_DEBUG, "retrying");
    log_num(&r, "delay_ms", delay_ms);
    log_str(&r, "detail", result->problem);
    log_end(&r);
}

static void on_dialled(void *owner, const struct dialer_result *result)
{
    struct redial *r = owner;
    uint64_t passed_ms = loop_now_ms(r->loop) - r->started_ms;
    uint64_t delay_ms = jitter_ms(r->most_ms);

    r->dialer = NULL;
    if (!is_passing(result) || r->retries >= r->config->retry_count ||
        passed_ms + delay_ms >= r->config->retry_ms) {
        r->on_done(r->owner, result);
        redial_free(r);
        return;
    }
    r->retries++;
    r->most_ms = r->most_ms * 2 < DELAY_MAX_MS ? r->most_ms * 2 : DELAY_MAX_MS;
    log_retry(result, delay_ms);
    deadline_set(loop_scheduler(r->loop), &r->wait, delay_ms);
}

static void on_waited(struct deadline *d)
{
    struct redial *r = container_of(d, struct redial, wait);

    r->dialer = dialer_start(r->loop, &r->config->dialer, on_dialled, r);
    if (r->dialer == NULL) {
        struct dialer_result result = {.failure = DIALER_SYSTEM, .problem = "out of memory"};
        result.cause = (struct cause){.what = CAUSE_NO_MEMORY};
        r->on_done(r->owner, &result);
        redial_free(r);
    }
}

struct redial *redial_start(struct loop *l, const struct redial_config *config,
                            void (*on_done)(void *owner, const struct dialer_result *result),
                            void *owner)
{
    struct redial *r = calloc(1, sizeof(*r));

    if (r == NULL)
        return NULL;
    r->loop = l;
    r->config = config;
    r->on_done = on_done;
    r->owner = owner;
    r->started_ms = loop_now_ms(l);
    r->most_ms = DELAY_MS;
    deadline_init(&r->wait, on_waited);
    r->dialer = dialer_start(l, &config->dialer, on_dialled, r);
    if (r->dialer == NULL) {
        free(r);
        return NULL;
    }
    loop_hold(l);
    return r;
}

void redial_cancel(struct redial *r)
{
    redial_free(r);
}
