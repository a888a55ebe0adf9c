/* How many threads this process can keep busy: what it may run on (sched_setaffinity(2)), and what
 * its control group may use (cgroup v2, cpu.max), rounded up. */
#ifndef TIDEGATE_CORES_H
#define TIDEGATE_CORES_H

/* 1 at least. Reads files: for the start. */
unsigned cores_available(void);

/* What a cpu.max allows ("max 100000", "150000 100000"), rounded up; 0: no limit, or not
 * understood. */
unsigned cores_of_quota(const char *cpu_max);

#endif
