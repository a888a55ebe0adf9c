/* io/stdio_duplex.h, on every kind of descriptor that a shell may hand us */
#include "stdio_duplex.h"

#include "io_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#define SIZE (3 * MIB + 7)

static const struct stream_options impatient = {.linger_ms = 150};

/* ---- the other ends of our descriptors, in threads ---- */

/* Writes the pattern, and closes. */
struct feeder {
    int fd;
    size_t size;
    pthread_t thread;
};

static void *feed(void *arg)
{
    struct feeder *f = arg;
    uint8_t *data = malloc(f->size);
    size_t done = 0;

    kit_pattern(data, f->size, 0);
    while (done < f->size) {
        ssize_t n = write(f->fd, data + done, f->size - done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    free(data);
    close(f->fd);
    return NULL;
}

/* Reads to the end, and closes. */
struct eater {
    int fd;
    uint64_t got;
    bool is_wrong;
    int error; /* errno, or 0 for an end */
    pthread_t thread;
};

static void *eat(void *arg)
{
    struct eater *e = arg;
    uint8_t *data = malloc(MIB);
    ssize_t n;

    while ((n = read(e->fd, data, MIB)) > 0) {
        if (!kit_is_pattern(data, (size_t)n, e->got))
            e->is_wrong = true;
        e->got += (uint64_t)n;
    }
    e->error = n < 0 ? errno : 0;
    free(data);
    close(e->fd);
    return NULL;
}

static void feeder_start(struct feeder *f)
{
    assert_int_equal(pthread_create(&f->thread, NULL, feed, f), 0);
}

static void eater_start(struct eater *e)
{
    assert_int_equal(pthread_create(&e->thread, NULL, eat, e), 0);
}

static void eater_check(struct eater *e, uint64_t size)
{
    pthread_join(e->thread, NULL);
    assert_int_equal(e->error, 0);
    assert_false(e->is_wrong);
    assert_int_equal(e->got, size);
}

/* ---- our side ---- */

struct rig {
    struct loop *l;
    struct app app;
};

static void rig_open(struct rig *r, int in, int out, const struct stream_options *options)
{
    struct duplex *d;

    *r = (struct rig){.l = loop_new()};
    assert_non_null(r->l);
    assert_int_equal(stdio_duplex_open(r->l, in, out, options, &d), 0);
    app_adopt(&r->app, r->l, d);
    app_resume(&r->app);
}

static void rig_end(struct rig *r)
{
    loop_run(r->l); /* to nothing left open */
    loop_free(r->l);
}

/* Sends SIZE bytes of the pattern and ends; waits until both directions are complete. */
static void exchange(struct rig *r, uint64_t to_get)
{
    r->app.to_write = SIZE;
    r->app.finishes_at_end = true;
    app_pump(&r->app);
    KIT_WAIT(r->l, (r->app.ends > 0 && r->app.finishes > 0) || r->app.aborts > 0);
    assert_int_equal(r->app.aborts, 0);
    assert_int_equal(r->app.got, to_get);
    assert_false(r->app.is_wrong);
    app_close(&r->app);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static bool is_non_blocking(int fd)
{
    return (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
}

static void check_aborted(struct rig *r, int native)
{
    KIT_WAIT(r->l, r->app.aborts > 0);
    assert_int_equal(r->app.cause.native, native);
    assert_int_equal(r->app.ends, 0);
}

/* ---- each kind ---- */

static void test_pipes(void **state)
{
    (void)state;
    struct rig r;
    int in[2], out[2];

    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    struct feeder feeder = {.fd = in[1], .size = SIZE};
    struct eater eater = {.fd = out[0]};
    feeder_start(&feeder);
    eater_start(&eater);
    rig_open(&r, in[0], out[1], &kit_options);
    exchange(&r, SIZE);
    eater_check(&eater, SIZE);
    pthread_join(feeder.thread, NULL);
    rig_end(&r);
    assert_false(is_open(in[0]) || is_open(out[1]));
}

static void test_the_end_of_output_leaves_input_open(void **state)
{
    (void)state;
    struct rig r;
    int in[2], out[2];
    char byte;

    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    rig_open(&r, in[0], out[1], &kit_options);
    app_finish(&r.app);
    KIT_WAIT(r.l, r.app.finishes > 0);
    assert_int_equal(read(out[0], &byte, 1), 0); /* the reader has its end */
    assert_int_equal(r.app.ends, 0);
    struct feeder feeder = {.fd = in[1], .size = 100000};
    feeder_start(&feeder);
    KIT_WAIT(r.l, r.app.ends > 0);
    assert_int_equal(r.app.got, 100000);
    pthread_join(feeder.thread, NULL);
    app_close(&r.app);
    close(out[0]);
    rig_end(&r);
}

static int temporary_file(void)
{
    char path[] = "/tmp/tidegate-stdio-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    unlink(path);
    return fd;
}

static void test_files(void **state)
{
    (void)state;
    struct rig r;
    int in = temporary_file(), out = temporary_file(), in_again, out_again;
    struct feeder feeder = {.fd = dup(in), .size = SIZE};

    feed(&feeder);
    lseek(in, 0, SEEK_SET);
    assert_int_equal(write(out, "before", 6), 6);
    in_again = dup(in);
    out_again = dup(out);
    rig_open(&r, in, out, &kit_options);
    exchange(&r, SIZE);
    rig_end(&r);
    assert_false(is_open(in) || is_open(out));
    assert_false(is_non_blocking(in_again) || is_non_blocking(out_again));
    assert_int_equal(lseek(out_again, 0, SEEK_CUR), SIZE + 6); /* behind what was there */
    lseek(out_again, 6, SEEK_SET);
    struct eater eater = {.fd = out_again};
    eat(&eater);
    assert_int_equal(eater.got, SIZE);
    assert_false(eater.is_wrong);
    close(in_again);
}

static void test_null(void **state)
{
    (void)state;
    struct rig r;

    rig_open(&r, open("/dev/null", O_RDONLY), open("/dev/null", O_WRONLY), &kit_options);
    exchange(&r, 0);
    rig_end(&r);
}

static void test_two_sockets(void **state)
{
    (void)state;
    struct rig r;
    int in[2], out[2], in_again;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, in), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, out), 0);
    in_again = dup(in[0]);
    struct feeder feeder = {.fd = in[1], .size = SIZE};
    struct eater eater = {.fd = out[0]};
    feeder_start(&feeder);
    eater_start(&eater);
    rig_open(&r, in[0], out[1], &kit_options);
    assert_true(is_non_blocking(in_again));
    exchange(&r, SIZE);
    eater_check(&eater, SIZE);
    pthread_join(feeder.thread, NULL);
    rig_end(&r);
    assert_false(is_non_blocking(in_again));
    close(in_again);
}

/* As inetd hands it over, and ssh. */
static void check_one_socket(bool is_tcp, bool is_one_number)
{
    struct rig r;
    int fds[2], again, out;

    if (is_tcp)
        kit_tcp_pair(fds);
    else
        kit_unix_pair(fds);
    fcntl(fds[0], F_SETFL, 0);
    out = is_one_number ? fds[0] : dup(fds[0]);
    again = dup(fds[0]);
    struct peer peer = {.fd = fds[1], .to_send = SIZE, .ends_after_send = true, .reads = true};
    peer_start(&peer);
    rig_open(&r, fds[0], out, &kit_options);
    exchange(&r, SIZE);
    peer_join(&peer);
    assert_int_equal(peer.got, SIZE);
    assert_int_equal(peer.read_error, 0);
    assert_false(peer.is_wrong);
    rig_end(&r);
    assert_false(is_non_blocking(again));
    close(again);
    close(fds[1]);
}

static void test_one_socket(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        check_one_socket(i & 1, i & 2);
}

static void test_a_reset_of_one_socket(void **state)
{
    (void)state;
    struct rig r;
    int fds[2];
    char byte;

    kit_tcp_pair(fds);
    rig_open(&r, fds[0], fds[0], &kit_options);
    app_abort(&r.app);
    rig_end(&r);
    assert_int_equal(recv(fds[1], &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
    close(fds[1]);
}

static void test_terminal(void **state)
{
    (void)state;
    struct rig r;
    int master, slave, out, again;
    char shown[64] = "";
    size_t len = 0;
    struct termios raw_output;

    assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
    assert_int_equal(tcgetattr(slave, &raw_output), 0);
    raw_output.c_oflag &= ~(tcflag_t)OPOST;
    raw_output.c_lflag &= ~(tcflag_t)ECHO;
    assert_int_equal(tcsetattr(slave, TCSANOW, &raw_output), 0);
    out = dup(slave);
    again = dup(slave);
    rig_open(&r, slave, out, &kit_options);
    assert_int_equal(write(master, "line\n\x04", 6), 6);
    KIT_WAIT(r.l, r.app.ends > 0);
    assert_int_equal(r.app.got, 5);
    app_write(&r.app, "shown\n", 6);
    app_finish(&r.app);
    KIT_WAIT(r.l, r.app.finishes > 0);
    assert_true(is_open(out)); /* somebody else's terminal */
    while (len < 6) {
        ssize_t n = read(master, shown + len, sizeof(shown) - 1 - len);
        assert_true(n > 0);
        len += (size_t)n;
    }
    assert_string_equal(shown, "shown\n");
    app_close(&r.app);
    rig_end(&r);
    assert_false(is_non_blocking(again));
    close(again);
    close(master);
}

static void test_a_terminal_hangs_up(void **state)
{
    (void)state;
    struct rig r;
    int master, slave;

    assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
    rig_open(&r, slave, open("/dev/null", O_WRONLY), &kit_options);
    close(master);
    check_aborted(&r, -EIO);
    rig_end(&r);
}

/* ---- failures ---- */

static void test_nobody_reads_output(void **state)
{
    (void)state;
    struct rig r;
    int in[2], out[2];

    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    rig_open(&r, in[0], out[1], &kit_options);
    close(out[0]);
    app_write(&r.app, "x", 1);
    check_aborted(&r, -EPIPE);
    rig_end(&r);
    assert_false(is_open(in[0]) || is_open(out[1]));
    close(in[1]);
}

static void test_the_reader_leaves_a_full_pipe(void **state)
{
    (void)state;
    struct rig r;
    int in[2], out[2];

    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    rig_open(&r, in[0], out[1], &kit_options);
    assert_true(app_write_pattern(&r.app, 300000));
    kit_turn(r.l);
    assert_int_equal(r.app.aborts, 0);
    close(out[0]);
    check_aborted(&r, -EPIPE);
    rig_end(&r);
    close(in[1]);
}

static void test_a_full_disk(void **state)
{
    (void)state;
    struct rig r;
    int in[2];

    assert_int_equal(pipe(in), 0);
    rig_open(&r, in[0], open("/dev/full", O_WRONLY), &kit_options);
    app_write(&r.app, "x", 1);
    check_aborted(&r, -ENOSPC);
    rig_end(&r);
    close(in[1]);
}

static void test_input_that_cannot_be_read(void **state)
{
    (void)state;
    struct rig r;

    rig_open(&r, open("/", O_RDONLY), open("/dev/null", O_WRONLY), &kit_options);
    check_aborted(&r, -EISDIR);
    rig_end(&r);
}

static void test_not_open(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    struct duplex *d;

    assert_int_equal(stdio_duplex_open(l, 999, 1, &kit_options, &d), -EBADF);
    assert_int_equal(stdio_duplex_open(l, 0, 999, &kit_options, &d), -EBADF);
    loop_free(l);
}

/* ---- back-pressure ---- */

static void test_a_stalled_reader(void **state)
{
    (void)state;
    struct rig r;
    int in[2], out[2];

    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    rig_open(&r, in[0], out[1], &kit_options);
    assert_true(app_write_pattern(&r.app, 500000));
    uint64_t pending = duplex_pending(r.app.d);
    assert_int_equal(pending, 500000);
    /* Time goes on meanwhile: nothing here blocks. */
    uint64_t start_ms = kit_now_ms();
    kit_turn(r.l);
    kit_turn(r.l);
    assert_true(kit_now_ms() - start_ms < 1000);
    assert_int_equal(r.app.drains, 0);
    struct eater eater = {.fd = out[0]};
    eater_start(&eater);
    KIT_WAIT(r.l, r.app.drains > 0);
    app_finish(&r.app);
    KIT_WAIT(r.l, r.app.finishes > 0);
    eater_check(&eater, 500000);
    close(in[1]);
    KIT_WAIT(r.l, r.app.ends > 0);
    app_close(&r.app);
    rig_end(&r);
}

static void check_pause(int in)
{
    struct rig r;

    rig_open(&r, in, open("/dev/null", O_WRONLY), &kit_options);
    app_pause(&r.app);
    for (int i = 0; i < 3; i++)
        kit_turn(r.l);
    uint64_t got = r.app.got; /* a thread may have been reading */
    assert_true(got <= 65536);
    assert_int_equal(r.app.ends, 0);
    app_resume(&r.app);
    KIT_WAIT(r.l, r.app.ends > 0);
    assert_int_equal(r.app.got, SIZE);
    assert_false(r.app.is_wrong);
    app_abort(&r.app);
    rig_end(&r);
}

static void test_pause(void **state)
{
    (void)state;
    int in[2], file = temporary_file();
    struct feeder into_file = {.fd = dup(file), .size = SIZE};

    assert_int_equal(pipe(in), 0);
    struct feeder feeder = {.fd = in[1], .size = SIZE};
    feeder_start(&feeder);
    check_pause(in[0]);
    pthread_join(feeder.thread, NULL);
    feed(&into_file);
    lseek(file, 0, SEEK_SET);
    check_pause(file);
}

/* ---- abort ---- */

static void test_abort_delivers_first(void **state)
{
    (void)state;
    struct rig r;
    int in[2], out[2], file = temporary_file(), file_again = dup(file);

    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    rig_open(&r, in[0], out[1], &kit_options);
    app_write_pattern(&r.app, 500000);
    app_abort(&r.app);
    struct eater eater = {.fd = out[0]};
    eater_start(&eater);
    rig_end(&r);
    eater_check(&eater, 500000);
    close(in[1]);

    rig_open(&r, open("/dev/null", O_RDONLY), file, &kit_options);
    app_write_pattern(&r.app, 500000);
    app_abort(&r.app);
    rig_end(&r);
    assert_int_equal(lseek(file_again, 0, SEEK_CUR), 500000);
    close(file_again);
}

static void test_abort_does_not_wait_for_ever(void **state)
{
    (void)state;
    struct rig r;
    int in[2], out[2];
    uint64_t start_ms = kit_now_ms();

    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    rig_open(&r, in[0], out[1], &impatient);
    app_write_pattern(&r.app, 500000);
    app_abort(&r.app);
    rig_end(&r);
    assert_true(kit_now_ms() - start_ms >= 140);
    assert_false(is_open(in[0]) || is_open(out[1]));
    close(in[1]);
    close(out[0]);
}

static void test_abort_resets_a_socket(void **state)
{
    (void)state;
    struct rig r;
    int in[2], out[2];
    char byte;

    assert_int_equal(pipe(in), 0);
    kit_tcp_pair(out);
    rig_open(&r, in[0], out[0], &kit_options);
    app_abort(&r.app);
    rig_end(&r);
    assert_int_equal(recv(out[1], &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
    close(out[1]);
    close(in[1]);
}

static void test_the_loop_ends_first(void **state)
{
    (void)state;
    struct rig r;
    int in[2], out[2], again;

    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    again = dup(in[0]);
    rig_open(&r, in[0], out[1], &kit_options);
    app_write_pattern(&r.app, 500000);
    loop_free(r.l);
    assert_false(is_open(in[0]) || is_open(out[1]));
    assert_false(is_non_blocking(again));
    close(again);
    close(in[1]);
    close(out[0]);

    int file = temporary_file();
    rig_open(&r, open("/dev/zero", O_RDONLY), file, &kit_options);
    app_write_pattern(&r.app, 500000);
    loop_free(r.l);
    assert_false(is_open(file));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pipes),
        cmocka_unit_test(test_the_end_of_output_leaves_input_open),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_null),
        cmocka_unit_test(test_two_sockets),
        cmocka_unit_test(test_one_socket),
        cmocka_unit_test(test_a_reset_of_one_socket),
        cmocka_unit_test(test_terminal),
        cmocka_unit_test(test_a_terminal_hangs_up),
        cmocka_unit_test(test_nobody_reads_output),
        cmocka_unit_test(test_the_reader_leaves_a_full_pipe),
        cmocka_unit_test(test_a_full_disk),
        cmocka_unit_test(test_input_that_cannot_be_read),
        cmocka_unit_test(test_not_open),
        cmocka_unit_test(test_a_stalled_reader),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_abort_delivers_first),
        cmocka_unit_test(test_abort_does_not_wait_for_ever),
        cmocka_unit_test(test_abort_resets_a_socket),
        cmocka_unit_test(test_the_loop_ends_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
