#include "demo.h"

#include "../serve/server.h"
#include "../service/fd_limit.h"
#include "backend.h"
#include "client.h"
#include "half_close.h"
#include "log.h"
#include "pages.h"
#include "text.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define PATIENCE_MS 20000 /* for one exchange; it takes a fifth of a second */
#define PAUSE_MS    50    /* between them: for the last bytes to arrive */

/* Who has to be done with an exchange before it is over. */
enum part { PART_CLIENT = 1, PART_PROXY = 2, PART_BACKEND = 4, PART_ALL = 7 };

struct exchange {
    struct demo_client_report client;
    uint64_t answered; /* bytes that the backend sent */
};

struct demo {
    struct settings *settings;
    struct loop *loop;
    struct server *server;
    struct demo_backend *backend;
    struct backend_address where; /* it is */
    struct timeline timeline;
    struct address proxy;
    struct exchange exchanges[2]; /* with half-close, and without */
    unsigned current;             /* index of the one under way; 2: the show is over */
    unsigned done;                /* enum part, joined */
    struct deadline next, patience;
    int status;
};

/* ---- the end of the show ---- */

static void stop(struct demo *d)
{
    demo_backend_close(d->backend);
    service_drain(server_service(d->server), false);
}

static void print_verdict(struct demo *d)
{
    const struct exchange *with = &d->exchanges[0], *without = &d->exchanges[1];
    bool is_right = with->client.is_right;
    bool is_lost = without->client.received < without->answered;

    printf("\n");
    timeline_say(&d->timeline, is_right ? MOOD_GOOD : MOOD_BAD,
                 "with half-close:     %llu of %llu bytes of the answer arrived, %s",
                 (unsigned long long)with->client.received, (unsigned long long)with->answered,
                 is_right ? "count and hash are right" : "and they are NOT right");
    timeline_say(&d->timeline, is_lost ? MOOD_BAD : MOOD_PLAIN,
                 "without half-close:  %llu of %llu bytes of the answer arrived%s",
                 (unsigned long long)without->client.received,
                 (unsigned long long)without->answered, is_lost ? ", the rest is lost" : "");
}

static void print_how_to_reach(const struct demo *d)
{
    char address[ADDRESS_TEXT_MAX];
    bool is_unix = d->proxy.kind == ADDRESS_UNIX;

    address_format(&d->proxy, address, sizeof(address));
    printf("\nThe proxy stays up, with the same backend behind it:\n\n");
    if (!is_unix)
        printf("  page         http://%s/  (and /terminal): the same in a browser\n", address);
    printf(
        "  URL          %s%s%s\n"
        "  extension    %s  (Sec-WebSocket-Extensions; control in opcode 0xB)\n"
        "  subprotocol  %s  (Sec-WebSocket-Protocol, for browsers; control in Text)\n"
        "  neither      a plain WebSocket: its Close 1000 ends the input, and discards the answer\n"
        "\n"
        "It sorts now, and answers at its leisure. Send data in Binary messages, then\n"
        "\"FIN number-of-bytes\". Ctrl-C stops it.\n",
        is_unix ? "" : "ws://", address, is_unix ? "" : "/", HALF_CLOSE_EXTENSION,
        HALF_CLOSE_SUBPROTOCOL);
    fflush(stdout);
}

static void end_show(struct demo *d)
{
    d->current = array_count(d->exchanges);
    d->timeline.is_silent = true;
    deadline_clear(loop_scheduler(d->loop), &d->patience);
    print_verdict(d);
    d->status = d->exchanges[0].client.is_right ? EX_OK : EX_SOFTWARE;
    if (d->settings->is_once) {
        stop(d);
        return;
    }
    log_setup((enum log_level)d->settings->log_level, (enum log_format)d->settings->log_format, 2);
    demo_backend_sort(d->backend);
    print_how_to_reach(d);
}

/* ---- one exchange after the other ---- */

static void part_done(struct demo *d, enum part part)
{
    if (d->current == array_count(d->exchanges))
        return; /* a visitor, after the show */
    d->done |= part;
    if (d->done == PART_ALL)
        deadline_set(loop_scheduler(d->loop), &d->next, PAUSE_MS);
}

static void on_client_over(void *arg, const struct demo_client_report *report)
{
    struct demo *d = arg;

    d->exchanges[d->current].client = *report;
    part_done(d, PART_CLIENT);
}

static void on_backend_over(void *arg, uint64_t answered)
{
    struct demo *d = arg;

    if (d->current < array_count(d->exchanges))
        d->exchanges[d->current].answered = answered;
    part_done(d, PART_BACKEND);
}

static void on_proxy_connected(void *arg, enum ws_carrier carrier)
{
    struct demo *d = arg;

    (void)carrier;
    timeline_note(&d->timeline, "proxy", LANE_UP, MOOD_PLAIN, "is connected to the backend");
}

static void on_proxy_closed(void *arg, const struct relay_report *report)
{
    struct demo *d = arg;
    uint64_t taken = report->bytes[RELAY_BACKEND];

    /* A client that has closed is over before, and takes nothing any more. */
    if (d->current < array_count(d->exchanges) && (d->done & PART_CLIENT) &&
        taken > d->exchanges[d->current].client.received)
        timeline_note(&d->timeline, "proxy", LANE_DOWN, MOOD_BAD, "has %llu bytes for nobody",
                      (unsigned long long)taken);
    part_done(d, PART_PROXY);
}

static void begin_exchange(struct demo *d)
{
    bool is_plain = d->current == 1;

    if (is_plain)
        timeline_begin(&d->timeline, "2. Without half-close",
                       "The same, but \"I am finished\" can only be said by closing: as bridges do "
                       "that know no half-close.");
    else
        timeline_begin(
            &d->timeline, "1. With half-close",
            "The client ends its direction in band (FIN and its byte count), and reads on.");
    d->done = 0;
    deadline_set(loop_scheduler(d->loop), &d->patience, PATIENCE_MS);
    if (demo_client_start(d->loop, &d->proxy, is_plain, &d->timeline, on_client_over, d) == NULL)
        end_show(d);
}

static void on_next(struct deadline *deadline)
{
    struct demo *d = container_of(deadline, struct demo, next);

    d->current++;
    if (d->current < array_count(d->exchanges))
        begin_exchange(d);
    else
        end_show(d);
}

static void on_patience_over(struct deadline *deadline)
{
    struct demo *d = container_of(deadline, struct demo, patience);

    timeline_say(&d->timeline, MOOD_BAD, "the exchange did not come to its end");
    end_show(d);
}

/* ---- setting up ---- */

static void on_signal(void *arg, int signum)
{
    struct demo *d = arg;

    (void)signum;
    if (service_is_draining(server_service(d->server))) {
        service_stop(server_service(d->server));
        return;
    }
    deadline_clear(loop_scheduler(d->loop), &d->next);
    deadline_clear(loop_scheduler(d->loop), &d->patience);
    stop(d);
}

/* The first of the addresses that the server is bound to. */
static bool find_proxy(struct demo *d)
{
    char first[ADDRESS_TEXT_MAX];
    const char *why;
    struct text t;
    const char *names = service_address(server_service(d->server), 0);

    text_init(&t, first, sizeof(first));
    text_add_bytes(&t, names, strcspn(names, " "));
    return address_parse(first, &d->proxy, &why) == 0;
}

static bool set_up(struct demo *d, char *problem, size_t problem_size)
{
    static const char *any_origin = "*";
    const struct word_list anything = {1, &any_origin};
    struct server_config *config = &d->settings->server;
    const struct server_observer observer = {on_proxy_connected, on_proxy_closed, d};
    struct text t;

    if (fd_limit_prepare(&d->settings->service.max_connections, 0, problem, problem_size) < 0)
        return false;
    text_init(&t, problem, problem_size);
    text_add(&t, "out of memory or descriptors");
    d->loop = loop_new();
    if (d->loop == NULL || loop_on_signal(d->loop, SIGTERM, on_signal, d) < 0 ||
        loop_on_signal(d->loop, SIGINT, on_signal, d) < 0)
        return false;
    if (demo_backend_start(d->loop, &d->timeline, on_backend_over, d, &d->backend, problem,
                           problem_size) < 0)
        return false;
    config->defaults.allow_origin = anything; /* to be tried from any page: nothing is behind it */
    config->defaults.backends.items = &d->where;
    config->defaults.backends.count = 1;
    d->where.address = (struct address){.kind = ADDRESS_TCP, .host = "127.0.0.1"};
    d->where.address.port = demo_backend_port(d->backend);
    text_init(&t, problem, problem_size);
    if (server_new(d->loop, d->settings, &observer, &d->server, &t) < 0)
        return false;
    server_show_pages(d->server, &demo_pages);
    return server_listen(d->server, problem, problem_size) == 0 && find_proxy(d);
}

int demo_run(struct settings *settings)
{
    struct demo d = {.settings = settings, .status = EX_SOFTWARE};
    char problem[OPTIONS_PROBLEM_MAX];

    log_setup(LOG_WARN, (enum log_format)settings->log_format, 2); /* the show is on stdout */
    timeline_init(&d.timeline);
    deadline_init(&d.next, on_next);
    deadline_init(&d.patience, on_patience_over);
    if (!set_up(&d, problem, sizeof(problem))) {
        fprintf(stderr, "tidegate: demo: %s\n", problem);
        d.status = EX_OSERR;
    } else {
        begin_exchange(&d);
        loop_run(d.loop);
        if (service_was_cut(server_service(d.server))) {
            loop_reset_streams(d.loop);
            exit(d.status); /* the system takes it all back */
        }
    }
    server_free(d.server);
    demo_backend_free(d.backend);
    loop_free(d.loop);
    return d.status;
}
