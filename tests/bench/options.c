#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static unsigned long number(const char *text)
{
    char *end;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || n == 0 || n > 100000000)
        die("%s: not a number that is possible here", text);
    return n;
}

static void choose_job(struct options *o, const char *name)
{
    static const struct {
        const char *name;
        enum job job;
        enum endpoint_role client, backend;
        size_t connections, message;
    } jobs[] = {{"up", JOB_BULK, ENDPOINT_SOURCE, ENDPOINT_SINK, 1, 65536},
                {"down", JOB_BULK, ENDPOINT_SINK, ENDPOINT_SOURCE, 1, 65536},
                {"both", JOB_BULK, ENDPOINT_SOURCE, ENDPOINT_SOURCE, 1, 65536},
                {"trips", JOB_TRIPS, ENDPOINT_ASKER, ENDPOINT_ECHO, 1, 64},
                {"rate", JOB_RATE, ENDPOINT_ASKER, ENDPOINT_ECHO, 32, 64},
                {"idle", JOB_IDLE, ENDPOINT_SINK, ENDPOINT_SINK, 4000, 64},
                {"stalled-up", JOB_STALLED, ENDPOINT_SOURCE, ENDPOINT_SINK, 100, 65536},
                {"stalled-down", JOB_STALLED, ENDPOINT_SINK, ENDPOINT_SOURCE, 100, 65536}};

    for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++) {
        if (strcmp(name, jobs[i].name) != 0)
            continue;
        o->name = jobs[i].name;
        o->job = jobs[i].job;
        o->client = jobs[i].client;
        o->backend = jobs[i].backend;
        if (o->connections == 0)
            o->connections = jobs[i].connections;
        if (o->message == 0)
            o->message = jobs[i].message;
        return;
    }
    die("%s: no such job (up down both trips rate idle stalled-up stalled-down)", name);
}

struct options options_read(int argc, char **argv)
{
    static const struct option known[] = {
        {"to", required_argument, NULL, 't'},      {"backend-fd", required_argument, NULL, 'b'},
        {"raw", no_argument, NULL, 'r'},           {"tls", no_argument, NULL, 'T'},
        {"cipher", required_argument, NULL, 'c'},  {"connections", required_argument, NULL, 'n'},
        {"message", required_argument, NULL, 'm'}, {"seconds", required_argument, NULL, 's'},
        {"pid", required_argument, NULL, 'p'},     {NULL, 0, NULL, 0}};
    struct options o = {.backend_fd = -1, .seconds = 3};
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 't':
            o.to = optarg;
            break;
        case 'b':
            o.backend_fd = (int)number(optarg);
            break;
        case 'r':
            o.is_raw = true;
            break;
        case 'T':
            o.is_tls = true;
            break;
        case 'c':
            o.is_tls = true;
            o.cipher = optarg;
            break;
        case 'n':
            o.connections = number(optarg);
            break;
        case 'm':
            o.message = number(optarg);
            break;
        case 's':
            o.seconds = number(optarg);
            break;
        case 'p':
            o.pid = (pid_t)number(optarg);
            break;
        default:
            exit(64);
        }
    }
    if (optind + 1 != argc || o.to == NULL || o.backend_fd < 0)
        die("usage: load JOB --to HOST:PORT --backend-fd FD [options]");
    choose_job(&o, argv[optind]);
    return o;
}
