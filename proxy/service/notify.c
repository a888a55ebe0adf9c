#include "notify.h"

#include "log.h"
#include "text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_MAX 1024
#define USEC_MAX    (UINT64_C(1) << 50) /* a number that people mean, and that does not overflow */

static struct {
    int fd; /* meaningless unless is_open */
    bool is_open, has_failed;
    uint64_t watchdog_ms;
    struct sockaddr_un address;
    socklen_t address_len;
} manager;

/* ---- the environment ---- */

/* A path, or "@name" in the abstract space. */
static bool parse_address(const char *text)
{
    size_t len = strlen(text);

    if ((text[0] != '/' && text[0] != '@') || len < 2 || len >= sizeof(manager.address.sun_path))
        return false;
    manager.address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(manager.address.sun_path, text, len);
    if (text[0] == '@')
        manager.address.sun_path[0] = '\0';
    else
        len++; /* and the terminator */
    manager.address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    return true;
}

static uint64_t number_of(const char *variable)
{
    const char *text = getenv(variable);
    uint64_t number = 0;

    if (text == NULL || !text_parse_number(text, strlen(text), USEC_MAX, &number))
        return 0;
    return number;
}

/* WATCHDOG_PID says who is meant, if it is there. */
static uint64_t watchdog_ms(void)
{
    bool is_meant =
        getenv("WATCHDOG_PID") == NULL || number_of("WATCHDOG_PID") == (uint64_t)getpid();

    return is_meant ? number_of("WATCHDOG_USEC") / 1000 : 0;
}

static void fail(const char *why)
{
    struct log_record r;

    if (manager.has_failed)
        return;
    manager.has_failed = true;
    log_begin(&r, LOG_WARN, "the service manager cannot be told");
    log_str(&r, "error", why);
    log_end(&r);
}

static void open_socket(const char *address)
{
    if (!parse_address(address)) {
        fail("NOTIFY_SOCKET is neither a path nor @name");
        return;
    }
    manager.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    manager.is_open = manager.fd >= 0;
    if (!manager.is_open)
        fail(strerror(errno));
}

void notify_open(void)
{
    const char *address = getenv("NOTIFY_SOCKET");

    notify_close();
    manager.has_failed = false;
    if (address != NULL && address[0] != '\0')
        open_socket(address);
    manager.watchdog_ms = manager.is_open ? watchdog_ms() : 0;
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void notify_close(void)
{
    if (manager.is_open)
        close(manager.fd);
    manager.is_open = false;
    manager.watchdog_ms = 0;
}

bool notify_is_open(void)
{
    return manager.is_open;
}

uint64_t notify_watchdog_ms(void)
{
    return manager.watchdog_ms;
}

/* ---- telling ---- */

void notify_send(const char *format, ...)
{
    char message[MESSAGE_MAX];
    va_list args;
    ssize_t n;

    if (!manager.is_open)
        return;
    va_start(args, format);
    int len = vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof(message))
        return;
    do
        n = sendto(manager.fd, message, (size_t)len, MSG_NOSIGNAL,
                   (const struct sockaddr *)&manager.address, manager.address_len);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        fail(strerror(errno));
}

void notify_reloading(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    notify_send("RELOADING=1\nMONOTONIC_USEC=%" PRId64,
                (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

void notify_reloaded(void)
{
    notify_send("READY=1");
}
