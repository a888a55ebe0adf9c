/* What a service manager is told, by systemd's protocol (sd_notify(3)): one datagram of lines
 * "NAME=value" to the socket that NOTIFY_SOCKET names. Without that variable nothing is done.
 *
 * Process-wide, as the variable is. A datagram that cannot be sent is lost, and the first such one
 * logged: nobody waits for a manager. */
#ifndef TIDEGATE_NOTIFY_H
#define TIDEGATE_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, takes them out of the environment, and opens
 * a socket that is kept, so that a lack of descriptors later silences nothing. */
void notify_open(void);
void notify_close(void); /* then it is as without the variables */

bool notify_is_open(void);

/* How long the manager waits for a sign of life before it kills us; 0: for ever, or nobody does. */
uint64_t notify_watchdog_ms(void);

/* Sends the lines, joined with '\n', no '\n' at the end. 1,023 bytes at most. */
void notify_send(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Around a reload that the manager may have asked for. */
void notify_reloading(void);
void notify_reloaded(void);

#endif
