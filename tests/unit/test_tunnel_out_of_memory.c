/* The n-th allocation fails, for every n, while a local program (a socket, or standard input and
 * output) is carried to a server and back: no crash, no leak, and nothing looks like an end that is
 * none (checklist 91). Linked with --wrap of the allocators; the server's thread is spared. */
#include "raw_server.h"
#include "stdio_duplex.h"
#include "tunnel_link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static __thread unsigned fail_at; /* 0: never */
static __thread unsigned allocations;

static bool is_to_fail(void)
{
    return fail_at != 0 && ++allocations == fail_at;
}

void *__wrap_malloc(size_t size)
{
    return is_to_fail() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return is_to_fail() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return is_to_fail() ? NULL : __real_realloc(old, size);
}

static const char answer[] = RAW_101 RAW_EXTENSION "\r\n\x82\x05hello\x8b\x05"
                                                   "FIN 5";
static const char closing[] = "\x88\x02\x03\xe8"; /* behind "hi" and FIN 2, masked */
#define WANTED (2 + 4 + 2 + 2 + 4 + 5)

struct scene {
    struct loop *l;
    struct service_config service;
    struct tunnel_config config;
    struct tunnel_link link;
    struct raw_server server;
    bool is_over, is_complete;
};

static void on_open(struct tunnel_link *link, const struct dialer_result *result)
{
    (void)link;
    (void)result;
}

static void on_failed(struct tunnel_link *link, const struct dialer_result *result)
{
    struct scene *s = container_of(link, struct scene, link);

    assert_int_not_equal(result->failure, DIALER_OK);
    s->is_over = true;
    loop_stop(s->l);
}

static void on_done(struct tunnel_link *link, const struct relay_report *report)
{
    struct scene *s = container_of(link, struct scene, link);

    s->is_over = true;
    s->is_complete = report->cause.what == CAUSE_OK;
    loop_stop(s->l);
}

static const struct tunnel_link_handler handler = {on_open, on_failed, on_done};

static struct duplex *open_socket(struct scene *s, int *far)
{
    int fds[2];

    kit_tcp_pair(fds);
    *far = fds[1];
    return stream_open(s->l, fds[0], STREAM_TCP, &s->service.stream);
}

/* `*far` is a socket to read from and write to; the duplex has a pipe of its own for input. */
static struct duplex *open_stdio(struct scene *s, int *far)
{
    struct duplex *d;
    int in[2], out[2];

    assert_int_equal(pipe(in), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, out), 0);
    assert_int_equal(write(in[1], "hi", 2), 2);
    close(in[1]);
    *far = out[1];
    if (stdio_duplex_open(s->l, in[0], out[0], &s->service.stream, &d) == 0)
        return d;
    close(in[0]);
    close(out[0]);
    return NULL;
}

static void play(struct scene *s, struct duplex *(*open_local)(struct scene *s, int *far), int *far)
{
    struct duplex *local = open_local(s, far);

    if (local == NULL)
        return;
    if (!tunnel_link_start(&s->link, s->l, &s->config, &handler, local)) {
        duplex_abort(local, (struct cause){.what = CAUSE_NO_MEMORY});
        return;
    }
    if (open_local == open_socket) {
        send(*far, "hi", 2, MSG_NOSIGNAL);
        shutdown(*far, SHUT_WR);
    }
    KIT_WAIT(s->l, s->is_over);
}

/* How many allocations there were. 0: none was left to fail. */
static bool try_once(struct duplex *(*open_local)(struct scene *s, int *far), unsigned n)
{
    struct scene *s = calloc(1, sizeof(*s));
    const char *why;
    char url[64], got[16];
    int far = -1;

    s->l = loop_new();
    s->service.stream = kit_options;
    s->service.ws = (struct ws_duplex_config){.linger_ms = 500, .close_timeout_ms = 20};
    s->config.service = &s->service;
    s->config.dial.dialer.timeout_ms = 5000;
    s->config.dial.dialer.ws = &s->service.ws;
    s->config.dial.dialer.stream = &s->service.stream;
    s->server.answers[0] = (struct raw_answer){RAW_SEND, answer, sizeof(answer) - 1};
    s->server.last = closing;
    s->server.last_len = sizeof(closing) - 1;
    s->server.wanted = WANTED;
    raw_server_start(&s->server);
    snprintf(url, sizeof(url), "ws://127.0.0.1:%u/", s->server.port);
    assert_int_equal(url_parse(url, &s->config.dial.dialer.url, &why), 0);

    allocations = 0;
    fail_at = n;
    play(s, open_local, &far);
    bool has_failed = allocations >= n;
    fail_at = 0;
    loop_run(s->l);
    raw_server_stop(&s->server);
    assert_true(has_failed || s->is_complete);
    ssize_t len = recv(far, got, sizeof(got), MSG_DONTWAIT);
    if (s->is_complete) {
        assert_int_equal(len, 5);
        assert_int_equal(recv(far, got, sizeof(got), 0), 0);
    } else if (open_local == open_socket) {
        while (len > 0)
            len = recv(far, got, sizeof(got), 0);
        assert_int_equal(len, -1); /* a reset, never an end */
    }
    close(far);
    loop_free(s->l);
    raw_server_free(&s->server);
    free(s);
    return has_failed;
}

static void try_all(struct duplex *(*open_local)(struct scene *s, int *far))
{
    unsigned n = 1;

    while (try_once(open_local, n))
        n++;
    assert_in_range(n, 8, 200); /* there was something to fail */
}

static void test_91_socket(void **state)
{
    (void)state;
    try_all(open_socket);
}

static void test_91_stdio(void **state)
{
    (void)state;
    try_all(open_stdio);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_91_socket),
        cmocka_unit_test(test_91_stdio),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
