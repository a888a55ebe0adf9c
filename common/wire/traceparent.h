/* The request field traceparent (W3C Trace Context): who traces a request across programs names it
 * there. There is nothing to hand it on to over raw TCP, so its one use here is the log. */
#ifndef TIDEGATE_TRACEPARENT_H
#define TIDEGATE_TRACEPARENT_H

#include <stdbool.h>

#define TRACEPARENT_ID_SIZE 33 /* 32 digits and the terminator */

/* The trace id, lower-case hex, of a value as ws_head_field gives it (NULL: absent). False, and an
 * empty `out`, if it is malformed or there are several: such a field is ignored, not refused.
 * Versions to come are read as far as they are like version 00. */
bool traceparent_parse(const char *value, char out[TRACEPARENT_ID_SIZE]);

#endif
