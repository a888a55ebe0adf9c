#include "pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define PATIENCE_NS 20000000000U

static const struct options *options;
static void (*when_answered)(uint64_t ns);
static struct endpoint_message client_message, backend_message;
static struct endpoint *clients, *backends;
static size_t client_count, backend_count;
static int poller;
static SSL_CTX *tls;
static bool are_sources_silent, are_sinks_deaf;

/* ---- set-up ---- */

static void poll_for(int operation, struct endpoint *e)
{
    e->events = endpoint_wants(e);
    struct epoll_event event = {.events = e->events, .data = {.ptr = e}};
    if (epoll_ctl(poller, operation, e->link.fd, &event) != 0)
        die("epoll_ctl: %s", strerror(errno));
}

static void tune(struct endpoint *e)
{
    e->is_silent = e->role == ENDPOINT_SOURCE && are_sources_silent;
    e->is_deaf = e->role == ENDPOINT_SINK && are_sinks_deaf;
}

static void add(struct endpoint *e)
{
    tune(e);
    poll_for(EPOLL_CTL_ADD, e);
}

void pool_set_up(const struct options *o, void (*on_answer)(uint64_t ns))
{
    options = o;
    when_answered = on_answer;
    poller = epoll_create1(EPOLL_CLOEXEC);
    clients = calloc(o->connections, sizeof(*clients));
    backends = calloc(o->connections, sizeof(*backends));
    if (poller < 0 || clients == NULL || backends == NULL)
        die("out of memory");
    client_message = endpoint_message_new(o->message, !o->is_raw);
    backend_message = endpoint_message_new(o->message, false);
    tls = o->is_tls ? link_tls(o->cipher) : NULL;

    struct link listener = {.fd = o->backend_fd};
    link_set_nonblocking(&listener);
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = NULL}};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, listener.fd, &event) != 0)
        die("the backend's socket: %s", strerror(errno));
}

static void accept_backends(void)
{
    struct link l;

    while (link_accept(options->backend_fd, &l)) {
        if (backend_count == options->connections)
            die("more connections to the backend than there are clients");
        struct endpoint *e = &backends[backend_count++];
        *e = (struct endpoint){.link = l, .role = options->backend, .message = &backend_message};
        add(e);
    }
}

void pool_connect(size_t count)
{
    while (client_count < count) {
        struct endpoint *e = &clients[client_count++];
        *e = (struct endpoint){.link = link_connect(options->to, tls),
                               .role = options->client,
                               .is_websocket = !options->is_raw,
                               .message = &client_message,
                               .on_answer = when_answered};
        if (e->is_websocket)
            endpoint_shake(e, options->to);
        link_set_nonblocking(&e->link);
        add(e);
        accept_backends();
    }
}

/* ---- while it runs ---- */

static void handle(struct endpoint *e, uint32_t events)
{
    if (!endpoint_handle(e, events))
        die("the proxy has ended a connection");
    if (endpoint_wants(e) != e->events)
        poll_for(EPOLL_CTL_MOD, e);
}

void pool_run_until(uint64_t until_ns)
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

void pool_await_backends(void)
{
    uint64_t limit = now_ns() + PATIENCE_NS;

    while (backend_count < client_count && now_ns() < limit)
        pool_run_until(now_ns() + 10000000U);
    if (backend_count != client_count)
        die("%zu connections came to the backend, of %zu", backend_count, client_count);
}

void pool_let(bool sources_send, bool sinks_read)
{
    are_sources_silent = !sources_send;
    are_sinks_deaf = !sinks_read;
    for (size_t i = 0; i < client_count; i++) {
        tune(&clients[i]);
        poll_for(EPOLL_CTL_MOD, &clients[i]);
    }
    for (size_t i = 0; i < backend_count; i++) {
        tune(&backends[i]);
        poll_for(EPOLL_CTL_MOD, &backends[i]);
    }
}

uint64_t pool_received(void)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < client_count; i++)
        sum += clients[i].received;
    for (size_t i = 0; i < backend_count; i++)
        if (backends[i].role != ENDPOINT_ECHO)
            sum += backends[i].received;
    return sum;
}

uint64_t pool_sent(void)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < client_count; i++)
        sum += clients[i].sent_ever;
    for (size_t i = 0; i < backend_count; i++)
        sum += backends[i].sent_ever;
    return sum;
}

void pool_tear_down(void)
{
    for (size_t i = 0; i < client_count; i++)
        link_close(&clients[i].link);
    for (size_t i = 0; i < backend_count; i++) {
        link_close(&backends[i].link);
        free(backends[i].echo);
    }
    free(clients);
    free(backends);
    clients = backends = NULL;
    client_count = backend_count = 0;
    free(client_message.data);
    free(backend_message.data);
    SSL_CTX_free(tls);
    tls = NULL;
}
