/* The load generator: clients of a proxy and the backend behind it, in one thread.
 *
 *   load JOB --to HOST:PORT --backend-fd FD [options]
 *
 *   up      clients send messages, the backend reads
 *   down    the backend sends, clients read
 *   both    both at once
 *   trips   a client sends a message, the backend echoes it, the client sends the next one
 *
 *   --backend-fd FD     a listening socket, to which the proxy under test connects
 * (tests/bench/kit.py)
 *   --raw               no WebSocket: bytes as they are
 *   --tls, --cipher C   TLS to the proxy; OpenSSL's name of the one cipher to offer
 *   --connections N     1
 *   --message BYTES     65536; trips: 64
 *   --seconds S         3, behind half a second that does not count
 *   --pid PID           whose CPU time is reported
 *
 * Prints one line of JSON. `bytes` are payload bytes that have arrived at the far end. */
#include "endpoint.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP_NS 500000000U
#define TRIPS_MAX  4000000

struct options {
    const char *job, *to, *cipher;
    int backend_fd;
    bool is_raw, is_tls;
    unsigned long connections, message;
    uint64_t seconds;
    pid_t pid;
};

struct usage {
    uint64_t ns, bytes, own_ns, theirs_ns;
};

static struct options options = {.backend_fd = -1, .connections = 1, .seconds = 3};
static enum endpoint_role client_role, backend_role;
static struct endpoint_message client_message, backend_message;
static struct endpoint *clients, *backends;
static size_t backend_count;
static int poller;
static uint32_t *trips_ns; /* NULL while they do not count */
static size_t trip_count;

/* ---- options ---- */

static unsigned long number(const char *text)
{
    char *end;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || n == 0 || n > 100000000)
        die("%s: not a number that is possible here", text);
    return n;
}

static void choose_job(void)
{
    static const struct {
        const char *name;
        enum endpoint_role client, backend;
        size_t message;
    } jobs[] = {{"up", ENDPOINT_SOURCE, ENDPOINT_SINK, 65536},
                {"down", ENDPOINT_SINK, ENDPOINT_SOURCE, 65536},
                {"both", ENDPOINT_SOURCE, ENDPOINT_SOURCE, 65536},
                {"trips", ENDPOINT_ASKER, ENDPOINT_ECHO, 64}};

    for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++) {
        if (strcmp(options.job, jobs[i].name) == 0) {
            client_role = jobs[i].client;
            backend_role = jobs[i].backend;
            if (options.message == 0)
                options.message = jobs[i].message;
            return;
        }
    }
    die("%s: no such job (up down both trips)", options.job);
}

static void read_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"to", required_argument, NULL, 't'},      {"backend-fd", required_argument, NULL, 'b'},
        {"raw", no_argument, NULL, 'r'},           {"tls", no_argument, NULL, 'T'},
        {"cipher", required_argument, NULL, 'c'},  {"connections", required_argument, NULL, 'n'},
        {"message", required_argument, NULL, 'm'}, {"seconds", required_argument, NULL, 's'},
        {"pid", required_argument, NULL, 'p'},     {NULL, 0, NULL, 0}};
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 't':
            options.to = optarg;
            break;
        case 'b':
            options.backend_fd = (int)number(optarg);
            break;
        case 'r':
            options.is_raw = true;
            break;
        case 'T':
            options.is_tls = true;
            break;
        case 'c':
            options.is_tls = true;
            options.cipher = optarg;
            break;
        case 'n':
            options.connections = number(optarg);
            break;
        case 'm':
            options.message = number(optarg);
            break;
        case 's':
            options.seconds = number(optarg);
            break;
        case 'p':
            options.pid = (pid_t)number(optarg);
            break;
        default:
            exit(64);
        }
    }
    if (optind + 1 != argc || options.to == NULL || options.backend_fd < 0)
        die("usage: load up|down|both|trips --to HOST:PORT --backend-fd FD [options]");
    options.job = argv[optind];
    choose_job();
}

/* ---- what it took ---- */

static uint64_t cpu_ns(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t) != 0)
        die("the CPU time of a process: %s", strerror(errno));
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static struct usage usage_now(void)
{
    struct usage u = {.own_ns = cpu_ns(CLOCK_PROCESS_CPUTIME_ID), .ns = now_ns()};
    clockid_t theirs;

    if (options.pid != 0) {
        if (clock_getcpuclockid(options.pid, &theirs) != 0)
            die("no process %d", (int)options.pid);
        u.theirs_ns = cpu_ns(theirs);
    }
    for (size_t i = 0; i < options.connections; i++)
        u.bytes += clients[i].received;
    for (size_t i = 0; i < backend_count; i++)
        if (backend_role != ENDPOINT_ECHO)
            u.bytes += backends[i].received;
    return u;
}

static void note_trip(uint64_t ns)
{
    if (trips_ns != NULL && trip_count < TRIPS_MAX)
        trips_ns[trip_count++] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void report(const struct usage *begin, const struct usage *end)
{
    printf("{\"job\": \"%s\", \"connections\": %lu, \"seconds\": %.6f, \"bytes\": %llu, "
           "\"cpu_seconds\": %.6f, \"own_cpu_seconds\": %.6f",
           options.job, options.connections, (double)(end->ns - begin->ns) / 1e9,
           (unsigned long long)(end->bytes - begin->bytes),
           (double)(end->theirs_ns - begin->theirs_ns) / 1e9,
           (double)(end->own_ns - begin->own_ns) / 1e9);
    if (trip_count > 0) {
        qsort(trips_ns, trip_count, sizeof(*trips_ns), compare);
        uint32_t p50 = trips_ns[trip_count / 2], p99 = trips_ns[trip_count * 99 / 100];
        printf(", \"trips\": %zu, \"p50_us\": %.1f, \"p99_us\": %.1f", trip_count, p50 / 1e3,
               p99 / 1e3);
    }
    puts("}");
}

/* ---- the connections ---- */

static void watch(struct endpoint *e)
{
    e->events = endpoint_wants(e);
    struct epoll_event event = {.events = e->events, .data = {.ptr = e}};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, e->link.fd, &event) != 0)
        die("epoll_ctl: %s", strerror(errno));
}

static void connect_clients(void)
{
    SSL_CTX *tls = options.is_tls ? link_tls(options.cipher) : NULL;

    for (size_t i = 0; i < options.connections; i++) {
        struct endpoint *e = &clients[i];
        *e = (struct endpoint){.link = link_connect(options.to, tls),
                               .role = client_role,
                               .is_websocket = !options.is_raw,
                               .message = &client_message,
                               .on_answer = note_trip};
        if (e->is_websocket)
            endpoint_shake(e, options.to);
        link_set_nonblocking(&e->link);
        watch(e);
    }
    SSL_CTX_free(tls);
}

static void accept_backends(void)
{
    struct link l;

    while (link_accept(options.backend_fd, &l)) {
        if (backend_count == options.connections)
            die("more connections to the backend than there are clients");
        struct endpoint *e = &backends[backend_count++];
        *e = (struct endpoint){.link = l, .role = backend_role, .message = &backend_message};
        watch(e);
    }
}

static void handle(struct endpoint *e, uint32_t events)
{
    if (!endpoint_handle(e, events))
        die("the proxy has ended a connection");
    uint32_t wanted = endpoint_wants(e);
    if (wanted == e->events)
        return;
    e->events = wanted;
    struct epoll_event event = {.events = wanted, .data = {.ptr = e}};
    if (epoll_ctl(poller, EPOLL_CTL_MOD, e->link.fd, &event) != 0)
        die("epoll_ctl: %s", strerror(errno));
}

static void run_until(uint64_t until_ns)
{
    struct epoll_event events[64];

    while (now_ns() < until_ns) {
        int n = epoll_wait(poller, events, 64, 10);
        if (n < 0 && errno != EINTR)
            die("epoll_wait: %s", strerror(errno));
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL)
                accept_backends();
            else
                handle(events[i].data.ptr, events[i].events);
        }
    }
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    poller = epoll_create1(EPOLL_CLOEXEC);
    clients = calloc(options.connections, sizeof(*clients));
    backends = calloc(options.connections, sizeof(*backends));
    uint32_t *counted = client_role == ENDPOINT_ASKER ? calloc(TRIPS_MAX, sizeof(*counted)) : NULL;
    if (poller < 0 || clients == NULL || backends == NULL ||
        (client_role == ENDPOINT_ASKER && counted == NULL))
        die("out of memory");
    client_message = endpoint_message_new(options.message, !options.is_raw);
    backend_message = endpoint_message_new(options.message, false);

    struct link listener = {.fd = options.backend_fd};
    link_set_nonblocking(&listener);
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = NULL}};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, listener.fd, &event) != 0)
        die("the backend's socket: %s", strerror(errno));
    connect_clients();
    run_until(now_ns() + WARM_UP_NS);
    if (backend_count != options.connections)
        die("%zu connections came to the backend", backend_count);
    trips_ns = counted;
    struct usage begin = usage_now();
    run_until(begin.ns + options.seconds * 1000000000U);
    struct usage end = usage_now();
    report(&begin, &end);

    for (size_t i = 0; i < options.connections; i++)
        link_close(&clients[i].link);
    for (size_t i = 0; i < backend_count; i++) {
        link_close(&backends[i].link);
        free(backends[i].echo);
    }
    free(clients);
    free(backends);
    free(counted);
    free(client_message.data);
    free(backend_message.data);
    return 0;
}
