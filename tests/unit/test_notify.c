/* What a service manager is told: here it is a socket of the test's own. */
#include "notify.h"

#include "log.h"
#include "span.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static int manager = -1;
static char path[64]; /* of it; '@' for the first NUL of the abstract kind */
static char got[2048];

static void open_manager(bool is_abstract)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(path, sizeof(path), "%stidegate-notify-%d", is_abstract ? "@" : "/tmp/", getpid());
    size_t len = strlen(path);
    memcpy(at.sun_path, path, len + 1);
    if (is_abstract)
        at.sun_path[0] = '\0';
    else
        unlink(path);
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(
        bind(manager, (struct sockaddr *)&at,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (is_abstract ? 0 : 1))),
        0);
    setenv("NOTIFY_SOCKET", path, 1);
}

static int teardown(void **state)
{
    (void)state;
    notify_close();
    if (manager >= 0)
        close(manager);
    manager = -1;
    if (path[0] == '/')
        unlink(path);
    path[0] = '\0';
    return 0;
}

/* NULL: nothing has come. */
static const char *received(void)
{
    ssize_t n = recv(manager, got, sizeof(got) - 1, 0);
    if (n < 0)
        return NULL;
    got[n] = '\0';
    return got;
}

static void test_tells(void **state)
{
    for (int is_abstract = 0; is_abstract <= 1; is_abstract++) {
        open_manager(is_abstract == 1);
        notify_open();
        assert_null(getenv("NOTIFY_SOCKET"));
        assert_true(notify_is_open());
        notify_send("READY=1\nSTATUS=%d things", 3);
        assert_string_equal(received(), "READY=1\nSTATUS=3 things");
        assert_null(received());
        notify_reloading();
        uint64_t usec = 0;
        assert_int_equal(sscanf(received(), "RELOADING=1\nMONOTONIC_USEC=%" SCNu64, &usec), 1);
        assert_true(usec > 0);
        notify_reloaded();
        assert_string_equal(received(), "READY=1");
        teardown(state);
    }
}

static void test_without_a_manager_nothing(void **state)
{
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    setenv("WATCHDOG_USEC", "1000000", 1);
    notify_open();
    assert_false(notify_is_open());
    assert_int_equal(notify_watchdog_ms(), 0);
    assert_null(getenv("WATCHDOG_USEC"));
    notify_send("READY=1");
    notify_reloading();
}

static void test_watchdog(void **state)
{
    char us[24];
    snprintf(us, sizeof(us), "%d", getpid());
    const struct {
        const char *usec, *pid;
        uint64_t ms;
    } cases[] = {
        {"30000000", us, 30000},
        {"30000000", NULL, 30000},
        {"30000000", "1", 0},
        {"30000000", "", 0},
        {NULL, us, 0},
        {"", us, 0},
        {"-1", us, 0},
        {"x", us, 0},
        {"18446744073709551616", us, 0},
        {"1500", NULL, 1},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        open_manager(true);
        if (cases[i].usec != NULL)
            setenv("WATCHDOG_USEC", cases[i].usec, 1);
        if (cases[i].pid != NULL)
            setenv("WATCHDOG_PID", cases[i].pid, 1);
        notify_open();
        assert_int_equal(notify_watchdog_ms(), cases[i].ms);
        assert_null(getenv("WATCHDOG_USEC"));
        assert_null(getenv("WATCHDOG_PID"));
        teardown(state);
    }
}

static void test_addresses_that_are_none(void **state)
{
    (void)state;
    char longest[200];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[0] = '/';
    longest[sizeof(longest) - 1] = '\0';
    const char *const cases[] = {"", "@", "/", "relative", "vsock:2:1234", longest};
    for (size_t i = 0; i < array_count(cases); i++) {
        setenv("NOTIFY_SOCKET", cases[i], 1);
        notify_open();
        assert_false(notify_is_open());
        assert_null(getenv("NOTIFY_SOCKET"));
        notify_send("READY=1");
    }
}

/* Nobody waits for a manager that does not read, or is gone; one record says so. */
static void test_never_waits(void **state)
{
    (void)state;
    int fds[2];
    char line[512];
    assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
    log_setup(LOG_WARN, LOG_TEXT, fds[1]);
    open_manager(true);
    notify_open();
    for (int i = 0; i < 10000; i++)
        notify_send("WATCHDOG=1");
    ssize_t n = read(fds[0], line, sizeof(line) - 1);
    assert_true(n > 0);
    line[n] = '\0';
    assert_non_null(strstr(line, "msg=\"the service manager cannot be told\""));
    assert_ptr_equal(strchr(line, '\n'), line + n - 1);
    close(manager);
    manager = -1;
    notify_send("STOPPING=1");
    assert_int_equal(read(fds[0], line, sizeof(line)), -1);
    assert_int_equal(errno, EAGAIN);
    close(fds[0]);
    close(fds[1]);
    log_setup(LOG_ERROR, LOG_TEXT, STDERR_FILENO);
}

static void test_too_long_is_not_sent(void **state)
{
    (void)state;
    char text[2000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    open_manager(true);
    notify_open();
    notify_send("STATUS=%s", text);
    assert_null(received());
    notify_send("STATUS=%.1016s", text);
    assert_int_equal(strlen(received()), 1023);
}

#define notify_test(name) cmocka_unit_test_teardown(name, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        notify_test(test_tells),       notify_test(test_without_a_manager_nothing),
        notify_test(test_watchdog),    notify_test(test_addresses_that_are_none),
        notify_test(test_never_waits), notify_test(test_too_long_is_not_sent),
    };
    log_setup(LOG_ERROR, LOG_TEXT, STDERR_FILENO);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
