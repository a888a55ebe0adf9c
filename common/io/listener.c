#include "listener.h"

#include "inherited.h"
#include "listener_socket.h"
#include "log.h"
#include "loop_internal.h"
#include "resolve.h"
#include "text.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ACCEPT_MOST      64  /* connections accepted at a wake-up, before others get their turn */
#define RETRY_MS         100 /* until the next try when descriptors or memory have run out */
#define WARN_INTERVAL_MS 1000
#define SAME_PORT_TRIES  16
#define NAME_MAX_SIZE    1024

struct listener;

struct member {
    uv_poll_t poll;
    struct listener *listener;
    int fd;
    bool is_unix;
};

struct listener {
    struct loop_item item;
    struct loop *loop;
    void (*on_accept)(void *owner, int fd, enum stream_kind kind);
    void *owner;
    int backlog;
    bool shares_port;
    bool is_inherited;
    bool is_paused;
    bool is_closed;
    unsigned count;
    unsigned closing; /* handles that libuv has not let go of yet */
    unsigned turn;    /* of the loop, in which it was woken up last */
    unsigned batch;   /* connections to be accepted then */
    struct deadline retry;
    uint64_t warned_ms;
    uint16_t port;
    struct listener_file file;
    struct sockaddr_storage peer; /* of the connection accepted last */
    char name[NAME_MAX_SIZE];
    struct member members[RESOLVE_MAX];
};

static void on_ready(uv_poll_t *poll, int status, int events);

static void listener_poll(struct listener *x, bool is_on)
{
    for (unsigned i = 0; i < x->count; i++) {
        if (is_on)
            uv_poll_start(&x->members[i].poll, UV_READABLE, on_ready);
        else
            uv_poll_stop(&x->members[i].poll);
    }
}

static void on_retry(struct deadline *deadline)
{
    struct listener *x = container_of(deadline, struct listener, retry);
    if (!x->is_paused)
        listener_poll(x, true);
}

/* The backlog keeps those who wait. */
static void listener_wait(struct listener *x, int status)
{
    listener_poll(x, false);
    deadline_set(&x->loop->scheduler, &x->retry, RETRY_MS);
    uint64_t now_ms = x->loop->scheduler.now_ms;
    if (x->warned_ms != 0 && now_ms - x->warned_ms < WARN_INTERVAL_MS)
        return;
    x->warned_ms = now_ms;
    struct log_record r;
    log_begin(&r, LOG_WARN, "cannot accept");
    log_str(&r, "address", x->name);
    log_str(&r, "error", uv_strerror(status));
    log_end(&r);
}

/* Errors of one connection that was lost while it waited, not of the listener (accept(2)). */
static bool is_of_one_connection(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
        return true;
    default:
        return false;
    }
}

static enum stream_kind member_kind(const struct member *m)
{
    if (m->is_unix)
        return STREAM_UNIX;
    return m->listener->is_inherited ? STREAM_TCP : STREAM_ACCEPTED;
}

/* One connection, as a rule, and no call to hear that there is no other. While more come than are
 * taken, which is when it is woken up turn after turn, twice as many each time. */
static void set_batch(struct listener *x)
{
    bool is_behind = x->batch > 0 && x->loop->turn == x->turn + 1;
    x->batch = is_behind ? x->batch * 2 : 1;
    if (x->batch > ACCEPT_MOST)
        x->batch = ACCEPT_MOST;
    x->turn = x->loop->turn;
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct member *m = container_of(poll, struct member, poll);
    struct listener *x = m->listener;
    loop_touch(x->loop);
    if (status != 0) {
        listener_wait(x, status);
        return;
    }
    set_batch(x);
    for (unsigned i = 0; i < x->batch && !x->is_paused && !x->is_closed; i++) {
        socklen_t len = sizeof(x->peer);
        x->peer.ss_family = AF_UNSPEC;
        int fd = accept4(m->fd, (struct sockaddr *)&x->peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            listener_socket_unmap(&x->peer);
            x->on_accept(x->owner, fd, member_kind(m));
        } else if (errno == EAGAIN) {
            x->batch = 0;
            return;
        } else if (!is_of_one_connection(errno)) {
            listener_wait(x, -errno);
            return;
        }
    }
}

void listener_pause(struct listener *x)
{
    x->is_paused = true;
    listener_poll(x, false);
}

void listener_resume(struct listener *x)
{
    x->is_paused = false;
    if (!deadline_is_set(&x->retry))
        listener_poll(x, true);
}

const char *listener_name(const struct listener *x)
{
    return x->name;
}

char *listener_peer_name(const struct listener *x, char *buffer, size_t size)
{
    return resolve_format(&x->peer, buffer, size);
}

bool listener_peer(const struct listener *x, struct ip_endpoint *out)
{
    return ip_endpoint_from_sockaddr((const struct sockaddr *)&x->peer, out);
}

uint16_t listener_port(const struct listener *x)
{
    return x->port;
}

static void listener_end(struct loop_item *item)
{
    listener_close(container_of(item, struct listener, item));
}

static void listener_free_if_closed(struct listener *x)
{
    if (x->closing == 0)
        free(x);
}

static void on_closed(uv_handle_t *handle)
{
    struct member *m = container_of(handle, struct member, poll);
    struct listener *x = m->listener;
    x->loop->closing--;
    x->closing--;
    listener_free_if_closed(x);
}

void listener_close(struct listener *x)
{
    if (x == NULL)
        return;
    x->is_closed = true;
    deadline_clear(&x->loop->scheduler, &x->retry);
    loop_remove_item(&x->item);
    listener_file_remove(&x->file);
    for (unsigned i = 0; i < x->count; i++) {
        x->closing++;
        x->loop->closing++;
        uv_close((uv_handle_t *)&x->members[i].poll, on_closed);
        close(x->members[i].fd);
    }
    listener_free_if_closed(x);
}

/* Takes `fd` over. */
static int listener_add(struct listener *x, int fd, bool is_unix)
{
    struct member *m = &x->members[x->count];
    int status = uv_poll_init_socket(&x->loop->uv, &m->poll, fd);
    if (status != 0) {
        close(fd);
        return status;
    }
    m->listener = x;
    m->fd = fd;
    m->is_unix = is_unix;
    x->count++;
    return 0;
}

static int listener_open_unix(struct listener *x, const struct address *where, int backlog,
                              const struct resolved *at, char *problem, size_t problem_size)
{
    int fd = listener_socket_unix((const struct sockaddr_un *)&at->address[0], backlog, &x->file);
    int status = fd < 0 ? fd : listener_add(x, fd, true);
    address_format(where, x->name, sizeof(x->name));
    if (status != 0)
        listener_socket_problem(x->name, true, status, problem, problem_size);
    return status;
}

/* Opens all addresses with one port. -EADDRNOTAVAIL and -EAFNOSUPPORT are lived with (a machine
 * without IPv6) as long as another address works. */
static int listener_open_all(struct listener *x, struct resolved *at,
                             const struct listener_options *options, uint16_t wanted_port,
                             int fds[RESOLVE_MAX], char *problem, size_t problem_size)
{
    int first_error = 0;
    unsigned count = 0;
    uint16_t port = wanted_port;
    for (unsigned i = 0; i < at->count; i++) {
        int fd = listener_socket_tcp(&at->address[i], at->length[i], &port, options);
        if (fd >= 0) {
            fds[i] = fd;
            count++;
            continue;
        }
        if (first_error == 0 || (fd != -EADDRNOTAVAIL && fd != -EAFNOSUPPORT)) {
            char name[ADDRESS_TEXT_MAX];
            first_error = fd;
            listener_socket_problem(resolve_format(&at->address[i], name, sizeof(name)), false, fd,
                                    problem, problem_size);
        }
        if (fd != -EADDRNOTAVAIL && fd != -EAFNOSUPPORT) {
            count = 0;
            break;
        }
    }
    if (count > 0) {
        x->port = port;
        return 0;
    }
    for (unsigned i = 0; i < at->count; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
    }
    return first_error;
}

static int listener_open_tcp(struct listener *x, const struct address *where,
                             const struct listener_options *options, struct resolved *at,
                             char *problem, size_t problem_size)
{
    int fds[RESOLVE_MAX];
    for (unsigned i = 0; i < RESOLVE_MAX; i++)
        fds[i] = -1;
    /* The port that the system gave the first address may be taken at the second one: then once
     * more. */
    int tries = where->port == 0 && at->count > 1 ? SAME_PORT_TRIES : 1;
    int status;
    do
        status = listener_open_all(x, at, options, where->port, fds, problem, problem_size);
    while (status == -EADDRINUSE && --tries > 0);
    if (status != 0)
        return status;

    struct text name;
    text_init(&name, x->name, sizeof(x->name));
    for (unsigned i = 0; i < at->count; i++) {
        if (fds[i] < 0)
            continue;
        char one[ADDRESS_TEXT_MAX];
        listener_socket_set_port(&at->address[i], x->port);
        text_addf(&name, "%s%s", name.len > 0 ? " " : "",
                  resolve_format(&at->address[i], one, sizeof(one)));
        if (status == 0)
            status = listener_add(x, fds[i], false);
        else
            close(fds[i]);
    }
    if (status != 0)
        listener_socket_problem(x->name, false, status, problem, problem_size);
    return status;
}

/* Sockets that somebody else has bound: also their files are not ours to remove. */
static int listener_open_inherited(struct listener *x, const struct address *where, char *problem,
                                   size_t problem_size)
{
    int fds[RESOLVE_MAX];
    struct text t, name;
    text_init(&t, problem, problem_size);
    text_init(&name, x->name, sizeof(x->name));
    x->is_inherited = true;
    int count = inherited_take(where->host, fds, RESOLVE_MAX, &t);
    if (count < 0)
        return count;
    int status = 0;
    for (int i = 0; i < count; i++) {
        bool is_unix = listener_socket_describe(fds[i], &name, &x->port);
        if (status == 0)
            status = listener_add(x, fds[i], is_unix);
        else
            close(fds[i]);
    }
    if (status != 0)
        listener_socket_problem(x->name, false, status, problem, problem_size);
    return status;
}

/* Makes sockets, and binds them. */
static int listener_open_own(struct listener *x, const struct address *where,
                             const struct listener_options *options, char *problem,
                             size_t problem_size)
{
    char name[ADDRESS_TEXT_MAX];
    struct resolved at;
    bool is_unix = where->kind == ADDRESS_UNIX;
    int status = resolve_now(x->loop, where, &at);
    if (status != 0) {
        address_format(where, name, sizeof(name));
        listener_socket_problem(name, is_unix, status, problem, problem_size);
        return status;
    }
    return is_unix ? listener_open_unix(x, where, options->backlog, &at, problem, problem_size)
                   : listener_open_tcp(x, where, options, &at, problem, problem_size);
}

/* NULL when out of memory. */
static struct listener *listener_new(struct loop *l, const struct listener_options *options,
                                     void (*on_accept)(void *owner, int fd, enum stream_kind kind),
                                     void *owner)
{
    struct listener *x = calloc(1, sizeof(*x));
    if (x == NULL)
        return NULL;
    x->loop = l;
    x->backlog = options->backlog;
    x->shares_port = options->shares_port;
    x->on_accept = on_accept;
    x->owner = owner;
    deadline_init(&x->retry, on_retry);
    loop_add_item(l, &x->item, listener_end);
    return x;
}

int listener_open(struct loop *l, const struct address *where,
                  const struct listener_options *options,
                  void (*on_accept)(void *owner, int fd, enum stream_kind kind), void *owner,
                  struct listener **out, char *problem, size_t problem_size)
{
    struct listener *x = listener_new(l, options, on_accept, owner);
    if (x == NULL) {
        char name[ADDRESS_TEXT_MAX];
        address_format(where, name, sizeof(name));
        listener_socket_problem(name, false, -ENOMEM, problem, problem_size);
        return -ENOMEM;
    }
    int status = where->kind == ADDRESS_SYSTEMD
                     ? listener_open_inherited(x, where, problem, problem_size)
                     : listener_open_own(x, where, options, problem, problem_size);
    if (status != 0) {
        listener_close(x);
        return status;
    }
    listener_poll(x, true);
    *out = x;
    return 0;
}

static int listener_add_beside(struct listener *x, const struct listener *other,
                               const struct member *m)
{
    bool is_shared = m->is_unix || other->is_inherited; /* cannot be bound once more */
    int fd =
        is_shared ? fcntl(m->fd, F_DUPFD_CLOEXEC, 0) : listener_socket_beside(m->fd, x->backlog);
    if (is_shared && fd < 0)
        fd = -errno;
    return fd < 0 ? fd : listener_add(x, fd, m->is_unix);
}

int listener_open_beside(const struct listener *other, struct loop *l, void *owner,
                         struct listener **out, char *problem, size_t problem_size)
{
    struct listener_options options = {.backlog = other->backlog, .shares_port = true};
    struct listener *x = listener_new(l, &options, other->on_accept, owner);
    int status = x == NULL ? -ENOMEM : 0;
    assert(other->shares_port);
    for (unsigned i = 0; i < other->count && status == 0; i++)
        status = listener_add_beside(x, other, &other->members[i]);
    if (status != 0) {
        listener_socket_problem(other->name, false, status, problem, problem_size);
        listener_close(x);
        return status;
    }
    memcpy(x->name, other->name, sizeof(x->name));
    x->port = other->port;
    x->is_inherited = other->is_inherited;
    listener_poll(x, true);
    *out = x;
    return 0;
}
