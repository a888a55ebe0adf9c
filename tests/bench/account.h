/* CPU time and memory of the process under test, with its threads and all its descendants: from
 * the system's own accounting. */
#ifndef TIDEGATE_BENCH_ACCOUNT_H
#define TIDEGATE_BENCH_ACCOUNT_H

#include <stdint.h>
#include <sys/types.h>

#define ACCOUNT_THREADS 64

struct account {
    uint64_t ns;     /* of the monotonic clock */
    uint64_t own_ns; /* CPU time of this process */
    /* CPU time of the tree. Of the living to the nanosecond, of children that have ended (and were
     * waited for) to the tick. */
    uint64_t theirs_ns;
    uint64_t threads_ns[ACCOUNT_THREADS]; /* of the root process, to the tick */
    pid_t threads[ACCOUNT_THREADS];
    size_t thread_count; /* those above the limit are left out */
};

/* `root` may be 0: then only this process and the clock. */
struct account account_now(pid_t root);

/* Resident bytes of the tree: pages that several share (those of a fork) count once. 0 if root is.
 */
uint64_t account_memory(pid_t root);

/* "seconds": ..., "cpu_seconds": ..., "own_cpu_seconds": ..., "threads": [...]: without braces. */
void account_print(const struct account *begin, const struct account *end);

#endif
