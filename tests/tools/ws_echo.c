/* A WebSocket echo endpoint, both roles, on the project's own codec and loop, so that conformance
 * suites can judge the codec without the proxy around it.
 *
 *     ws_echo server --listen ADDR
 *         Prints "listening ADDR" on stdout, then echoes for whoever connects until SIGTERM or
 * SIGINT. ws_echo client ws://HOST:PORT [--agent NAME] Follows the protocol of Autobahn's fuzzing
 * server: reads the number of cases from /getCaseCount, echoes on /runCase?case=N&agent=NAME for
 * each, then asks for /updateReports?agent=NAME.
 *
 * Echoes each piece of a message as a frame as soon as it is there, so that no message is too long.
 *
 * Exit: 0; 1 if the other side of `client` could not be reached or did not answer as it should;
 * 64, 71. */
#include "address.h"
#include "connect.h"
#include "crypto.h"
#include "duplex.h"
#include "listener.h"
#include "loop.h"
#include "stream.h"
#include "text.h"
#include "ws_frame.h"
#include "ws_handshake.h"
#include "ws_message.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define CLOSE_WAIT_MS      5000 /* for the peer to do its part of the closing handshake */
#define CONNECT_TIMEOUT_MS 10000
#define TARGET_MAX         256
#define AGENT_MAX          64

static const struct stream_options stream_options = {.linger_ms = CLOSE_WAIT_MS};

struct tester;

/* One WebSocket connection. */
struct peer {
    struct duplex *duplex;
    struct loop *loop;
    enum ws_role role;
    struct ws_head *head; /* until it is open */
    struct ws_ask ask;    /* client: what the head must answer */
    struct ws_reader reader;
    struct deadline close_wait;
    bool is_closing; /* our last frame, or a refusal, has been sent */
    bool has_ended;  /* the peer's FIN */
    bool is_finished;
    struct tester *tester; /* NULL in the server */
    struct peer *next, **link;
};

/* The client's way through the cases, one connection after the other. */
struct tester {
    struct loop *loop;
    struct address address;
    const char *host; /* for the Host field */
    const char *agent;
    enum { COUNTING, RUNNING, REPORTING } stage;
    uint64_t case_number, case_count;
    char target[TARGET_MAX];
    char count[24]; /* answer to /getCaseCount */
    struct text count_text;
    bool was_opened; /* the connection under way got its 101 */
    bool has_failed;
};

static struct peer *peers; /* all open ones */

static void tester_next(struct tester *t);

/* ---- a connection's end ---- */

static void peer_free(struct peer *p)
{
    deadline_clear(loop_scheduler(p->loop), &p->close_wait);
    *p->link = p->next;
    if (p->next)
        p->next->link = p->link;
    ws_head_free(p->head);
    ws_reader_clear(&p->reader);
    free(p);
}

/* The duplex is closed, aborted or lost. */
static void peer_over(struct peer *p)
{
    struct tester *tester = p->tester;
    peer_free(p);
    if (tester)
        tester_next(tester);
}

static void peer_abort(struct peer *p, enum cause_what what)
{
    duplex_abort(p->duplex, (struct cause){.what = what, .where = CAUSE_AT_PROXY});
    peer_over(p);
}

static void peer_on_close_wait(struct deadline *d)
{
    peer_abort(container_of(d, struct peer, close_wait), CAUSE_CLOSED);
}

/* Nothing more is sent, what still comes is not looked at. RFC 6455 7.1.1: the server ends TCP
 * first, the client waits for that. */
static void peer_end(struct peer *p)
{
    p->is_closing = true;
    deadline_set(loop_scheduler(p->loop), &p->close_wait, CLOSE_WAIT_MS);
    duplex_resume(p->duplex);
    if (p->role == WS_SERVER)
        duplex_finish(p->duplex);
}

/* ---- frames ---- */

static void send_spans(struct peer *p, const struct span *spans, size_t count)
{
    if (duplex_write(p->duplex, spans, count))
        duplex_pause(p->duplex); /* until on_drain: a peer that does not read is not read from */
}

/* Masks the payload in place if we are the client. */
static void send_frame(struct peer *p, bool fin, uint8_t opcode, struct span payload)
{
    struct ws_frame_header h = {
        .fin = fin, .opcode = opcode, .masked = p->role == WS_CLIENT, .length = payload.len};
    if (h.masked) {
        if (crypto_random(h.key, sizeof h.key) != 0) {
            fputs("ws_echo: no random bytes for the masking key\n", stderr);
            exit(EX_OSERR);
        }
        ws_frame_mask(payload.data, payload.len, h.key, 0);
    }
    uint8_t header[WS_FRAME_HEADER_MAX];
    struct span spans[2] = {{header, ws_frame_write(&h, header)}, payload};
    send_spans(p, spans, payload.len > 0 ? 2 : 1);
}

static void send_close(struct peer *p, uint16_t code)
{
    uint8_t payload[2] = {(uint8_t)(code >> 8), (uint8_t)(code & 0xff)};
    send_frame(p, true, WS_CLOSE,
               (struct span){payload, code == WS_CODE_NONE ? 0 : sizeof payload});
    peer_end(p);
}

static void on_event(struct peer *p, const struct ws_event *e)
{
    switch (e->type) {
    case WS_EVENT_DATA:
        if (p->tester && p->tester->stage == COUNTING)
            text_add_bytes(&p->tester->count_text, (const char *)e->payload.data, e->payload.len);
        else
            send_frame(p, e->is_last, e->is_first ? e->opcode : WS_CONTINUATION, e->payload);
        break;
    case WS_EVENT_PING:
        send_frame(p, true, WS_PONG, e->payload);
        break;
    case WS_EVENT_PONG:
    case WS_EVENT_CONTROL: /* not on a plain connection */
        break;
    case WS_EVENT_CLOSE:
    case WS_EVENT_ERROR:
        send_close(p, e->code);
        break;
    }
}

/* ---- opening ---- */

static void send_text(struct peer *p, const struct text *t)
{
    assert(!t->overflowed);
    send_spans(p, &(struct span){(uint8_t *)t->data, t->len}, 1);
}

static bool server_open(struct peer *p)
{
    char buffer[1024];
    struct text response;
    text_init(&response, buffer, sizeof buffer);
    struct ws_offer offer = {0};
    const char *problem = NULL;
    int status = ws_handshake_judge(p->head, &offer, &problem);
    if (status == 101) {
        offer.carrier = WS_PLAIN; /* whatever was offered: this end only echoes */
        offer.subprotocol = NULL;
        offer.window = 0;
        ws_handshake_accept(&offer, &response);
    } else {
        ws_handshake_refuse(status, problem, &response);
    }
    send_text(p, &response);
    return status == 101;
}

static bool client_open(struct peer *p)
{
    enum ws_carrier carrier;
    const char *problem = NULL;
    if (ws_handshake_check(p->head, &p->ask, &carrier, &problem) != 0) {
        fprintf(stderr, "ws_echo: %s: %s\n", p->ask.target, problem);
        return false;
    }
    p->tester->was_opened = true;
    return true;
}

static void on_bad_head(struct peer *p)
{
    if (p->role == WS_SERVER) {
        char buffer[1024];
        struct text response;
        text_init(&response, buffer, sizeof buffer);
        ws_handshake_refuse(ws_head_status(p->head), ws_head_problem(p->head), &response);
        send_text(p, &response);
    } else {
        fprintf(stderr, "ws_echo: %s: %s\n", p->ask.target, ws_head_problem(p->head));
    }
}

/* True once the connection is open; what is left of `in` is frames. */
static bool read_head(struct peer *p, struct span *in)
{
    enum ws_head_result result = ws_head_feed(p->head, in);
    if (result == WS_HEAD_MORE)
        return false;
    bool is_open = false;
    if (result == WS_HEAD_FAILED)
        on_bad_head(p);
    else
        is_open = p->role == WS_SERVER ? server_open(p) : client_open(p);
    ws_head_free(p->head);
    p->head = NULL;
    if (is_open)
        ws_reader_init(&p->reader, p->role, WS_PLAIN);
    else
        peer_end(p);
    return is_open;
}

/* ---- events of the stream ---- */

static void on_data(void *owner, struct span in)
{
    struct peer *p = owner;
    if (p->is_closing || (p->head && !read_head(p, &in)))
        return;
    struct ws_event event;
    while (ws_reader_next(&p->reader, &in, &event)) /* nothing after Close or an error */
        on_event(p, &event);
}

static void close_when_complete(struct peer *p)
{
    if (!p->has_ended || !p->is_finished)
        return;
    duplex_close(p->duplex);
    peer_over(p);
}

static void on_end(void *owner)
{
    struct peer *p = owner;
    p->has_ended = true;
    duplex_finish(p->duplex); /* harmless if done already */
    close_when_complete(p);
}

static void on_finished(void *owner)
{
    struct peer *p = owner;
    p->is_finished = true;
    close_when_complete(p);
}

static void on_abort(void *owner, struct cause cause)
{
    (void)cause;
    peer_over(owner);
}

static void on_drain(void *owner)
{
    struct peer *p = owner;
    duplex_resume(p->duplex);
}

static const struct duplex_events events = {on_data, on_end, on_abort, on_drain, on_finished};

/* Takes the duplex; on failure it is gone. */
static struct peer *peer_new(struct loop *loop, struct duplex *duplex, enum ws_role role)
{
    struct peer *p = calloc(1, sizeof *p);
    struct ws_head *head = p ? ws_head_new(role) : NULL;
    if (!head) {
        free(p);
        duplex_abort(duplex, (struct cause){.what = CAUSE_NO_MEMORY, .where = CAUSE_AT_PROXY});
        return NULL;
    }
    p->duplex = duplex;
    p->loop = loop;
    p->role = role;
    p->head = head;
    deadline_init(&p->close_wait, peer_on_close_wait);
    p->next = peers;
    p->link = &peers;
    if (peers)
        peers->link = &p->next;
    peers = p;
    duplex_own(duplex, &events, p);
    return p;
}

/* ---- client ---- */

static void tester_fail(struct tester *t, const char *problem)
{
    fprintf(stderr, "ws_echo: %s%s: %s\n", t->host, t->target, problem);
    t->has_failed = true;
}

static void tester_on_connect(void *owner, struct duplex *duplex, struct cause cause)
{
    struct tester *t = owner;
    if (!duplex) {
        tester_fail(t, cause_text(cause.what));
        return;
    }
    struct peer *p = peer_new(t->loop, duplex, WS_CLIENT);
    if (!p) {
        tester_fail(t, "out of memory");
        return;
    }
    p->tester = t;
    p->ask = (struct ws_ask){.host = t->host, .target = t->target, .is_plain = true};
    char buffer[1024];
    struct text request;
    text_init(&request, buffer, sizeof buffer);
    if (ws_handshake_ask(&p->ask, &request) != 0) {
        tester_fail(t, "cannot make a request");
        duplex_abort(duplex, (struct cause){.what = CAUSE_INTERNAL, .where = CAUSE_AT_PROXY});
        peer_free(p);
        return;
    }
    send_text(p, &request);
    duplex_resume(duplex);
}

static void tester_connect(struct tester *t)
{
    struct text target;
    text_init(&target, t->target, sizeof t->target);
    switch (t->stage) {
    case COUNTING:
        text_add(&target, "/getCaseCount");
        break;
    case RUNNING:
        text_addf(&target, "/runCase?case=%llu&agent=%s", (unsigned long long)t->case_number,
                  t->agent);
        break;
    case REPORTING:
        text_addf(&target, "/updateReports?agent=%s", t->agent);
        break;
    }
    assert(!target.overflowed);
    t->was_opened = false;
    if (!connect_start(t->loop, &t->address, CONNECT_TIMEOUT_MS, &stream_options, tester_on_connect,
                       t))
        tester_fail(t, "out of memory");
}

/* The connection of this stage is over: on to the next, or leave the loop with nothing to do. */
static void tester_next(struct tester *t)
{
    if (!t->was_opened) {
        tester_fail(t, "no WebSocket connection");
        return;
    }
    switch (t->stage) {
    case COUNTING:
        if (t->count_text.overflowed ||
            !text_parse_number(t->count, t->count_text.len, UINT32_MAX, &t->case_count)) {
            tester_fail(t, "the answer is not a number");
            return;
        }
        t->stage = RUNNING;
        break;
    case RUNNING:
        break;
    case REPORTING:
        return;
    }
    if (t->case_number < t->case_count)
        t->case_number++;
    else
        t->stage = REPORTING;
    tester_connect(t);
}

static int run_client(struct loop *loop, const char *url, const char *agent)
{
    static const char scheme[] = "ws://";
    const char *why = "not a ws:// URL";
    struct tester t = {.loop = loop, .agent = agent, .stage = COUNTING};
    if (strncmp(url, scheme, strlen(scheme)) != 0 ||
        address_parse(url + strlen(scheme), &t.address, &why) != 0) {
        fprintf(stderr, "ws_echo: client: %s: %s\n", url, why);
        return EX_USAGE;
    }
    t.host = url + strlen(scheme);
    text_init(&t.count_text, t.count, sizeof t.count);
    tester_connect(&t);
    loop_run(loop);
    return t.has_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- server ---- */

static void on_accept(void *owner, int fd, enum stream_kind kind)
{
    struct loop *loop = owner;
    struct duplex *duplex = stream_open(loop, fd, kind, &stream_options);
    if (duplex && peer_new(loop, duplex, WS_SERVER))
        duplex_resume(duplex);
}

static void on_stop_signal(void *arg, int signum)
{
    (void)signum;
    loop_stop(arg);
}

static int run_server(struct loop *loop, const char *listen)
{
    struct address address;
    const char *why;
    if (address_parse(listen, &address, &why) != 0) {
        fprintf(stderr, "ws_echo: server: --listen %s: %s\n", listen, why);
        return EX_USAGE;
    }
    struct listener_options options = {0};
    struct listener *listener;
    char problem[512];
    if (listener_open(loop, &address, &options, on_accept, loop, &listener, problem,
                      sizeof problem) != 0) {
        fprintf(stderr, "ws_echo: %s\n", problem);
        return EX_OSERR;
    }
    printf("listening %s\n", listener_name(listener));
    fflush(stdout);
    loop_run(loop);
    listener_close(listener);
    return EXIT_SUCCESS;
}

/* ---- command line ---- */

static int usage(void)
{
    fputs("usage: ws_echo server --listen ADDR\n"
          "       ws_echo client ws://HOST:PORT [--agent NAME]\n",
          stderr);
    return EX_USAGE;
}

static bool is_agent_name(const char *s)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    size_t len = strspn(s, allowed);
    return len > 0 && len <= AGENT_MAX && s[len] == '\0';
}

int main(int argc, char **argv)
{
    bool is_server = argc == 4 && !strcmp(argv[1], "server") && !strcmp(argv[2], "--listen");
    bool is_client =
        (argc == 3 || (argc == 5 && !strcmp(argv[3], "--agent"))) && !strcmp(argv[1], "client");
    const char *agent = argc == 5 ? argv[4] : "tidegate";
    if ((!is_server && !is_client) || !is_agent_name(agent))
        return usage();

    struct loop *loop = loop_new();
    if (!loop) {
        fputs("ws_echo: cannot make an event loop\n", stderr);
        return EX_OSERR;
    }
    loop_on_signal(loop, SIGTERM, on_stop_signal, loop);
    loop_on_signal(loop, SIGINT, on_stop_signal, loop);
    int status = is_server ? run_server(loop, argv[3]) : run_client(loop, argv[2], agent);
    while (peers)
        peer_free(peers);
    loop_free(loop);
    return status;
}
