#include "inherited.h"

#include "address.h"
#include "log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST_FD   3             /* SD_LISTEN_FDS_START */
#define NUMBER_MAX (INT_MAX / 2) /* of descriptors; of processes */

struct inherited {
    int fd; /* -1: taken, or closed */
    bool is_local;
    char name[ADDRESS_HOST_MAX + 1];
};

static struct {
    struct inherited items[INHERITED_MAX];
    unsigned count;
} table;

/* ---- reading ---- */

static bool is_loopback(int fd)
{
    union {
        struct sockaddr_storage any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } at = {0};
    socklen_t len = sizeof(at);

    if (getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        return false;
    if (at.any.ss_family == AF_INET)
        return ntohl(at.v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    if (at.any.ss_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&at.v6.sin6_addr);
    return at.any.ss_family == AF_UNIX;
}

static uint64_t number_of(const char *variable)
{
    const char *text = getenv(variable);
    uint64_t number = 0;

    if (text == NULL || !text_parse_number(text, strlen(text), NUMBER_MAX, &number))
        return 0;
    return number;
}

/* `*names` is what is left of LISTEN_FDNAMES; NULL: nothing. */
static void read_name(const char **names, char out[ADDRESS_HOST_MAX + 1])
{
    struct text t;
    size_t len;

    text_init(&t, out, ADDRESS_HOST_MAX + 1);
    if (*names == NULL) {
        text_add(&t, "unknown"); /* as systemd itself says */
        return;
    }
    len = strcspn(*names, ":");
    text_addf(&t, "%.*s", (int)(len < ADDRESS_HOST_MAX ? len : ADDRESS_HOST_MAX), *names);
    *names = (*names)[len] == ':' ? *names + len + 1 : NULL;
}

static void warn(const char *what, int fd, const char *name)
{
    struct log_record r;

    log_begin(&r, LOG_WARN, what);
    log_int(&r, "fd", fd);
    log_str(&r, "name", name);
    log_end(&r);
}

static void read_table(uint64_t count, const char *names)
{
    for (uint64_t i = 0; i < count; i++) {
        int fd = FIRST_FD + (int)i;
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
            return; /* there are not so many */
        if (table.count == INHERITED_MAX) {
            close(fd);
            warn("too many inherited sockets: closed", fd, NULL);
            continue;
        }
        struct inherited *item = &table.items[table.count++];
        item->fd = fd;
        item->is_local = is_loopback(fd);
        read_name(&names, item->name);
    }
}

void inherited_read(void)
{
    table.count = 0;
    if (number_of("LISTEN_PID") == (uint64_t)getpid())
        read_table(number_of("LISTEN_FDS"), getenv("LISTEN_FDNAMES"));
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_PIDFDID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

/* ---- taking ---- */

static int option_of(int fd, int option)
{
    int value = -1;
    socklen_t len = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 ? value : -1;
}

static bool is_listener(int fd)
{
    int domain = option_of(fd, SO_DOMAIN);

    return (domain == AF_INET || domain == AF_INET6 || domain == AF_UNIX) &&
           option_of(fd, SO_TYPE) == SOCK_STREAM && option_of(fd, SO_ACCEPTCONN) == 1;
}

/* Each name once, in order. */
static void list_names(struct text *out)
{
    for (unsigned i = 0; i < table.count; i++) {
        unsigned first = 0;
        while (strcmp(table.items[first].name, table.items[i].name) != 0)
            first++;
        if (first == i)
            text_addf(out, "%s%.60s", i > 0 ? ", " : "", table.items[i].name);
    }
}

static int refuse(const char *name, int status, const char *why, struct text *problem)
{
    text_addf(problem, "systemd:%.100s: %s", name, why);
    return status;
}

static int tell_missing(const char *name, struct text *problem)
{
    if (table.count == 0)
        return refuse(name, -ENOENT,
                      "no socket was handed over (a .socket unit of systemd's is to start this)",
                      problem);
    refuse(name, -ENOENT, "no socket of that name was handed over (there are: ", problem);
    list_names(problem);
    text_add(problem, "; FileDescriptorName= names them)");
    return -ENOENT;
}

static int check(const struct inherited *item, bool has_room, struct text *problem)
{
    if (item->fd < 0)
        return refuse(item->name, -EALREADY, "is listened on already (name it once)", problem);
    if (!has_room)
        return refuse(item->name, -E2BIG, "too many sockets of one name", problem);
    if (!is_listener(item->fd))
        return refuse(item->name, -ENOTSOCK,
                      "not a listening TCP or unix stream socket (give it ListenStream= and "
                      "Accept=no)",
                      problem);
    if (fcntl(item->fd, F_SETFL, O_NONBLOCK) != 0) {
        int status = -errno;
        return refuse(item->name, status, strerror(-status), problem);
    }
    return 0;
}

int inherited_take(const char *name, int fds[], unsigned max, struct text *problem)
{
    unsigned count = 0;

    for (unsigned i = 0; i < table.count; i++) {
        const struct inherited *item = &table.items[i];
        if (strcmp(item->name, name) != 0)
            continue;
        int status = check(item, count < max, problem);
        if (status != 0)
            return status;
        fds[count++] = item->fd;
    }
    if (count == 0)
        return tell_missing(name, problem);
    for (unsigned i = 0; i < table.count; i++)
        if (strcmp(table.items[i].name, name) == 0)
            table.items[i].fd = -1;
    return (int)count;
}

bool inherited_is_local(const char *name)
{
    for (unsigned i = 0; i < table.count; i++)
        if (strcmp(table.items[i].name, name) == 0 && !table.items[i].is_local)
            return false;
    return true;
}

void inherited_close_rest(void)
{
    for (unsigned i = 0; i < table.count; i++) {
        struct inherited *item = &table.items[i];
        if (item->fd < 0)
            continue;
        warn("inherited socket is not listened on: closed", item->fd, item->name);
        close(item->fd);
        item->fd = -1;
    }
}
