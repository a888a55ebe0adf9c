#include "listener_socket.h"

#include "stream_socket.h"

#include "resolve.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

void listener_socket_set_port(struct sockaddr_storage *address, uint16_t port)
{
    if (address->ss_family == AF_INET)
        ((struct sockaddr_in *)address)->sin_port = htons(port);
    else
        ((struct sockaddr_in6 *)address)->sin6_port = htons(port);
}

static uint16_t bound_port(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {0};
    socklen_t len = sizeof(address);
    if (getsockname(fd, &address.any, &len) != 0)
        return 0;
    return ntohs(address.any.sa_family == AF_INET ? address.v4.sin_port : address.v6.sin6_port);
}

static int set_option(int fd, int level, int option)
{
    int on = 1;
    return setsockopt(fd, level, option, &on, sizeof(on));
}

static int start_listening(int fd, int backlog)
{
    return listen(fd, backlog > 0 ? backlog : SOMAXCONN);
}

/* A socket of that address that is not bound yet, or a negative errno. */
static int make_tcp(const struct sockaddr_storage *address)
{
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    stream_socket_tune_local(fd, address);
    /* What is accepted has these from here (Linux). */
    stream_socket_tune(fd);
    stream_socket_set_timeouts(fd, STREAM_SOCKET_USER_TIMEOUT_MS);
    if (set_option(fd, SOL_SOCKET, SO_REUSEADDR) != 0 ||
        (address->ss_family == AF_INET6 && set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY) != 0)) {
        int status = -errno;
        close(fd);
        return status;
    }
    return fd;
}

int listener_socket_tcp(struct sockaddr_storage *address, socklen_t len, uint16_t *port,
                        const struct listener_options *options)
{
    int fd = make_tcp(address);
    if (fd < 0)
        return fd;
    listener_socket_set_port(address, *port);
    /* SO_REUSEPORT behind the bind: before it, another program of the same user that has said the
     * same would share its connections with us, in place of an error (Linux compares the flags when
     * the second socket is bound). */
    if (bind(fd, (const struct sockaddr *)address, len) != 0 ||
        (options->shares_port && set_option(fd, SOL_SOCKET, SO_REUSEPORT) != 0) ||
        start_listening(fd, options->backlog) != 0) {
        int status = -errno;
        close(fd);
        return status;
    }
    if (*port == 0)
        *port = bound_port(fd);
    return fd;
}

int listener_socket_beside(int fd, int backlog)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        return -errno;
    int other = make_tcp(&address);
    if (other < 0)
        return other;
    if (set_option(other, SOL_SOCKET, SO_REUSEPORT) != 0 ||
        bind(other, (const struct sockaddr *)&address, len) != 0 ||
        start_listening(other, backlog) != 0) {
        int status = -errno;
        close(other);
        return status;
    }
    return other;
}

/* 0 if the file at the address was stale and has been removed, or a negative errno. */
static int remove_stale(const struct sockaddr_un *address)
{
    struct stat file;
    if (lstat(address->sun_path, &file) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(file.st_mode))
        return -EEXIST;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int status = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ? 0 : -errno;
    close(fd);
    if (status == -ENOENT)
        return 0;
    if (status != -ECONNREFUSED)
        return -EADDRINUSE; /* accepted, or its backlog is full, or it is of another type */
    return unlink(address->sun_path) == 0 || errno == ENOENT ? 0 : -errno;
}

int listener_socket_unix(const struct sockaddr_un *address, int backlog, struct listener_file *file)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    const struct sockaddr *at = (const struct sockaddr *)address;
    int status = bind(fd, at, sizeof(*address)) == 0 ? 0 : -errno;
    if (status == -EADDRINUSE) {
        status = remove_stale(address);
        if (status == 0 && bind(fd, at, sizeof(*address)) != 0)
            status = -errno;
    }
    if (status == 0) {
        struct stat made;
        if (lstat(address->sun_path, &made) == 0) {
            memcpy(file->path, address->sun_path, sizeof(file->path));
            file->device = made.st_dev;
            file->inode = made.st_ino;
        }
        if (start_listening(fd, backlog) != 0)
            status = -errno;
    }
    if (status != 0) {
        close(fd);
        return status;
    }
    return fd;
}

void listener_file_remove(struct listener_file *file)
{
    struct stat now;
    if (file->path[0] != '\0' && lstat(file->path, &now) == 0 && now.st_dev == file->device &&
        now.st_ino == file->inode)
        unlink(file->path);
    file->path[0] = '\0';
}

static void describe_unix(const struct sockaddr_un *at, socklen_t len, struct text *name)
{
    size_t size = len > offsetof(struct sockaddr_un, sun_path)
                      ? len - offsetof(struct sockaddr_un, sun_path)
                      : 0;

    if (size > 1 && at->sun_path[0] == '\0') /* of the abstract kind */
        text_addf(name, "unix:@%.*s", (int)(size - 1), at->sun_path + 1);
    else
        text_addf(name, "unix:%.*s", (int)size, at->sun_path);
}

bool listener_socket_describe(int fd, struct text *name, uint16_t *port)
{
    union {
        struct sockaddr_storage any;
        struct sockaddr_un path;
    } at = {0};
    socklen_t len = sizeof(at);
    char one[ADDRESS_TEXT_MAX];
    bool is_known = getsockname(fd, (struct sockaddr *)&at, &len) == 0;

    if (name->len > 0)
        text_add(name, " ");
    if (is_known && at.any.ss_family == AF_UNIX) {
        describe_unix(&at.path, len, name);
        return true;
    }
    text_add(name, resolve_format(&at.any, one, sizeof(one)));
    if (*port == 0)
        *port = bound_port(fd);
    return false;
}

void listener_socket_unmap(struct sockaddr_storage *peer)
{
    struct sockaddr_in6 six;
    struct sockaddr_in four = {.sin_family = AF_INET};

    memcpy(&six, peer, sizeof(six));
    if (six.sin6_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&six.sin6_addr))
        return;
    four.sin_port = six.sin6_port;
    memcpy(&four.sin_addr, six.sin6_addr.s6_addr + 12, sizeof(four.sin_addr));
    memcpy(peer, &four, sizeof(four));
}

static const char *problem_of_unix(int status)
{
    switch (status) {
    case -EADDRINUSE:
        return "already in use (another program listens there; choose another path or stop it)";
    case -EEXIST:
        return "there is a file that is not a socket (choose another path or remove it)";
    case -EACCES:
    case -EPERM:
        return "permission denied (this user must be able to write to the directory)";
    case -ENOENT:
        return "no such directory (create it, or choose another path)";
    case -ENAMETOOLONG:
        return "path too long for a socket (107 bytes at most; choose a shorter one)";
    default:
        return NULL;
    }
}

static const char *problem_of_tcp(int status)
{
    switch (status) {
    case -EADDRINUSE:
        return "address already in use (another program listens there; choose another port or stop "
               "it)";
    case -EACCES:
    case -EPERM:
        return "permission denied (choose a port above 1023, or grant CAP_NET_BIND_SERVICE)";
    case -EADDRNOTAVAIL:
        return "no such address on this machine (choose one that it has)";
    case -EAFNOSUPPORT:
        return "address family not supported (choose an address of another family)";
    case -ENOENT:
        return "no such host name (check its spelling, or give a numeric address)";
    case -EAGAIN:
        return "the name server does not answer (try again, or give a numeric address)";
    default:
        return NULL;
    }
}

void listener_socket_problem(const char *what, bool is_unix, int status, char *problem, size_t size)
{
    const char *why = is_unix ? problem_of_unix(status) : problem_of_tcp(status);
    if (why == NULL && (status == -EMFILE || status == -ENFILE))
        why = "too many open files (raise the limit: ulimit -n)";
    snprintf(problem, size, "%s: %s", what, why != NULL ? why : uv_strerror(status));
}
