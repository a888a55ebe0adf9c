#include "account.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "endpoint.h"

#define TREE_MAX 16384

struct tree {
    pid_t *pids; /* [TREE_MAX] */
    size_t count;
};

/* A process that ends meanwhile is none of ours to complain about: it is left out. */
static void add_children(struct tree *t, pid_t pid)
{
    char path[64];
    struct dirent *entry;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL)
        return;
    while ((entry = readdir(tasks)) != NULL) {
        char name[512];
        int child;
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof(name), "%s/%s/children", path, entry->d_name);
        FILE *f = fopen(name, "r");
        while (f != NULL && t->count < TREE_MAX && fscanf(f, "%d", &child) == 1)
            t->pids[t->count++] = child;
        if (f != NULL)
            fclose(f);
    }
    closedir(tasks);
}

static struct tree tree_new(pid_t root)
{
    struct tree t = {.pids = calloc(TREE_MAX, sizeof(pid_t)), .count = 1};
    if (t.pids == NULL)
        die("out of memory");
    t.pids[0] = root;
    for (size_t i = 0; i < t.count; i++)
        add_children(&t, t.pids[i]);
    return t;
}

/* ---- CPU time ---- */

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t) != 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/* proc(5), .../stat: the sum of two fields that follow each other, the first being number `field`.
 */
static uint64_t ticks_ns(const char *path, int field)
{
    char text[1024];
    unsigned long long a = 0, b = 0;
    FILE *f = fopen(path, "r");

    if (f == NULL)
        return 0;
    size_t len = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[len] = '\0';
    char *at = strrchr(text, ')'); /* ends field 2, a name in which anything may stand */
    for (int i = 2; at != NULL && i < field; i++)
        at = strchr(at + 1, ' ');
    if (at == NULL || sscanf(at, "%llu %llu", &a, &b) != 2)
        return 0;
    return (a + b) * (1000000000U / (unsigned long)sysconf(_SC_CLK_TCK));
}

static uint64_t process_ns(pid_t pid)
{
    char path[64];
    clockid_t clock;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    uint64_t of_children = ticks_ns(path, 16);
    return of_children + (clock_getcpuclockid(pid, &clock) == 0 ? clock_ns(clock) : 0);
}

static void note_threads(struct account *a, pid_t pid)
{
    char path[64];
    struct dirent *entry;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    while (tasks != NULL && (entry = readdir(tasks)) != NULL) {
        char name[512];
        if (entry->d_name[0] == '.' || a->thread_count == ACCOUNT_THREADS)
            continue;
        snprintf(name, sizeof(name), "%s/%s/stat", path, entry->d_name);
        a->threads[a->thread_count] = (pid_t)strtol(entry->d_name, NULL, 10);
        a->threads_ns[a->thread_count++] = ticks_ns(name, 14);
    }
    if (tasks != NULL)
        closedir(tasks);
}

struct account account_now(pid_t root)
{
    struct account a = {.ns = now_ns(), .own_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID)};

    if (root == 0)
        return a;
    struct tree t = tree_new(root);
    for (size_t i = 0; i < t.count; i++)
        a.theirs_ns += process_ns(t.pids[i]);
    if (a.theirs_ns == 0)
        die("no process %d", (int)root);
    note_threads(&a, root);
    free(t.pids);
    return a;
}

void account_print(const struct account *begin, const struct account *end)
{
    printf("\"seconds\": %.6f, \"cpu_seconds\": %.6f, \"own_cpu_seconds\": %.6f, \"threads\": [",
           (double)(end->ns - begin->ns) / 1e9, (double)(end->theirs_ns - begin->theirs_ns) / 1e9,
           (double)(end->own_ns - begin->own_ns) / 1e9);
    for (size_t i = 0; i < end->thread_count; i++) {
        uint64_t before = 0;
        for (size_t j = 0; j < begin->thread_count; j++)
            if (begin->threads[j] == end->threads[i])
                before = begin->threads_ns[j];
        printf("%s%.2f", i > 0 ? ", " : "", (double)(end->threads_ns[i] - before) / 1e9);
    }
    printf("]");
}

/* ---- memory ---- */

static uint64_t process_memory(pid_t pid)
{
    char path[64], line[256];
    unsigned long long kib = 0;

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    FILE *f = fopen(path, "r");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL)
        if (sscanf(line, "Pss: %llu", &kib) == 1)
            break;
    if (f != NULL)
        fclose(f);
    return kib * 1024;
}

uint64_t account_memory(pid_t root)
{
    uint64_t sum = 0;

    if (root == 0)
        return 0;
    struct tree t = tree_new(root);
    for (size_t i = 0; i < t.count; i++)
        sum += process_memory(t.pids[i]);
    free(t.pids);
    return sum;
}
