/* Listeners: addresses, files, refusals, and running out of descriptors. */
#include "fake_resolver.h"
#include "io_kit.h"
#include "listener.h"
#include "log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 2000

struct door {
    struct loop *l;
    struct listener *x;
    int status;
    char problem[256];
    unsigned count;
    enum stream_kind kind;
    int fds[MOST];
    void (*hook)(struct door *d);
    char peer[64]; /* of the last one */
};

static void on_accept(void *owner, int fd, enum stream_kind kind)
{
    struct door *d = owner;
    assert_true(d->count < MOST);
    d->fds[d->count++] = fd;
    d->kind = kind;
    listener_peer_name(d->x, d->peer, sizeof(d->peer));
    if (d->hook != NULL)
        d->hook(d);
    loop_stop(d->l);
}

static const struct listener_options defaults = {0};

static void door_open(struct door *d, struct loop *l, enum address_kind kind, const char *host,
                      uint16_t port, const struct listener_options *options)
{
    struct address where = {.kind = kind, .port = port};
    assert_true(strlen(host) < sizeof(where.host));
    memcpy(where.host, host, strlen(host) + 1);
    memset(d, 0, sizeof(*d));
    d->l = l;
    d->status =
        listener_open(l, &where, options, on_accept, d, &d->x, d->problem, sizeof(d->problem));
}

static void door_open_beside(struct door *d, struct loop *l, const struct door *other)
{
    memset(d, 0, sizeof(*d));
    d->l = l;
    d->status = listener_open_beside(other->x, l, d, &d->x, d->problem, sizeof(d->problem));
}

static void door_close(struct door *d)
{
    listener_close(d->x);
    for (unsigned i = 0; i < d->count; i++)
        close(d->fds[i]);
    d->count = 0;
}

static int dial(const char *ip, uint16_t port)
{
    struct sockaddr_storage a = {0};
    struct sockaddr_in *in = (struct sockaddr_in *)&a;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a;
    socklen_t len = sizeof(*in);
    if (inet_pton(AF_INET, ip, &in->sin_addr) == 1) {
        a.ss_family = AF_INET;
        in->sin_port = htons(port);
    } else {
        assert_int_equal(inet_pton(AF_INET6, ip, &in6->sin6_addr), 1);
        a.ss_family = AF_INET6;
        in6->sin6_port = htons(port);
        len = sizeof(*in6);
    }
    int fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&a, len) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool has_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
    if (fd >= 0)
        close(fd);
    return has;
}

static void test_accepts(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    struct door d;
    door_open(&d, l, ADDRESS_TCP, "127.0.0.1", 0, &defaults);
    assert_int_equal(d.status, 0);
    uint16_t port = listener_port(d.x);
    assert_true(port != 0);
    char name[64];
    snprintf(name, sizeof(name), "127.0.0.1:%u", port);
    assert_string_equal(listener_name(d.x), name);
    int client = dial("127.0.0.1", port);
    KIT_WAIT(l, d.count == 1);
    assert_int_equal(d.kind, STREAM_ACCEPTED);
    assert_true(fcntl(d.fds[0], F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(d.fds[0], F_GETFD) & FD_CLOEXEC);
    close(client);
    door_close(&d);
    loop_run(l); /* returns: nothing is open */
    assert_int_equal(dial("127.0.0.1", port), -1);
    loop_free(l);
}

static void test_peer_that_has_reset_already_is_named(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    struct door d;
    door_open(&d, l, ADDRESS_TCP, "127.0.0.1", 0, &defaults);
    int client = dial("127.0.0.1", listener_port(d.x));
    struct sockaddr_in a = {0};
    socklen_t len = sizeof(a);
    assert_int_equal(getsockname(client, (struct sockaddr *)&a, &len), 0);
    kit_reset(client);
    KIT_WAIT(l, d.count == 1);
    char name[64];
    snprintf(name, sizeof(name), "127.0.0.1:%u", ntohs(a.sin_port));
    assert_string_equal(d.peer, name);
    door_close(&d);
    loop_free(l);
}

static void test_all_addresses_of_a_name_with_one_port(void **state)
{
    (void)state;
    static const struct fake_name names[] = {
        {.name = "both.test", .addresses = "127.0.0.1 ::1 127.0.0.2"}, {0}};
    fake_resolver_set(names);
    if (!has_ipv6())
        skip();
    struct loop *l = loop_new();
    struct door d;
    door_open(&d, l, ADDRESS_TCP, "both.test", 0, &defaults);
    assert_int_equal(d.status, 0);
    uint16_t port = listener_port(d.x);
    char name[128];
    snprintf(name, sizeof(name), "127.0.0.1:%u [::1]:%u 127.0.0.2:%u", port, port, port);
    assert_string_equal(listener_name(d.x), name);
    int clients[] = {dial("127.0.0.1", port), dial("::1", port), dial("127.0.0.2", port)};
    KIT_WAIT(l, d.count == 3);
    for (size_t i = 0; i < array_count(clients); i++)
        close(clients[i]);
    door_close(&d);
    loop_free(l);
}

/* 203.0.113.1 is nobody's address (RFC 5737), as ::1 is on a machine without IPv6. */
static void test_address_that_the_machine_has_not_is_left_out(void **state)
{
    (void)state;
    static const struct fake_name names[] = {
        {.name = "some.test", .addresses = "203.0.113.1 127.0.0.1"},
        {.name = "none.test", .addresses = "203.0.113.1 203.0.113.2"},
        {0},
    };
    fake_resolver_set(names);
    struct loop *l = loop_new();
    struct door d;
    door_open(&d, l, ADDRESS_TCP, "some.test", 0, &defaults);
    assert_int_equal(d.status, 0);
    char name[64];
    snprintf(name, sizeof(name), "127.0.0.1:%u", listener_port(d.x));
    assert_string_equal(listener_name(d.x), name);
    door_close(&d);
    door_open(&d, l, ADDRESS_TCP, "none.test", 8080, &defaults);
    assert_int_equal(d.status, -EADDRNOTAVAIL);
    assert_string_equal(
        d.problem, "203.0.113.1:8080: no such address on this machine (choose one that it has)");
    door_open(&d, l, ADDRESS_TCP, "unknown.test", 8080, &defaults);
    assert_int_equal(d.status, -ENOENT);
    assert_string_equal(
        d.problem,
        "unknown.test:8080: no such host name (check its spelling, or give a numeric address)");
    loop_free(l);
}

static void test_68_port_in_use(void **state)
{
    (void)state;
    static const struct fake_name names[] = {
        {.name = "both.test", .addresses = "127.0.0.2 127.0.0.1"}, {0}};
    fake_resolver_set(names);
    struct loop *l = loop_new();
    uint16_t port = 0;
    int taken = kit_listen("127.0.0.1", &port, 5);
    struct door d;
    char expected[256];
    snprintf(expected, sizeof(expected),
             "127.0.0.1:%u: address already in use (another program listens there; choose another "
             "port or stop it)",
             port);
    door_open(&d, l, ADDRESS_TCP, "127.0.0.1", port, &defaults);
    assert_int_equal(d.status, -EADDRINUSE);
    assert_string_equal(d.problem, expected);
    /* one of several is enough to refuse, and the others are given back */
    door_open(&d, l, ADDRESS_TCP, "both.test", port, &defaults);
    assert_int_equal(d.status, -EADDRINUSE);
    assert_string_equal(d.problem, expected);
    door_open(&d, l, ADDRESS_TCP, "127.0.0.2", port, &defaults);
    assert_int_equal(d.status, 0);
    door_close(&d);
    close(taken);
    loop_free(l);
}

static int dial_unix(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void test_shared_port(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    struct listener_options shares = {.shares_port = true};
    struct door first, second, third;
    door_open(&first, l, ADDRESS_TCP, "127.0.0.1", 0, &shares);
    uint16_t port = listener_port(first.x);
    door_open_beside(&second, l, &first);
    assert_int_equal(second.status, 0);
    assert_int_equal(listener_port(second.x), port);
    /* nobody else, whatever he says of it */
    door_open(&third, l, ADDRESS_TCP, "127.0.0.1", port, &defaults);
    assert_int_equal(third.status, -EADDRINUSE);
    door_open(&third, l, ADDRESS_TCP, "127.0.0.1", port, &shares);
    assert_int_equal(third.status, -EADDRINUSE);
    int clients[40];
    for (size_t i = 0; i < array_count(clients); i++)
        clients[i] = dial("127.0.0.1", port);
    KIT_WAIT(l, first.count + second.count == array_count(clients));
    assert_true(first.count > 0 && second.count > 0); /* else by chance once in 10^12 times */
    for (size_t i = 0; i < array_count(clients); i++)
        close(clients[i]);
    door_close(&first);
    door_close(&second);
    loop_free(l);
}

static void test_shared_file(void **state)
{
    (void)state;
    struct loop *l = loop_new(), *other = loop_new();
    struct listener_options shares = {.shares_port = true};
    struct door first, second;
    char path[64];
    snprintf(path, sizeof(path), "/tmp/test_listener.%d", (int)getpid());
    door_open(&first, l, ADDRESS_UNIX, path, 0, &shares);
    assert_int_equal(first.status, 0);
    door_open_beside(&second, other, &first);
    assert_int_equal(second.status, 0);
    assert_string_equal(listener_name(second.x), listener_name(first.x));
    int a = dial_unix(path), b = dial_unix(path);
    listener_pause(first.x); /* the other one still accepts */
    KIT_WAIT(other, second.count == 2);
    assert_int_equal(second.kind, STREAM_UNIX);
    listener_close(second.x);
    assert_int_equal(access(path, F_OK), 0); /* the file is the first one's */
    close(a);
    close(b);
    for (unsigned i = 0; i < second.count; i++)
        close(second.fds[i]);
    door_close(&first);
    assert_int_equal(access(path, F_OK), -1);
    loop_free(l);
    loop_free(other);
}

static void test_pause_and_resume(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    struct door d;
    door_open(&d, l, ADDRESS_TCP, "127.0.0.1", 0, &defaults);
    listener_pause(d.x);
    listener_pause(d.x);
    int client = dial("127.0.0.1", listener_port(d.x)); /* the kernel lets it in */
    assert_true(client >= 0);
    kit_turn(l);
    assert_int_equal(d.count, 0);
    listener_resume(d.x);
    KIT_WAIT(l, d.count == 1);
    close(client);
    door_close(&d);
    loop_free(l);
}

static void pause_at_once(struct door *d)
{
    listener_pause(d->x);
}

static void close_at_once(struct door *d)
{
    listener_close(d->x);
    d->x = NULL;
}

static void test_owner_may_pause_or_close_in_on_accept(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct loop *l = loop_new();
        struct door d;
        door_open(&d, l, ADDRESS_TCP, "127.0.0.1", 0, &defaults);
        d.hook = i == 0 ? pause_at_once : close_at_once;
        uint16_t port = listener_port(d.x);
        int clients[] = {dial("127.0.0.1", port), dial("127.0.0.1", port)};
        KIT_WAIT(l, d.count == 1);
        kit_turn(l);
        assert_int_equal(d.count, 1);
        close(clients[0]);
        close(clients[1]);
        door_close(&d);
        loop_free(l);
    }
}

static void test_a_crowd(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    struct door d;
    door_open(&d, l, ADDRESS_TCP, "127.0.0.1", 0, &defaults);
    int clients[300];
    for (size_t i = 0; i < array_count(clients); i++)
        clients[i] = dial("127.0.0.1", listener_port(d.x));
    KIT_WAIT(l, d.count == array_count(clients));
    for (size_t i = 0; i < array_count(clients); i++)
        close(clients[i]);
    door_close(&d);
    loop_free(l);
}

static void test_loop_free_with_a_listener(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    struct door d;
    door_open(&d, l, ADDRESS_TCP, "127.0.0.1", 0, &defaults);
    uint16_t port = listener_port(d.x);
    loop_free(l);
    assert_int_equal(dial("127.0.0.1", port), -1);
    listener_close(NULL);
}

/* ---- Unix sockets ---- */

static char directory[] = "/tmp/tidegate-test-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[100];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return path;
}

static void test_unix_socket(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    const char *path = path_of("a.sock");
    mode_t before = umask(0027);
    struct door d, other;
    door_open(&d, l, ADDRESS_UNIX, path, 0, &defaults);
    umask(before);
    assert_int_equal(d.status, 0);
    char text[256];
    snprintf(text, sizeof(text), "unix:%s", path);
    assert_string_equal(listener_name(d.x), text);
    assert_int_equal(listener_port(d.x), 0);
    struct stat file;
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0750);
    int client = dial_unix(path);
    KIT_WAIT(l, d.count == 1);
    assert_int_equal(d.kind, STREAM_UNIX);
    assert_string_equal(d.peer, "unix");

    /* a live one is refused */
    door_open(&other, l, ADDRESS_UNIX, path, 0, &defaults);
    assert_int_equal(other.status, -EADDRINUSE);
    snprintf(
        text, sizeof(text),
        "unix:%s: already in use (another program listens there; choose another path or stop it)",
        path);
    assert_string_equal(other.problem, text);
    assert_int_equal(stat(path, &file), 0);

    close(client);
    door_close(&d);
    kit_turn(l);
    assert_int_equal(stat(path, &file), -1);
    loop_free(l);
}

static void test_68_stale_unix_socket_is_replaced(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    const char *path = path_of("stale.sock");
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    close(fd);
    struct door d;
    door_open(&d, l, ADDRESS_UNIX, path, 0, &defaults);
    assert_int_equal(d.status, 0);
    int client = dial_unix(path);
    KIT_WAIT(l, d.count == 1);
    close(client);
    door_close(&d);
    loop_free(l);
}

static void test_unix_files_of_others_are_left_alone(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    const char *path = path_of("file");
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, "mine", 4), 4);
    close(fd);
    struct door d;
    door_open(&d, l, ADDRESS_UNIX, path, 0, &defaults);
    assert_int_equal(d.status, -EEXIST);
    struct stat file;
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_size, 4);
    unlink(path);

    /* somebody has put another socket in the place of ours */
    door_open(&d, l, ADDRESS_UNIX, path, 0, &defaults);
    assert_int_equal(d.status, 0);
    unlink(path);
    struct door next;
    door_open(&next, l, ADDRESS_UNIX, path, 0, &defaults);
    assert_int_equal(next.status, 0);
    door_close(&d);
    assert_int_equal(stat(path, &file), 0);
    door_close(&next);
    assert_int_equal(stat(path, &file), -1);

    door_open(&d, l, ADDRESS_UNIX, path_of("no/such/directory"), 0, &defaults);
    assert_int_equal(d.status, -ENOENT);
    assert_non_null(strstr(d.problem, "no such directory"));
    char longer[ADDRESS_HOST_MAX + 1];
    memset(longer, 'x', 120);
    longer[120] = '\0';
    door_open(&d, l, ADDRESS_UNIX, longer, 0, &defaults);
    assert_int_equal(d.status, -ENAMETOOLONG);
    loop_free(l);
}

/* ---- Out of descriptors ---- */

static unsigned count_lines(int fd, const char *word)
{
    static char text[65536];
    ssize_t len = pread(fd, text, sizeof(text) - 1, 0);
    text[len > 0 ? len : 0] = '\0';
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
        n++;
    return n;
}

/* 0, or what went wrong. */
static int run_out(void)
{
    char name[] = "/tmp/tidegate-test-XXXXXX";
    int log = mkstemp(name);
    unlink(name);
    log_setup(LOG_WARN, LOG_TEXT, log);
    struct loop *l = loop_new();
    static struct door d;
    door_open(&d, l, ADDRESS_TCP, "127.0.0.1", 0, &defaults);
    enum { CLIENTS = 60 };
    int clients[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = dial("127.0.0.1", listener_port(d.x));
        if (clients[i] < 0)
            return 1;
    }
    /* room for 10 more */
    struct rlimit limit = {.rlim_cur = (rlim_t)clients[CLIENTS - 1] + 11, .rlim_max = 4096};
    setrlimit(RLIMIT_NOFILE, &limit);
    while (d.count < 10)
        kit_turn(l);
    uint64_t end_ms = kit_now_ms() + 1500;
    clock_t start = clock();
    while (kit_now_ms() < end_ms)
        kit_turn(l);
    if (d.count != 10)
        return 2;
    if (clock() - start > CLOCKS_PER_SEC / 10)
        return 3; /* it spins */
    unsigned lines = count_lines(log, "cannot accept");
    if (lines < 1 || lines > 3 || count_lines(log, "too many open files") != lines)
        return 4;
    /* one goes, one comes */
    close(d.fds[9]);
    while (d.count < 11)
        kit_turn(l);
    /* all the others, once there is room */
    limit.rlim_cur = 1000;
    setrlimit(RLIMIT_NOFILE, &limit);
    while (d.count < CLIENTS)
        kit_turn(l);
    listener_close(d.x);
    loop_free(l);
    return 0;
}

static void test_58_recovers_from_running_out_of_descriptors(void **state)
{
    (void)state;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        _exit(run_out());
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) == NULL;
}

static int remove_directory(void **state)
{
    (void)state;
    return rmdir(directory);
}

/* ---- What an accepted connection has from its listener ---- */

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof(value);
    assert_int_equal(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

static void check_options(int fd)
{
    struct linger linger;
    socklen_t size = sizeof(linger);
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &size), 0);
    assert_true(linger.l_onoff == 1 && linger.l_linger == 0);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 60);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 15);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_KEEPCNT), 4);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 60000);
}

static void test_accepted_connections_have_the_options_of_streams(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    struct door d, beside;
    struct listener_options sharing = {.shares_port = true};
    char byte;

    door_open(&d, l, ADDRESS_TCP, "127.0.0.1", 0, &sharing);
    assert_int_equal(d.status, 0);
    door_open_beside(&beside, l, &d);
    int client = -1;
    while (d.count == 0 || beside.count == 0) { /* the kernel throws dice */
        unsigned before = d.count + beside.count;
        if (client >= 0)
            close(client);
        client = dial("127.0.0.1", listener_port(d.x));
        KIT_WAIT(l, d.count + beside.count > before);
    }
    check_options(d.fds[d.count - 1]);
    check_options(beside.fds[beside.count - 1]);
    assert_int_equal(beside.kind, STREAM_ACCEPTED);

    /* as a stream it resets, too, if nobody has said otherwise */
    close(client);
    unsigned before = d.count;
    listener_close(beside.x);
    client = dial("127.0.0.1", listener_port(d.x));
    KIT_WAIT(l, d.count > before);
    struct duplex *stream = stream_open(l, d.fds[d.count - 1], d.kind, &kit_options);
    d.count--;
    duplex_abort(stream, (struct cause){.what = CAUSE_CLOSED});
    kit_run_dry(l, 1000);
    assert_int_equal(recv(client, &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
    close(client);
    door_close(&d);
    for (unsigned i = 0; i < beside.count; i++)
        close(beside.fds[i]);
    loop_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_58_recovers_from_running_out_of_descriptors), /* first: forks */
        cmocka_unit_test(test_accepts),
        cmocka_unit_test(test_peer_that_has_reset_already_is_named),
        cmocka_unit_test(test_all_addresses_of_a_name_with_one_port),
        cmocka_unit_test(test_address_that_the_machine_has_not_is_left_out),
        cmocka_unit_test(test_68_port_in_use),
        cmocka_unit_test(test_shared_port),
        cmocka_unit_test(test_shared_file),
        cmocka_unit_test(test_pause_and_resume),
        cmocka_unit_test(test_owner_may_pause_or_close_in_on_accept),
        cmocka_unit_test(test_a_crowd),
        cmocka_unit_test(test_loop_free_with_a_listener),
        cmocka_unit_test(test_unix_socket),
        cmocka_unit_test(test_68_stale_unix_socket_is_replaced),
        cmocka_unit_test(test_unix_files_of_others_are_left_alone),
        cmocka_unit_test(test_accepted_connections_have_the_options_of_streams),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
