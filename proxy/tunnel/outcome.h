/* How a connection ended, as an exit status (in the manner of sysexits) and a line for people. */
#ifndef TIDEGATE_OUTCOME_H
#define TIDEGATE_OUTCOME_H

#include "dialer.h"
#include "relay.h"

#define OUTCOME_TEXT_MAX 384

struct outcome {
    int status;                  /* to exit with */
    char text[OUTCOME_TEXT_MAX]; /* "what: why (what to do)"; "" if it went well */
};

/* There was no WebSocket, or there is one: EX_OK. */
struct outcome outcome_of_dial(const struct dialer_result *result);

/* What it came to after that: how both directions went, or what broke them. */
struct outcome outcome_of_cause(struct cause cause);

/* "tidegate: SUBCOMMAND: URL: TEXT" on stderr, unless the text is "". */
void outcome_print(const struct outcome *o, const char *subcommand, const char *url);

#endif
