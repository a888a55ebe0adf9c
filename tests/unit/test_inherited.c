/* Inherited sockets: descriptors from 3 on, and three variables that tell of them. */
#include "inherited.h"
#include "io_kit.h"
#include "listener.h"
#include "log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST 3
#define COUNT 8 /* descriptors that these tests play with */

static char problem_text[256];
static struct text problem;

/* So that nothing else is ever opened at these numbers. */
static int occupy(void **state)
{
    (void)state;
    for (int fd = FIRST; fd < FIRST + COUNT; fd++)
        assert_int_equal(dup2(STDIN_FILENO, fd), fd);
    text_init(&problem, problem_text, sizeof(problem_text));
    problem_text[0] = '\0';
    return 0;
}

static void place(int fd, int number)
{
    assert_int_equal(dup2(fd, number), number);
    close(fd);
}

static int tcp_socket(const char *ip, bool is_listening)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    inet_pton(AF_INET, ip, &at.sin_addr);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    if (is_listening)
        assert_int_equal(listen(fd, 5), 0);
    return fd;
}

static int unix_socket(const char *path, size_t len)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memcpy(at.sun_path, path, len);
    unlink(path);
    assert_int_equal(
        bind(fd, (struct sockaddr *)&at, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
        0);
    assert_int_equal(listen(fd, 5), 0);
    return fd;
}

static void tell(int pid, const char *count, const char *names)
{
    char number[24];
    snprintf(number, sizeof(number), "%d", pid);
    setenv("LISTEN_PID", number, 1);
    setenv("LISTEN_FDS", count, 1);
    if (names != NULL)
        setenv("LISTEN_FDNAMES", names, 1);
    else
        unsetenv("LISTEN_FDNAMES");
    inherited_read();
    assert_null(getenv("LISTEN_PID"));
    assert_null(getenv("LISTEN_FDS"));
    assert_null(getenv("LISTEN_FDNAMES"));
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void test_takes_all_of_a_name(void **state)
{
    (void)state;
    int fds[4];
    for (int i = 0; i < 3; i++)
        place(tcp_socket("127.0.0.1", true), FIRST + i);
    tell(getpid(), "3", "web:status:web");
    assert_int_equal(inherited_take("web", fds, 4, &problem), 2);
    assert_int_equal(fds[0], 3);
    assert_int_equal(fds[1], 5);
    for (int i = 0; i < 2; i++) {
        assert_true(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
    }
    assert_int_equal(inherited_take("web", fds, 4, &problem), -EALREADY);
    assert_non_null(strstr(problem_text, "systemd:web: is listened on already"));
    inherited_close_rest();
    assert_true(is_open(3) && !is_open(4) && is_open(5));
    inherited_close_rest();
}

static void test_says_which_names_there_are(void **state)
{
    (void)state;
    int fds[4];
    for (int i = 0; i < 3; i++)
        place(tcp_socket("127.0.0.1", true), FIRST + i);
    tell(getpid(), "3", "web:status:web");
    assert_int_equal(inherited_take("wbe", fds, 4, &problem), -ENOENT);
    assert_non_null(strstr(problem_text, "systemd:wbe: no socket of that name"));
    assert_non_null(strstr(problem_text, "(there are: web, status;"));
    inherited_close_rest();
}

/* Variables that are meant for another process, wrong, or say more than is true. */
static void test_believes_only_what_is_meant_for_it(void **state)
{
    (void)state;
    int fds[4];
    static const char *const counts[] = {"", "0", "-1", "x", "99999999999999999999", "3 "};
    place(tcp_socket("127.0.0.1", true), FIRST);
    tell(getpid() + 1, "1", "web");
    assert_int_equal(inherited_take("web", fds, 4, &problem), -ENOENT);
    assert_non_null(strstr(problem_text, "no socket was handed over"));
    for (size_t i = 0; i < array_count(counts); i++) {
        tell(getpid(), counts[i], "web");
        assert_int_equal(inherited_take("web", fds, 4, &problem), -ENOENT);
    }
    inherited_close_rest();
    assert_true(is_open(FIRST));
    for (int fd = FIRST + 1; fd < FIRST + COUNT; fd++)
        close(fd);
    tell(getpid(), "5", NULL); /* there is one, without a name */
    assert_int_equal(inherited_take("unknown", fds, 4, &problem), 1);
}

static void test_only_listening_streams(void **state)
{
    (void)state;
    int fds[4], pipes[2];
    place(tcp_socket("127.0.0.1", false), 3);
    place(socket(AF_INET, SOCK_DGRAM, 0), 4);
    assert_int_equal(pipe(pipes), 0);
    place(pipes[0], 5);
    close(pipes[1]);
    tell(getpid(), "3", "bound:datagram:pipe");
    assert_int_equal(inherited_take("bound", fds, 4, &problem), -ENOTSOCK);
    assert_int_equal(inherited_take("datagram", fds, 4, &problem), -ENOTSOCK);
    assert_int_equal(inherited_take("pipe", fds, 4, &problem), -ENOTSOCK);
    assert_non_null(strstr(problem_text, "systemd:pipe: not a listening"));
    inherited_close_rest();
    assert_false(is_open(3) || is_open(4) || is_open(5));
}

static void test_too_many(void **state)
{
    (void)state;
    int fds[1];
    for (int i = 0; i < 2; i++)
        place(tcp_socket("127.0.0.1", true), FIRST + i);
    tell(getpid(), "2", "web:web");
    assert_int_equal(inherited_take("web", fds, 1, &problem), -E2BIG);
    inherited_close_rest();
}

static void test_is_local(void **state)
{
    (void)state;
    place(tcp_socket("127.0.0.1", true), 3);
    place(tcp_socket("0.0.0.0", true), 4);
    place(unix_socket("\0tidegate-local", 15), 5);
    place(tcp_socket("127.9.9.9", true), 6);
    tell(getpid(), "4", "near:far:near:far");
    assert_true(inherited_is_local("near"));
    assert_false(inherited_is_local("far"));
    assert_true(inherited_is_local("none"));
    inherited_close_rest();
}

/* ---- a listener on them ---- */

struct door {
    struct loop *l;
    struct listener *x;
    int count;
    enum stream_kind kind;
    char peer[64];
};

static void on_accept(void *owner, int fd, enum stream_kind kind)
{
    struct door *d = owner;
    d->kind = kind;
    listener_peer_name(d->x, d->peer, sizeof(d->peer));
    d->count++;
    close(fd);
    loop_stop(d->l);
}

static void test_listener_on_several(void **state)
{
    (void)state;
    static const struct listener_options options = {0};
    struct address where;
    struct door d = {0};
    const char *why;
    char path[64], expected[200];
    struct sockaddr_in at;
    socklen_t len = sizeof(at);

    snprintf(path, sizeof(path), "/tmp/tidegate-inherited-%d", getpid());
    place(tcp_socket("127.0.0.1", true), 3);
    place(unix_socket(path, strlen(path) + 1), 4);
    getsockname(3, (struct sockaddr *)&at, &len);
    tell(getpid(), "2", "web:web");
    d.l = loop_new();
    assert_int_equal(address_parse_listen("systemd:web", &where, &why), 0);
    assert_int_equal(listener_open(d.l, &where, &options, on_accept, &d, &d.x, problem_text,
                                   sizeof(problem_text)),
                     0);
    snprintf(expected, sizeof(expected), "127.0.0.1:%u unix:%s", ntohs(at.sin_port), path);
    assert_string_equal(listener_name(d.x), expected);
    assert_int_equal(listener_port(d.x), ntohs(at.sin_port));

    int client = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&at, len), 0);
    KIT_WAIT(d.l, d.count == 1);
    assert_int_equal(d.kind, STREAM_TCP);
    assert_int_equal(strncmp(d.peer, "127.0.0.1:", 10), 0);
    close(client);

    struct sockaddr_un un = {.sun_family = AF_UNIX};
    memcpy(un.sun_path, path, strlen(path) + 1);
    client = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&un, sizeof(un)), 0);
    KIT_WAIT(d.l, d.count == 2);
    assert_int_equal(d.kind, STREAM_UNIX);
    close(client);

    struct stat file;
    listener_close(d.x);
    loop_free(d.l);
    assert_false(is_open(3) || is_open(4));
    assert_int_equal(stat(path, &file), 0); /* it is not ours */
    unlink(path);
}

/* systemd's ListenStream=PORT is one socket for both families. */
static void test_ipv4_through_a_dual_socket(void **state)
{
    (void)state;
    static const struct listener_options options = {0};
    struct address where;
    struct door d = {0};
    const char *why;
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(six);
    int off = 0, fd = socket(AF_INET6, SOCK_STREAM, 0);

    if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) != 0 ||
        bind(fd, (struct sockaddr *)&six, sizeof(six)) != 0)
        skip(); /* no IPv6 here */
    assert_int_equal(listen(fd, 5), 0);
    getsockname(fd, (struct sockaddr *)&six, &len);
    place(fd, 3);
    tell(getpid(), "1", "web");
    d.l = loop_new();
    assert_int_equal(address_parse_listen("systemd:web", &where, &why), 0);
    assert_int_equal(listener_open(d.l, &where, &options, on_accept, &d, &d.x, problem_text,
                                   sizeof(problem_text)),
                     0);
    four.sin_port = six.sin6_port;
    int client = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&four, sizeof(four)), 0);
    KIT_WAIT(d.l, d.count == 1);
    assert_int_equal(strncmp(d.peer, "127.0.0.1:", 10), 0);
    close(client);
    listener_close(d.x);
    loop_free(d.l);
}

static void test_listener_that_is_not_there(void **state)
{
    (void)state;
    static const struct listener_options options = {0};
    struct address where;
    struct listener *x = NULL;
    const char *why;

    tell(getpid(), "0", NULL);
    struct loop *l = loop_new();
    assert_int_equal(address_parse_listen("systemd:web", &where, &why), 0);
    assert_int_equal(
        listener_open(l, &where, &options, on_accept, NULL, &x, problem_text, sizeof(problem_text)),
        -ENOENT);
    assert_non_null(strstr(problem_text, "systemd:web: no socket was handed over"));
    loop_free(l);
}

#define inherited_test(name) cmocka_unit_test_setup_teardown(name, occupy, occupy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        inherited_test(test_takes_all_of_a_name),
        inherited_test(test_says_which_names_there_are),
        inherited_test(test_believes_only_what_is_meant_for_it),
        inherited_test(test_only_listening_streams),
        inherited_test(test_too_many),
        inherited_test(test_is_local),
        inherited_test(test_listener_on_several),
        inherited_test(test_ipv4_through_a_dual_socket),
        inherited_test(test_listener_that_is_not_there),
    };
    log_setup(LOG_ERROR, LOG_TEXT, STDERR_FILENO);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
