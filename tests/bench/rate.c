#include "rate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "account.h"

#define WARM_UP_NS   500000000U
#define BACKENDS_MAX 16384

enum step { STEP_REQUEST, STEP_HEAD, STEP_MESSAGE, STEP_ECHO, STEP_END };

/* A client's place, or (when `is_backend`) one connection of the backend. */
struct place {
    struct link link;
    bool is_backend;
    enum step step;
    uint64_t begun_ns;
    size_t received;  /* of the answer, or of the echo with its frame's header */
    char head_end[4]; /* the last bytes of the answer so far */
};

static const struct options *options;
static struct place backends[BACKENDS_MAX]; /* by their descriptors */
static void (*when_done)(uint64_t ns);
static struct endpoint_message message;
static char request[512];
static size_t request_len;
static SSL_CTX *tls;
static int poller;
static bool is_counting;
static uint64_t done_count;

static const uint8_t close_frame[8] = {0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8}; /* 1000 */

static void add(struct place *p)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = p}};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, p->link.fd, &event) != 0)
        die("epoll_ctl: %s", strerror(errno));
}

/* ---- clients ---- */

/* False: not yet, which only a TLS handshake that is under way may say. */
static bool send_whole(struct place *p, const void *data, size_t len)
{
    ssize_t n = link_write(&p->link, data, len);
    if (n == LINK_LATER && p->link.ssl != NULL)
        return false;
    if (n != (ssize_t)len)
        die("a connection broke before its %s was sent",
            p->step == STEP_REQUEST ? "request" : "message");
    return true;
}

static void take_head(struct place *p, const char *data, size_t len)
{
    if (p->received == 0 && (len < 12 || strncmp(data, "HTTP/1.1 101", 12) != 0))
        die("refused: %.*s", (int)(len < 60 ? len : 60), data);
    p->received += len;
    for (size_t i = len > 4 ? len - 4 : 0; i < len; i++) {
        memmove(p->head_end, p->head_end + 1, 3);
        p->head_end[3] = data[i];
    }
    if (memcmp(p->head_end, "\r\n\r\n", 4) == 0)
        p->step = STEP_MESSAGE;
}

static void take_echo(struct place *p, size_t len)
{
    size_t head = options->is_raw ? 0 : options->message > 125 ? 4 : 2;

    p->received += len;
    if (p->received < options->message + head)
        return;
    p->step = STEP_END;
    if (options->is_raw)
        link_end(&p->link);
    else
        send_whole(p, close_frame, sizeof(close_frame));
}

static void send_step(struct place *p)
{
    if (p->step == STEP_REQUEST && send_whole(p, request, request_len)) {
        p->step = STEP_HEAD;
    } else if (p->step == STEP_MESSAGE && send_whole(p, message.data, message.size)) {
        p->step = STEP_ECHO;
        p->received = 0;
    }
}

/* All that is sent is small: nobody waits for room. */
static void begin(struct place *p)
{
    *p =
        (struct place){.begun_ns = now_ns(), .step = options->is_raw ? STEP_MESSAGE : STEP_REQUEST};
    p->link = link_connect_later(options->to, tls);
    send_step(p);
    add(p);
}

static void end(struct place *p)
{
    SSL_free(p->link.ssl);
    close(p->link.fd); /* an orderly one: the peer has ended, and nothing is left to read */
    if (is_counting) {
        done_count++;
        when_done(now_ns() - p->begun_ns);
    }
    begin(p);
}

static void client_on(struct place *p)
{
    char data[4096];

    for (;;) {
        ssize_t n = link_read(&p->link, (uint8_t *)data, sizeof(data));
        if (n == LINK_OVER) {
            if (p->step != STEP_END)
                die("a connection ended before its message came back");
            end(p);
            return;
        }
        if (n > 0 && p->step == STEP_HEAD)
            take_head(p, data, (size_t)n);
        else if (n > 0 && p->step == STEP_ECHO)
            take_echo(p, (size_t)n);
        send_step(p);
        /* What OpenSSL holds, epoll does not know of. */
        if (n == LINK_LATER || p->link.ssl == NULL)
            return;
    }
}

/* ---- backend ---- */

static void accept_backends(void)
{
    struct link l;

    while (link_accept(options->backend_fd, &l)) {
        if (l.fd >= BACKENDS_MAX)
            die("too many connections to the backend");
        struct place *p = &backends[l.fd];
        *p = (struct place){.link = l, .is_backend = true};
        add(p);
    }
}

static void backend_on(struct place *p)
{
    uint8_t data[4096];
    ssize_t n = link_read(&p->link, data, sizeof(data));

    if (n == LINK_LATER)
        return;
    if (n > 0 && link_write(&p->link, data, (size_t)n) == n)
        return;
    close(p->link.fd);
}

static void run_until(uint64_t until_ns)
{
    struct epoll_event events[64];

    while (now_ns() < until_ns) {
        int n = epoll_wait(poller, events, 64, 10);
        if (n < 0 && errno != EINTR)
            die("epoll_wait: %s", strerror(errno));
        for (int i = 0; i < n; i++) {
            struct place *p = events[i].data.ptr;
            if (p == NULL)
                accept_backends();
            else if (p->is_backend)
                backend_on(p);
            else
                client_on(p);
        }
    }
}

void rate_run(const struct options *o, void (*on_done)(uint64_t ns))
{
    options = o;
    when_done = on_done;
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct place *places = calloc(o->connections, sizeof(*places));
    if (poller < 0 || places == NULL)
        die("out of memory");
    message = endpoint_message_new(o->message, !o->is_raw);
    request_len = endpoint_request(o->to, request, sizeof(request));
    tls = o->is_tls ? link_tls(o->cipher) : NULL;
    struct link listener = {.fd = o->backend_fd};
    link_set_nonblocking(&listener);
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = NULL}};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, listener.fd, &event) != 0)
        die("the backend's socket: %s", strerror(errno));

    for (size_t i = 0; i < o->connections; i++)
        begin(&places[i]);
    run_until(now_ns() + WARM_UP_NS);
    is_counting = true;
    struct account begun = account_now(o->pid);
    run_until(begun.ns + o->seconds * 1000000000U);
    struct account ended = account_now(o->pid);
    account_print(&begun, &ended);
    printf(", \"done\": %llu", (unsigned long long)done_count);
    for (size_t i = 0; i < o->connections; i++)
        link_close(&places[i].link);
    free(places);
    free(message.data);
    SSL_CTX_free(tls);
}
