/* What the load generator was asked for. */
#ifndef TIDEGATE_BENCH_OPTIONS_H
#define TIDEGATE_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "endpoint.h"

enum job { JOB_BULK, JOB_TRIPS, JOB_RATE, JOB_IDLE, JOB_STALLED };

struct options {
    enum job job;
    const char *name;                   /* of the job */
    enum endpoint_role client, backend; /* what the job makes of them */
    const char *to, *cipher;            /* cipher: NULL: any */
    int backend_fd;
    bool is_raw, is_tls;
    size_t connections, message;
    uint64_t seconds;
    pid_t pid; /* 0: nobody's CPU and memory are reported */
};

/* Ends the program if they make no sense. */
struct options options_read(int argc, char **argv);

#endif
