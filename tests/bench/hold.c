#include "hold.h"

#include <stdio.h>

#include "account.h"
#include "pool.h"

#define SETTLE_NS  500000000U
#define QUIET_NS   300000000U   /* without a byte: it has stopped */
#define LIMIT_NS   10000000000U /* and if it does not stop, that is an answer too */
#define FIRST_ONES 100          /* not counted: what the process needs once comes with them */

static double each(uint64_t after, uint64_t before, size_t count)
{
    return ((double)after - (double)before) / (double)count;
}

static void settle(void)
{
    pool_run_until(now_ns() + SETTLE_NS);
}

void hold_idle(const struct options *o)
{
    size_t first = o->connections > 2 * FIRST_ONES ? FIRST_ONES : o->connections / 2;

    pool_connect(first);
    pool_await_backends();
    settle();
    uint64_t before = account_memory(o->pid);
    uint64_t begun_ns = now_ns();
    pool_connect(o->connections);
    double opened_in = (double)(now_ns() - begun_ns) / 1e9;
    pool_await_backends();
    settle();
    uint64_t during = account_memory(o->pid);
    struct account begin = account_now(o->pid);
    pool_run_until(begin.ns + o->seconds * 1000000000U);
    struct account end = account_now(o->pid);
    pool_tear_down();
    uint64_t until = now_ns() + 2 * SETTLE_NS;
    pool_run_until(until);
    account_print(&begin, &end);
    printf(", \"bytes_each\": %.0f, \"opened_in\": %.3f, \"resident_before\": %llu, "
           "\"resident\": %llu, \"resident_after\": %llu",
           each(during, before, o->connections - first), opened_in, (unsigned long long)before,
           (unsigned long long)during, (unsigned long long)account_memory(o->pid));
}

static void run_until_quiet(uint64_t (*moved)(void))
{
    uint64_t limit = now_ns() + LIMIT_NS, last = moved(), since = now_ns();

    while (now_ns() - since < QUIET_NS && now_ns() < limit) {
        pool_run_until(now_ns() + QUIET_NS / 10);
        uint64_t now = moved();
        if (now != last) {
            last = now;
            since = now_ns();
        }
    }
}

void hold_stalled(const struct options *o)
{
    pool_let(false, false);
    pool_connect(o->connections);
    pool_await_backends();
    settle();
    uint64_t before = account_memory(o->pid);
    struct account begin = account_now(o->pid);
    pool_let(true, false);
    run_until_quiet(pool_sent);
    uint64_t during = account_memory(o->pid);
    uint64_t under_way = pool_sent() - pool_received();
    pool_let(false, true);
    run_until_quiet(pool_received);
    settle();
    struct account end = account_now(o->pid);
    uint64_t after = account_memory(o->pid);
    account_print(&begin, &end);
    printf(", \"bytes_each\": %.0f, \"bytes_each_after\": %.0f, \"under_way_each\": %.0f, "
           "\"resident_before\": %llu, \"resident\": %llu, \"resident_after\": %llu",
           each(during, before, o->connections), each(after, before, o->connections),
           (double)under_way / (double)o->connections, (unsigned long long)before,
           (unsigned long long)during, (unsigned long long)after);
    pool_tear_down();
}
