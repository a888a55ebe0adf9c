/* What the kernel says of this process, for the metrics that every program has. */
#ifndef TIDEGATE_PROCESS_USAGE_H
#define TIDEGATE_PROCESS_USAGE_H

#include <stdbool.h>
#include <stdint.h>

struct process_usage {
    uint64_t cpu_ms;
    uint64_t resident_bytes, virtual_bytes, threads;
    uint64_t max_files;
};

/* Reads /proc. False, with what could not be read left 0, if it is not there. */
bool process_usage_read(struct process_usage *out);

/* Descriptors that are open. Below Linux 6.2 this walks through all of them: some milliseconds for
 * ten thousand. */
uint64_t process_usage_open_files(void);

/* When it was started, in ms since the epoch, or 0. Ask once: clocks are being set. */
uint64_t process_usage_started_ms(void);

#endif
