/* Names of files as options give them. "credential:NAME" is a file that systemd hands over
 * (LoadCredential=): NAME in the folder that $CREDENTIALS_DIRECTORY names. Anything else is a path,
 * and as it is. */
#ifndef TIDEGATE_OPTION_PATH_H
#define TIDEGATE_OPTION_PATH_H

#include "arena.h"

/* `*out` is `text` itself, or lies in `arena`. False with `*why`, a phrase for people. */
bool option_path_resolve(const char *text, struct arena *arena, const char **out, const char **why);

#endif
