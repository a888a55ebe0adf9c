#include "cores.h"

#include "text.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

#define CGROUPS "/sys/fs/cgroup"

unsigned cores_of_quota(const char *cpu_max)
{
    unsigned long long quota, period;

    if (sscanf(cpu_max, "%20llu %20llu", &quota, &period) != 2 || quota == 0 || period == 0)
        return 0;
    unsigned long long cores = (quota - 1) / period + 1;
    return cores < 1000000 ? (unsigned)cores : 0;
}

/* The first line of a file, without its end. False: there is none. */
static bool read_line(const char *path, char *line, int size)
{
    FILE *file = fopen(path, "re");
    bool is_read = file != NULL && fgets(line, size, file) != NULL;

    if (file != NULL)
        fclose(file);
    if (is_read)
        line[strcspn(line, "\n")] = '\0';
    return is_read;
}

static unsigned quota_of(const char *group)
{
    char path[4096], line[64];
    struct text t;

    text_init(&t, path, sizeof(path));
    text_addf(&t, "%s%s/cpu.max", CGROUPS, group);
    return !t.overflowed && read_line(path, line, sizeof(line)) ? cores_of_quota(line) : 0;
}

/* The least of our group and of those above it; 0: no limit. In a container ours is the top. */
static unsigned quota(void)
{
    char line[2048];
    unsigned least = quota_of("");

    if (!read_line("/proc/self/cgroup", line, sizeof(line)) || strncmp(line, "0::/", 4) != 0)
        return least;
    for (char *group = line + 3, *slash; (slash = strrchr(group, '/')) != NULL; *slash = '\0') {
        unsigned here = slash == group && group[1] == '\0' ? 0 : quota_of(group);
        if (here != 0 && (least == 0 || here < least))
            least = here;
    }
    return least;
}

unsigned cores_available(void)
{
    unsigned cores = uv_available_parallelism();
    unsigned allowed = quota();

    return allowed != 0 && allowed < cores ? allowed : cores;
}
