/* The load generator: clients of a proxy and the backend behind it, in one thread.
 *
 *   load JOB --to HOST:PORT --backend-fd FD [options]
 *
 *   up            clients send messages, the backend reads
 *   down          the backend sends, clients read
 *   both          both at once
 *   trips         a client sends a message, the backend echoes it, the client sends the next one
 *   rate          whole connections: connect, handshake, one trip, an end by both; the next one
 *   idle          all open, nothing moves
 *   stalled-up    clients send until nothing moves, the backend does not read; then it does
 *   stalled-down  the other way
 *
 *   --backend-fd FD     a listening socket, to which the proxy under test connects
 * (tests/bench/kit.py)
 *   --raw               no WebSocket: bytes as they are
 *   --tls, --cipher C   TLS to the proxy; OpenSSL's name of the one cipher to offer
 *   --connections N     at a time: 1; rate: 32; idle: 4000; stalled: 100
 *   --message BYTES     65536; trips, rate: 64
 *   --seconds S         3, behind half a second that does not count
 *   --pid PID           whose CPU time and memory is reported, with that of its descendants
 *
 * Prints one line of JSON. `bytes` are payload bytes that have arrived at the far end. */
#include <stdio.h>
#include <stdlib.h>

#include "account.h"
#include "hold.h"
#include "pool.h"
#include "rate.h"

#define WARM_UP_NS 500000000U
#define TIMES_MAX  4000000

static uint32_t *times_ns; /* of trips, or of connections */
static size_t time_count;
static bool is_counting;

static void note_time(uint64_t ns)
{
    if (is_counting && time_count < TIMES_MAX)
        times_ns[time_count++] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void print_times(void)
{
    if (time_count == 0)
        return;
    qsort(times_ns, time_count, sizeof(*times_ns), compare);
    uint32_t p50 = times_ns[time_count / 2], p99 = times_ns[time_count * 99 / 100];
    printf(", \"trips\": %zu, \"p50_us\": %.1f, \"p99_us\": %.1f", time_count, p50 / 1e3,
           p99 / 1e3);
}

static void run_and_measure(const struct options *o)
{
    pool_connect(o->connections);
    pool_await_backends();
    pool_run_until(now_ns() + WARM_UP_NS);
    is_counting = true;
    uint64_t bytes = pool_received();
    struct account begin = account_now(o->pid);
    pool_run_until(begin.ns + o->seconds * 1000000000U);
    struct account end = account_now(o->pid);
    bytes = pool_received() - bytes;
    account_print(&begin, &end);
    printf(", \"bytes\": %llu, \"resident\": %llu", (unsigned long long)bytes,
           (unsigned long long)account_memory(o->pid));
    pool_tear_down();
}

int main(int argc, char **argv)
{
    struct options o = options_read(argc, argv);

    times_ns = calloc(TIMES_MAX, sizeof(*times_ns));
    if (times_ns == NULL)
        die("out of memory");
    if (o.job != JOB_RATE)
        pool_set_up(&o, note_time);
    printf("{\"job\": \"%s\", \"connections\": %zu, ", o.name, o.connections);
    switch (o.job) {
    case JOB_BULK:
    case JOB_TRIPS:
        run_and_measure(&o);
        break;
    case JOB_RATE:
        is_counting = true; /* rate_run leaves its first half second out by itself */
        rate_run(&o, note_time);
        break;
    case JOB_IDLE:
        hold_idle(&o);
        break;
    case JOB_STALLED:
        hold_stalled(&o);
        break;
    }
    print_times();
    puts("}");
    free(times_ns);
    return 0;
}
