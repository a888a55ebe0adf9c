#include "process_usage.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define STAT_MAX 1024

/* Fields of /proc/PID/stat behind the name of the program, which is the second (proc(5)). */
enum {
    STAT_USER = 14 - 3,
    STAT_SYSTEM = 15 - 3,
    STAT_THREADS = 20 - 3,
    STAT_START = 22 - 3,
    STAT_VIRTUAL = 23 - 3,
    STAT_RESIDENT = 24 - 3,
    STAT_FIELDS
};

/* The first bytes of a file, terminated. */
static bool read_file(const char *path, char *buffer, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, buffer, size - 1);
    close(fd);
    buffer[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static bool read_stat(uint64_t fields[STAT_FIELDS])
{
    char buffer[STAT_MAX];

    if (!read_file("/proc/self/stat", buffer, sizeof(buffer)))
        return false;
    char *at = strrchr(buffer, ')'); /* the name may hold anything else */
    if (at == NULL || strlen(at) < 4)
        return false;
    at += 4; /* and the state, a letter */
    for (unsigned i = 1; i < STAT_FIELDS; i++) {
        char *end;
        fields[i] = (uint64_t)strtoll(at, &end, 10);
        if (end == at)
            return false;
        at = end;
    }
    return true;
}

/* Since when the machine runs, in ms since the epoch. */
static uint64_t booted_ms(void)
{
    struct timespec now, up;

    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &up);
    return (uint64_t)((now.tv_sec - up.tv_sec) * 1000 + (now.tv_nsec - up.tv_nsec) / 1000000);
}

/* Linux tells the number as the folder's size from 6.2 on; before that it is 0. */
uint64_t process_usage_open_files(void)
{
    struct stat st;
    uint64_t count = 0;

    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0)
        return (uint64_t)st.st_size;
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL)
        return 0;
    /* cppcheck-suppress readdirCalled ; nobody else has this folder */
    for (struct dirent *e = readdir(folder); e != NULL; e = readdir(folder))
        count += e->d_name[0] != '.';
    closedir(folder);
    return count > 0 ? count - 1 : 0; /* one was the folder's own */
}

bool process_usage_read(struct process_usage *out)
{
    uint64_t fields[STAT_FIELDS] = {0}, ticks = (uint64_t)sysconf(_SC_CLK_TCK);
    struct rlimit limit;
    bool is_good = read_stat(fields);

    *out = (struct process_usage){0};
    if (is_good) {
        out->cpu_ms = (fields[STAT_USER] + fields[STAT_SYSTEM]) * 1000 / ticks;
        out->resident_bytes = fields[STAT_RESIDENT] * (uint64_t)sysconf(_SC_PAGESIZE);
        out->virtual_bytes = fields[STAT_VIRTUAL];
        out->threads = fields[STAT_THREADS];
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        out->max_files = limit.rlim_cur;
    return is_good;
}

uint64_t process_usage_started_ms(void)
{
    uint64_t fields[STAT_FIELDS] = {0}, ticks = (uint64_t)sysconf(_SC_CLK_TCK);

    return read_stat(fields) ? booted_ms() + fields[STAT_START] * 1000 / ticks : 0;
}
