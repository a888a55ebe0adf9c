#include "fd_limit.h"

#include "text.h"

#include <errno.h>
#include <sys/resource.h>

#define DESCRIPTORS_EACH 2       /* client and backend */
#define CONNECTIONS_MAX  1000000 /* an unlimited limit is no plan */

/* Descriptors besides the two of each connection: log, listeners, loop (eleven with one listener),
 * refusals, attempts to connect. */
#define SPARE_LEAST 16
#define SPARE_MOST  64

/* A loop of libuv's has four of its own. */
#define LOOP_DESCRIPTORS 4

uint64_t fd_limit_of_worker(uint64_t listeners)
{
    return LOOP_DESCRIPTORS + listeners;
}

uint64_t fd_limit_workers(uint64_t wanted, uint64_t listeners)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 1;
    uint64_t most = limit.rlim_max / 4 / fd_limit_of_worker(listeners);
    return most == 0 ? 1 : wanted < most ? wanted : most;
}

static uint64_t raise_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 0;
    if (limit.rlim_cur < limit.rlim_max) {
        rlim_t before = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            limit.rlim_cur = before;
    }
    return limit.rlim_cur;
}

static uint64_t bounded_spare(uint64_t spare)
{
    return spare < SPARE_LEAST ? SPARE_LEAST : spare > SPARE_MOST ? SPARE_MOST : spare;
}

/* How many connections `limit` allows: a quarter of it is spare, within bounds. */
static uint64_t room_of(uint64_t limit)
{
    uint64_t spare = bounded_spare(limit / 4);
    uint64_t room = limit > spare ? (limit - spare) / DESCRIPTORS_EACH : 0;
    return room < CONNECTIONS_MAX ? room : CONNECTIONS_MAX;
}

/* The least limit that allows `connections`: they take three quarters of it, or all but the bound.
 */
static uint64_t limit_for(uint64_t connections)
{
    uint64_t used = connections * DESCRIPTORS_EACH;
    return used + bounded_spare((used - 1) / 3);
}

int fd_limit_prepare(uint64_t *max_connections, uint64_t also, char *problem, size_t problem_size)
{
    uint64_t limit = raise_limit();
    uint64_t room = room_of(limit > also ? limit - also : 0);
    struct text t;

    uint64_t wanted = *max_connections == 0 ? 1 : *max_connections;
    uint64_t least = limit_for(wanted) + also;
    if (room >= wanted) {
        if (*max_connections == 0)
            *max_connections = room;
        return 0;
    }
    text_init(&t, problem, problem_size);
    text_addf(
        &t,
        "the limit of %llu open descriptors is too small: %llu connection%s need%s %llu; raise "
        "it (ulimit -n, LimitNOFILE=)%s",
        (unsigned long long)limit, (unsigned long long)wanted, wanted == 1 ? "" : "s",
        wanted == 1 ? "s" : "", (unsigned long long)least,
        *max_connections == 0 ? "" : " or lower --max-connections");
    return -EMFILE;
}
