/* A dialer that tries again. All attempts are made before a byte was delivered to the server, so
 * that another one harms nothing. Only what may be over soon is tried again: unreachable, too slow,
 * 502, 503, 504. Waits between them with full jitter, so that many clients of one server do not
 * come back together. */
#ifndef TIDEGATE_REDIAL_H
#define TIDEGATE_REDIAL_H

#include "dialer.h"

struct redial_config {
    struct dialer_config dialer;
    uint64_t retry_count; /* attempts beyond the first; UINT64_MAX: no limit */
    uint64_t retry_ms;    /* no attempt begins later than this; UINT64_MAX: no limit */
};                        /* one of the two is 0: no second attempt */

/* "5": so many retries. "30s": for so long. "0": none. False if it is neither. */
bool redial_parse_retry(const char *text, uint64_t *count, uint64_t *ms);

struct redial;

/* `config` outlives it. `on_done` comes once, from the loop, never from this call, with the result
 * of the last attempt. NULL when out of memory. */
struct redial *redial_start(struct loop *l, const struct redial_config *config,
                            void (*on_done)(void *owner, const struct dialer_result *result),
                            void *owner);
/* Gives up: no on_done. */
void redial_cancel(struct redial *r);

#endif
