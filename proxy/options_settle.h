/* What the values of settings say together: what is missing, what does not fit, what follows. */
#ifndef TIDEGATE_OPTIONS_SETTLE_H
#define TIDEGATE_OPTIONS_SETTLE_H

#include "options.h"
#include "text.h"

/* After all sources have been read. OPTIONS_OK, or OPTIONS_BAD with one line for people. */
enum options_result options_settle(enum command command, struct settings *s, struct text *problem);

/* Of that only what follows, for `serve`: after s->service has been changed. */
void options_derive(struct settings *s);

#endif
