/* `tidegate token NAME`: makes a token. */
#ifndef TIDEGATE_TOKEN_H
#define TIDEGATE_TOKEN_H

#include "../options.h"

/* The token goes to standard output, alone on a line: `> FILE` makes what a client's --token-file
 * reads. The line for the server's file goes to --append FILE, or to standard error: `2>> FILE`.
 * The exit status: 74 if either could not be written; a line that is there already then lets in a
 * token that nobody has, and can go. */
int token_run(struct settings *settings);

#endif
