#include "fd_limit.h"

#include "service.h"
#include "text.h"

#include <errno.h>
#include <sys/resource.h>

#define DESCRIPTORS_EACH 2       /* client and backend */
#define CONNECTIONS_MAX  1000000 /* an unlimited limit is no plan */

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

int fd_limit_prepare(uint64_t *max_connections, char *problem, size_t problem_size)
{
    uint64_t limit = raise_limit(), room = 0;
    struct text t;

    if (limit > SERVICE_SPARE_DESCRIPTORS)
        room = (limit - SERVICE_SPARE_DESCRIPTORS) / DESCRIPTORS_EACH;
    if (room > CONNECTIONS_MAX)
        room = CONNECTIONS_MAX;
    uint64_t wanted = *max_connections == 0 ? 1 : *max_connections;
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
        wanted == 1 ? "s" : "",
        (unsigned long long)(SERVICE_SPARE_DESCRIPTORS + wanted * DESCRIPTORS_EACH),
        *max_connections == 0 ? "" : " or lower --max-connections");
    return -EMFILE;
}
