/* Listening sockets that were open before this program was: whoever started it has bound them and
 * says so in LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES, as systemd does (sd_listen_fds(3)). So a
 * port below 1024 needs no right, and no connection is lost while the program is started again.
 *
 * Process-wide. Each socket is taken once, by its name; several may have one name. */
#ifndef TIDEGATE_INHERITED_H
#define TIDEGATE_INHERITED_H

#include "text.h"

#include <stdbool.h>

#define INHERITED_MAX 64 /* sockets looked at; those above it are closed */

/* Reads the three variables and takes them out of the environment; none of the sockets goes on to a
 * program that this one starts. To be called once, before anything else is opened: what the
 * variables say of descriptors is believed. Without them nothing has been handed over. */
void inherited_read(void);

/* The descriptors of all sockets called `name`: non-blocking, close-on-exec, the caller's. How many
 * they are, or a negative errno with what is wrong in `problem`: -ENOENT, there is none (it says
 * which there are); -EALREADY, they have been taken; -ENOTSOCK, one is not a listening TCP or unix
 * stream socket; -E2BIG, more than `max`. */
int inherited_take(const char *name, int fds[], unsigned max, struct text *problem);

/* Whether no socket called `name`, taken or not, can be reached from another machine: each is on
 * loopback, or a unix one. */
bool inherited_is_local(const char *name);

/* Closes what nobody has taken, and says so in the log. */
void inherited_close_rest(void);

#endif
