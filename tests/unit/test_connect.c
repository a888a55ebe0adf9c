/* Dials: all addresses in turn, time limits, giving up; over loopback and unix sockets. */
#include "connect.h"
#include "fake_resolver.h"
#include "io_kit.h"
#include "resolve.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct dial {
    struct loop *l;
    struct connect *c;
    unsigned answers;
    bool is_in_call;
    struct cause cause;
    struct app app;
};

static void on_done(void *owner, struct duplex *stream, struct cause cause)
{
    struct dial *d = owner;
    assert_false(d->is_in_call);
    d->answers++;
    d->c = NULL;
    d->cause = cause;
    if (stream != NULL)
        app_own(&d->app, d->l, stream);
    loop_stop(d->l);
}

static void dial_start(struct dial *d, struct loop *l, enum address_kind kind, const char *host,
                       uint16_t port, uint64_t timeout_ms)
{
    struct address where = {.kind = kind, .port = port};
    assert_true(strlen(host) < sizeof(where.host));
    memcpy(where.host, host, strlen(host) + 1);
    *d = (struct dial){.l = l, .is_in_call = true};
    d->c = connect_start(l, &where, timeout_ms, &kit_options, on_done, d);
    assert_non_null(d->c);
    d->is_in_call = false;
}

/* A port at `ip` where connections hang: its backlog is full. Gives the descriptors that hold it
 * so. */
#define HANG_FDS 4
static void hang(const char *ip, uint16_t *port, int fds[HANG_FDS])
{
    fds[0] = kit_listen(ip, port, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(*port)};
    inet_pton(AF_INET, ip, &a.sin_addr);
    for (int i = 1; i < HANG_FDS; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(fds[i], (struct sockaddr *)&a, sizeof(a));
    }
}

static void unhang(int fds[HANG_FDS])
{
    for (int i = 0; i < HANG_FDS; i++)
        close(fds[i]);
}

static unsigned open_descriptors(void)
{
    unsigned n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static int listen_v6(uint16_t *port)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 a = {
        .sin6_family = AF_INET6, .sin6_port = htons(*port), .sin6_addr = in6addr_loopback};
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, 5) != 0) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    socklen_t len = sizeof(a);
    getsockname(fd, (struct sockaddr *)&a, &len);
    *port = ntohs(a.sin6_port);
    return fd;
}

static void test_connects_and_carries_bytes(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    uint16_t port = 0;
    int listener = kit_listen("127.0.0.1", &port, 5);
    struct dial d;
    dial_start(&d, l, ADDRESS_TCP, "127.0.0.1", port, 5000);
    KIT_WAIT(l, d.answers == 1);
    assert_int_equal(d.cause.what, CAUSE_NONE);
    struct peer peer = {.fd = accept(listener, NULL, NULL)};
    peer_write(&peer, 1000);
    kit_turn(l);
    assert_int_equal(d.app.got, 0); /* paused */
    app_resume(&d.app);
    app_write_pattern(&d.app, 500);
    app_finish(&d.app);
    KIT_WAIT(l, d.app.got == 1000 && d.app.finishes == 1);
    peer_read(&peer);
    assert_int_equal(peer.got, 500);
    close(peer.fd);
    close(listener);
    loop_free(l);
}

static void test_refused(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    uint16_t port = 0;
    close(kit_listen("127.0.0.1", &port, 5));
    struct dial d;
    dial_start(&d, l, ADDRESS_TCP, "127.0.0.1", port, 5000);
    KIT_WAIT(l, d.answers == 1);
    assert_null(d.app.d);
    assert_int_equal(d.cause.what, CAUSE_UNREACHABLE);
    assert_int_equal(d.cause.native, -ECONNREFUSED);
    loop_run(l); /* returns: nothing is left open */
    loop_free(l);
}

/* On loopback connect(2) itself says so; here the answer comes later, to a repeated SYN. */
static void test_refused_later(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    uint16_t port = 0;
    int hanging[HANG_FDS];
    hang("127.0.0.2", &port, hanging);
    struct dial d;
    dial_start(&d, l, ADDRESS_TCP, "127.0.0.2", port, 10000);
    kit_turn(l);
    assert_int_equal(d.answers, 0);
    unhang(hanging);
    KIT_WAIT(l, d.answers == 1);
    assert_int_equal(d.cause.what, CAUSE_UNREACHABLE);
    assert_int_equal(d.cause.native, -ECONNREFUSED);
    loop_run(l); /* returns: nothing is left open */
    loop_free(l);
}

static void test_unknown_name(void **state)
{
    (void)state;
    static const struct fake_name none[] = {{0}};
    fake_resolver_set(none);
    struct loop *l = loop_new();
    struct dial d;
    dial_start(&d, l, ADDRESS_TCP, "unknown.test", 80, 5000);
    KIT_WAIT(l, d.answers == 1);
    assert_int_equal(d.cause.what, CAUSE_UNREACHABLE);
    assert_int_equal(d.cause.native, -ENOENT);
    loop_free(l);
}

/* Staggered they would take two seconds. */
static void test_next_address_at_once_when_one_fails(void **state)
{
    (void)state;
    static const struct fake_name names[] = {
        {.name = "x.test",
         .addresses = "127.0.0.2 127.0.0.3 127.0.0.4 127.0.0.5 127.0.0.6 127.0.0.7 "
                      "127.0.0.8 127.0.0.9 127.0.0.1"},
        {0},
    };
    fake_resolver_set(names);
    struct loop *l = loop_new();
    uint16_t port = 0;
    int listener = kit_listen("127.0.0.1", &port, 5);
    struct dial d;
    uint64_t start_ms = kit_now_ms();
    dial_start(&d, l, ADDRESS_TCP, "x.test", port, 5000);
    KIT_WAIT(l, d.answers == 1);
    assert_true(kit_now_ms() - start_ms < 1900);
    assert_non_null(d.app.d);
    close(listener);
    loop_free(l);
}

static void test_all_addresses_fail_the_first_error_is_told(void **state)
{
    (void)state;
    static const struct fake_name names[] = {
        {.name = "x.test", .addresses = "255.255.255.255 127.0.0.2 127.0.0.1"},
        {0},
    };
    fake_resolver_set(names);
    struct loop *l = loop_new();
    uint16_t port = 0;
    close(kit_listen("127.0.0.1", &port, 5));
    struct dial d;
    dial_start(&d, l, ADDRESS_TCP, "x.test", port, 5000);
    KIT_WAIT(l, d.answers == 1);
    assert_int_equal(d.cause.what, CAUSE_UNREACHABLE);
    assert_true(d.cause.native != -ECONNREFUSED && d.cause.native < 0);
    loop_free(l);
}

static void test_dead_address_is_overtaken(void **state)
{
    (void)state;
    static const struct fake_name names[] = {{.name = "x.test", .addresses = "127.0.0.2 127.0.0.1"},
                                             {0}};
    fake_resolver_set(names);
    struct loop *l = loop_new();
    uint16_t port = 0;
    int hanging[HANG_FDS];
    hang("127.0.0.2", &port, hanging);
    int listener = kit_listen("127.0.0.1", &port, 5);
    kit_turn(l);
    unsigned before = open_descriptors();
    struct dial d;
    uint64_t start_ms = kit_now_ms();
    dial_start(&d, l, ADDRESS_TCP, "x.test", port, 10000);
    KIT_WAIT(l, d.answers == 1);
    assert_in_range(kit_now_ms() - start_ms, 200, 5000);
    assert_non_null(d.app.d);
    char name[64], expected[64];
    snprintf(expected, sizeof(expected), "127.0.0.1:%u", port);
    assert_string_equal(stream_peer_name(d.app.d, name, sizeof(name)), expected);
    /* the stream, and the null device that libuv keeps from the first stream on; not the loser */
    assert_in_range(open_descriptors() - before, 1, 2);
    close(listener);
    unhang(hanging);
    loop_free(l);
}

/* By the resolver's order 127.0.0.3 would be next. */
static void test_families_take_turns(void **state)
{
    (void)state;
    static const struct fake_name names[] = {
        {.name = "x.test", .addresses = "127.0.0.2 127.0.0.3 ::1"}, {0}};
    fake_resolver_set(names);
    uint16_t port = 0;
    int v6 = listen_v6(&port);
    if (v6 < 0)
        skip(); /* no IPv6 here */
    struct loop *l = loop_new();
    int hanging[HANG_FDS];
    hang("127.0.0.2", &port, hanging);
    int v4 = kit_listen("127.0.0.3", &port, 5);
    struct dial d;
    dial_start(&d, l, ADDRESS_TCP, "x.test", port, 10000);
    KIT_WAIT(l, d.answers == 1);
    char name[64], expected[64];
    snprintf(expected, sizeof(expected), "[::1]:%u", port);
    assert_string_equal(stream_peer_name(d.app.d, name, sizeof(name)), expected);
    close(v4);
    close(v6);
    unhang(hanging);
    loop_free(l);
}

/* Takes note of what it is asked, and says no to one address, or to all. */
struct filter {
    const char *refused; /* NULL: all */
    char asked[128];
};

static bool filter_may(void *arg, const struct sockaddr *to)
{
    struct filter *f = arg;
    char name[64];
    size_t len = strlen(f->asked);
    resolve_format((const struct sockaddr_storage *)to, name, sizeof(name));
    name[strcspn(name, ":")] = '\0';
    snprintf(f->asked + len, sizeof(f->asked) - len, "%s ", name);
    return f->refused != NULL && strcmp(f->refused, name) != 0;
}

/* The refused one listens, too, and comes first: it must not be touched. */
static void test_a_filtered_address_is_not_tried(void **state)
{
    (void)state;
    static const struct fake_name names[] = {
        {.name = "x.test", .addresses = "127.0.0.2 127.0.0.1 127.0.0.3"}, {0}};
    fake_resolver_set(names);
    struct loop *l = loop_new();
    uint16_t port = 0;
    int refused = kit_listen("127.0.0.2", &port, 5);
    int allowed = kit_listen("127.0.0.1", &port, 5);
    fcntl(refused, F_SETFL, O_NONBLOCK);
    struct dial d;
    struct filter f = {.refused = "127.0.0.2"};
    dial_start(&d, l, ADDRESS_TCP, "x.test", port, 10000);
    connect_filter(d.c, filter_may, &f);
    KIT_WAIT(l, d.answers == 1);
    assert_non_null(d.app.d);
    char name[64], expected[64];
    snprintf(expected, sizeof(expected), "127.0.0.1:%u", port);
    assert_string_equal(stream_peer_name(d.app.d, name, sizeof(name)), expected);
    assert_string_equal(f.asked, "127.0.0.2 127.0.0.1 127.0.0.3 ");
    assert_int_equal(accept(refused, NULL, NULL), -1);
    assert_int_equal(errno, EAGAIN);
    close(refused);
    close(allowed);
    loop_free(l);
}

static void test_all_addresses_filtered_is_denied(void **state)
{
    (void)state;
    static const struct fake_name names[] = {{.name = "x.test", .addresses = "127.0.0.2 127.0.0.1"},
                                             {0}};
    fake_resolver_set(names);
    struct loop *l = loop_new();
    uint16_t port = 0;
    int listener = kit_listen("127.0.0.1", &port, 5);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    static const char *const hosts[] = {"x.test", "127.0.0.1"}; /* a number is checked as well */
    for (size_t i = 0; i < array_count(hosts); i++) {
        struct dial d;
        struct filter f = {.refused = NULL};
        dial_start(&d, l, ADDRESS_TCP, hosts[i], port, 10000);
        connect_filter(d.c, filter_may, &f);
        KIT_WAIT(l, d.answers == 1);
        assert_null(d.app.d);
        assert_int_equal(d.cause.what, CAUSE_DENIED);
        assert_int_equal(accept(listener, NULL, NULL), -1);
        assert_int_equal(errno, EAGAIN);
    }
    close(listener);
    loop_run(l); /* returns: nothing is left open */
    loop_free(l);
}

static void test_time_limit(void **state)
{
    (void)state;
    static const struct fake_name names[] = {
        {.name = "x.test", .addresses = "127.0.0.2 127.0.0.2"},
        {.name = "slow.test", .addresses = "127.0.0.1", .blocks = true},
        {0},
    };
    fake_resolver_set(names);
    uint64_t start_ms = kit_now_ms(); /* the loop's time stands still until it runs */
    struct loop *l = loop_new();
    uint16_t port = 0;
    int hanging[HANG_FDS];
    hang("127.0.0.2", &port, hanging);
    struct dial hangs, resolves;
    dial_start(&hangs, l, ADDRESS_TCP, "x.test", port, 400);
    dial_start(&resolves, l, ADDRESS_TCP, "slow.test", port, 400);
    KIT_WAIT(l, hangs.answers + resolves.answers == 2);
    assert_in_range(kit_now_ms() - start_ms, 390, 3000);
    assert_int_equal(hangs.cause.what, CAUSE_CONNECT_TIMEOUT);
    assert_int_equal(resolves.cause.what, CAUSE_CONNECT_TIMEOUT);
    loop_run(l); /* returns: nothing is left open */
    unhang(hanging);
    fake_resolver_release();
    loop_free(l);
}

static void test_cancel_in_every_state(void **state)
{
    (void)state;
    static const struct fake_name names[] = {
        {.name = "two.test", .addresses = "127.0.0.2 127.0.0.3 127.0.0.2"},
        {.name = "slow.test", .addresses = "127.0.0.1", .blocks = true},
        {0},
    };
    fake_resolver_set(names);
    struct loop *l = loop_new();
    uint16_t port = 0;
    int first[HANG_FDS], second[HANG_FDS];
    hang("127.0.0.2", &port, first);
    hang("127.0.0.3", &port, second);
    struct dial d;
    dial_start(&d, l, ADDRESS_TCP, "slow.test", port, 10000); /* starts libuv's threads */
    kit_turn(l);
    connect_cancel(d.c);
    loop_run(l);
    unsigned before = open_descriptors();
    for (unsigned turns = 0; turns < 6; turns++) {
        dial_start(&d, l, ADDRESS_TCP, "two.test", port, 10000);
        for (unsigned i = 0; i < turns; i++)
            kit_turn(l); /* 100 ms each */
        assert_int_equal(d.answers, 0);
        connect_cancel(d.c);
        assert_int_equal(open_descriptors(), before);
        loop_run(l);
        assert_int_equal(d.answers, 0);
    }
    unhang(first);
    unhang(second);
    fake_resolver_release();
    loop_free(l);
}

static uint16_t port_of(int fd, int (*ask)(int fd, struct sockaddr *at, socklen_t *len))
{
    struct sockaddr_in at = {0};
    socklen_t len = sizeof(at);
    ask(fd, (struct sockaddr *)&at, &len);
    return ntohs(at.sin_port);
}

/* Accepts until it is somebody else's connection than those that keep others waiting. */
static int accept_beside(const int hanging[HANG_FDS])
{
    for (;;) {
        int fd = accept(hanging[0], NULL, NULL);
        assert_true(fd >= 0);
        bool is_hanging = false;
        for (int i = 1; i < HANG_FDS; i++)
            is_hanging |= port_of(hanging[i], getsockname) == port_of(fd, getpeername);
        if (!is_hanging)
            return fd;
        close(fd);
    }
}

/* The kernels have connected, and nobody has looked yet. Who gives up, or dies, before a byte was
 * sent has not said that this is all: to the other side it must not look like an end. */
static void test_given_up_is_a_reset(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    uint16_t port = 0;
    int hanging[HANG_FDS];
    struct dial d;
    char byte;
    hang("127.0.0.2", &port, hanging);
    dial_start(&d, l, ADDRESS_TCP, "127.0.0.2", port, 10000);
    kit_turn(l);
    int fd = accept_beside(hanging);
    assert_int_equal(d.answers, 0);
    connect_cancel(d.c);
    assert_int_equal(read(fd, &byte, 1), -1);
    assert_int_equal(errno, ECONNRESET);
    close(fd);
    unhang(hanging);
    loop_free(l);
}

/* What was waited for with is what is read and written with: no descriptor but the one. */
static void test_connection_that_took_a_while(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    uint16_t port = 0;
    int hanging[HANG_FDS];
    struct dial d;
    hang("127.0.0.2", &port, hanging);
    unsigned before = open_descriptors();
    dial_start(&d, l, ADDRESS_TCP, "127.0.0.2", port, 10000);
    kit_turn(l);
    assert_int_equal(open_descriptors(), before + 1);
    struct peer peer = {.fd = accept_beside(hanging)};
    KIT_WAIT(l, d.answers == 1);
    assert_int_equal(open_descriptors(), before + 2);

    for (int i = 0; i < 2; i++)
        kit_turn(l); /* paused, and writable all the time */
    app_resume(&d.app);
    peer_write(&peer, 1000);
    KIT_WAIT(l, d.app.got == 1000);
    assert_false(app_write_pattern(&d.app, 1000));
    app_finish(&d.app);
    KIT_WAIT(l, d.app.finishes == 1);
    peer_read(&peer);
    assert_int_equal(peer.got, 1000);
    assert_int_equal(peer.read_error, 0);
    close(peer.fd);
    KIT_WAIT(l, d.app.ends == 1);
    app_close(&d.app);
    kit_run_dry(l, 1000);
    assert_int_equal(d.app.releases, 1);
    unhang(hanging);
    loop_free(l);
}

static void test_loop_free_while_dialling(void **state)
{
    (void)state;
    static const struct fake_name names[] = {
        {.name = "two.test", .addresses = "127.0.0.2 127.0.0.2"}, {0}};
    fake_resolver_set(names);
    struct loop *l = loop_new();
    uint16_t port = 0;
    int hanging[HANG_FDS];
    hang("127.0.0.2", &port, hanging);
    struct dial connecting, resolving;
    dial_start(&connecting, l, ADDRESS_TCP, "127.0.0.2", port, 10000);
    kit_turn(l);
    dial_start(&resolving, l, ADDRESS_TCP, "two.test", port, 10000);
    loop_free(l);
    assert_int_equal(connecting.answers + resolving.answers, 0);
    unhang(hanging);
}

/* ---- Unix sockets ---- */

static int listen_unix(const char *path, int backlog)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, backlog), 0);
    return fd;
}

static char *temporary_path(void)
{
    static char path[64];
    snprintf(path, sizeof(path), "/tmp/tidegate-test-%d.sock", (int)getpid());
    return path;
}

static void test_unix(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    const char *path = temporary_path();
    int listener = listen_unix(path, 5);
    struct dial d;
    dial_start(&d, l, ADDRESS_UNIX, path, 0, 5000);
    KIT_WAIT(l, d.answers == 1);
    assert_non_null(d.app.d);
    struct peer peer = {.fd = accept(listener, NULL, NULL)};
    peer_write(&peer, 1000);
    app_resume(&d.app);
    KIT_WAIT(l, d.app.got == 1000);
    close(peer.fd);
    close(listener);
    unlink(path);

    struct dial gone;
    dial_start(&gone, l, ADDRESS_UNIX, path, 0, 5000);
    KIT_WAIT(l, gone.answers == 1);
    assert_int_equal(gone.cause.what, CAUSE_UNREACHABLE);
    assert_int_equal(gone.cause.native, -ENOENT);
    loop_free(l);
}

static void test_unix_with_a_full_backlog_is_tried_again(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    const char *path = temporary_path();
    int listener = listen_unix(path, 0);
    struct dial first, second, third;
    dial_start(&first, l, ADDRESS_UNIX, path, 0, 5000);
    KIT_WAIT(l, first.answers == 1);
    assert_non_null(first.app.d);
    dial_start(&second, l, ADDRESS_UNIX, path, 0, 5000);
    dial_start(&third, l, ADDRESS_UNIX, path, 0, 300);
    KIT_WAIT(l, third.answers == 1);
    assert_int_equal(third.cause.what, CAUSE_CONNECT_TIMEOUT);
    assert_int_equal(second.answers, 0);
    int fd = accept(listener, NULL, NULL);
    KIT_WAIT(l, second.answers == 1);
    assert_non_null(second.app.d);
    close(fd);
    close(listener);
    unlink(path);
    loop_free(l);
}

/* ---- A connection to itself ---- */

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        _exit(77);
    close(fd);
}

/* With two local ports in all, dialling one of them meets itself soon. */
static int dial_ourselves(void)
{
    if (unshare(CLONE_NEWNET) != 0)
        return 77;
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (ioctl(fd, SIOCSIFFLAGS, &lo) != 0)
        return 77;
    close(fd);
    write_file("/proc/sys/net/ipv4/ip_local_port_range", "40000 40001");
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(40000)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bool has_met_itself = false;
    for (int i = 0; i < 50 && !has_met_itself; i++) {
        fd = socket(AF_INET, SOCK_STREAM, 0);
        has_met_itself = connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
        if (has_met_itself) {
            struct linger linger = {.l_onoff = 1};
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        }
        close(fd);
    }
    if (!has_met_itself)
        return 1;
    struct loop *l = loop_new();
    for (int i = 0; i < 50; i++) {
        struct dial d;
        dial_start(&d, l, ADDRESS_TCP, "127.0.0.1", 40000, 5000);
        while (d.answers == 0)
            kit_turn(l);
        if (d.app.d != NULL || d.cause.what != CAUSE_UNREACHABLE)
            return 2;
    }
    loop_free(l);
    return 0;
}

static void test_connection_to_itself_is_none(void **state)
{
    (void)state;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(dial_ourselves());
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip(); /* no rights to a network namespace */
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            test_connection_to_itself_is_none), /* first: forks before there are threads */
        cmocka_unit_test(test_connects_and_carries_bytes),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_refused_later),
        cmocka_unit_test(test_unknown_name),
        cmocka_unit_test(test_next_address_at_once_when_one_fails),
        cmocka_unit_test(test_all_addresses_fail_the_first_error_is_told),
        cmocka_unit_test(test_dead_address_is_overtaken),
        cmocka_unit_test(test_families_take_turns),
        cmocka_unit_test(test_a_filtered_address_is_not_tried),
        cmocka_unit_test(test_all_addresses_filtered_is_denied),
        cmocka_unit_test(test_time_limit),
        cmocka_unit_test(test_cancel_in_every_state),
        cmocka_unit_test(test_given_up_is_a_reset),
        cmocka_unit_test(test_connection_that_took_a_while),
        cmocka_unit_test(test_loop_free_while_dialling),
        cmocka_unit_test(test_unix),
        cmocka_unit_test(test_unix_with_a_full_backlog_is_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
