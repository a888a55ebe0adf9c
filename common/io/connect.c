#include "connect.h"

#include "loop_internal.h"
#include "resolve.h"
#include "stream_socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STAGGER_MS 250 /* RFC 8305 section 5, Connection Attempt Delay */
#define UNIX_RETRY_MS                                                                              \
    10 /* a unix socket whose backlog is full says EAGAIN, and nothing tells when not */
#define UNIX_RETRY_MAX_MS 100

struct attempt {
    uv_poll_t poll;
    struct loop *loop;
    struct connect *connect;
    struct attempt *next, **link;
    int fd;
};

struct connect {
    struct loop_item item;
    struct loop *loop;
    const struct stream_options *options;
    void (*on_done)(void *owner, struct duplex *stream, struct cause cause);
    void *owner;
    bool (*may)(void *arg, const struct sockaddr *to); /* NULL: all */
    void *may_arg;
    struct resolve *resolve; /* NULL once it has answered */
    struct deadline timeout;
    struct deadline stagger; /* until the next address is tried, or the same one again */
    uint64_t unix_retry_ms;
    struct attempt *attempts;
    int first_error;
    unsigned next; /* address to try */
    struct resolved addresses;
};

static void on_attempt_closed(uv_handle_t *handle)
{
    struct attempt *a = container_of(handle, struct attempt, poll);
    a->loop->closing--;
    free(a);
}

/* Takes it out, and gives its descriptor back. */
static int attempt_end(struct attempt *a)
{
    *a->link = a->next;
    if (a->next != NULL)
        a->next->link = a->link;
    a->loop->closing++;
    uv_close((uv_handle_t *)&a->poll, on_attempt_closed);
    return a->fd;
}

static void connect_free(struct connect *c)
{
    if (c->resolve != NULL)
        resolve_cancel(c->resolve);
    while (c->attempts != NULL)
        close(attempt_end(c->attempts));
    deadline_clear(&c->loop->scheduler, &c->timeout);
    deadline_clear(&c->loop->scheduler, &c->stagger);
    loop_remove_item(&c->item);
    free(c);
}

static void connect_tell(struct connect *c, struct duplex *stream, enum cause_what what, int native)
{
    void (*on_done)(void *owner, struct duplex *stream, struct cause cause) = c->on_done;
    void *owner = c->owner;
    connect_free(c);
    on_done(owner, stream, (struct cause){.what = what, .native = native});
}

static void connect_won(struct connect *c, int fd, sa_family_t family)
{
    enum stream_kind kind = family == AF_UNIX ? STREAM_UNIX : STREAM_TCP;
    struct duplex *stream = stream_open(c->loop, fd, kind, c->options);
    if (stream != NULL)
        connect_tell(c, stream, CAUSE_NONE, 0);
    else
        connect_tell(c, NULL, CAUSE_NO_MEMORY, -ENOMEM);
}

static void connect_note_error(struct connect *c, int status)
{
    if (c->first_error == 0)
        c->first_error = status;
}

/* A connection to a free port of this machine can be given that same port as its own, and so meet
 * itself. */
static bool is_connected_to_itself(int fd)
{
    struct sockaddr_storage here = {0}, there = {0};
    socklen_t here_len = sizeof(here), there_len = sizeof(there);
    return getsockname(fd, (struct sockaddr *)&here, &here_len) == 0 &&
           getpeername(fd, (struct sockaddr *)&there, &there_len) == 0 &&
           here.ss_family != AF_UNIX && here_len == there_len &&
           memcmp(&here, &there, here_len) == 0;
}

static int attempt_result(const struct attempt *a)
{
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        return -errno;
    if (error == 0 && is_connected_to_itself(a->fd))
        return -ECONNREFUSED;
    return -error;
}

static void connect_go_on(struct connect *c);

static void on_attempt(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct attempt *a = container_of(poll, struct attempt, poll);
    struct connect *c = a->connect;
    loop_touch(c->loop);
    /* libuv (1.44 to 1.50) says EBADF for whatever poll(2) calls an error: the socket knows better.
     */
    int result = attempt_result(a);
    if (result != 0)
        status = result;
    int fd = attempt_end(a);
    if (status == 0) {
        connect_won(c, fd, AF_UNSPEC);
        return;
    }
    close(fd);
    connect_note_error(c, status);
    connect_go_on(c);
}

/* Waits for a connect(2) under way. Takes `fd` over; 0 or a negative errno. */
static int attempt_watch(struct connect *c, int fd)
{
    struct attempt *a = calloc(1, sizeof(*a));
    int status = a == NULL ? -ENOMEM : uv_poll_init_socket(&c->loop->uv, &a->poll, fd);
    if (status != 0) {
        free(a);
        close(fd);
        return status;
    }
    a->loop = c->loop;
    a->connect = c;
    a->fd = fd;
    a->next = c->attempts;
    a->link = &c->attempts;
    if (a->next != NULL)
        a->next->link = &a->next;
    c->attempts = a;
    status = uv_poll_start(&a->poll, UV_WRITABLE, on_attempt);
    if (status != 0)
        close(attempt_end(a));
    return status;
}

/* 0: connected as `*fd`; -EINPROGRESS: is being watched; or another negative errno. */
static int attempt_start(struct connect *c, const struct sockaddr_storage *address, socklen_t len,
                         int *fd)
{
    *fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (*fd < 0)
        return -errno;
    /* At once: the kernel may have connected before an attempt is given up, or we die. */
    stream_socket_set_reset(*fd, true);
    stream_socket_tune_local(*fd, address);
    if (connect(*fd, (const struct sockaddr *)address, len) == 0)
        return 0;
    if (errno == EINPROGRESS || errno == EINTR) {
        int status = attempt_watch(c, *fd);
        return status != 0 ? status : -EINPROGRESS;
    }
    int status = -errno;
    close(*fd);
    return status;
}

/* Errors that say nothing of the backend: we, or our machine, have run out of something. */
static bool is_of_ours(int error)
{
    return error == -ENOMEM || error == -ENOBUFS || error == -EMFILE || error == -ENFILE;
}

/* Tries addresses from the next one on, until one is under way. */
static void connect_go_on(struct connect *c)
{
    struct scheduler *s = &c->loop->scheduler;
    deadline_clear(s, &c->stagger);
    while (c->next < c->addresses.count) {
        const struct sockaddr_storage *address = &c->addresses.address[c->next];
        int fd;
        int status = attempt_start(c, address, c->addresses.length[c->next], &fd);
        if (status == -EAGAIN && address->ss_family == AF_UNIX) {
            deadline_set(s, &c->stagger, c->unix_retry_ms);
            if (c->unix_retry_ms < UNIX_RETRY_MAX_MS)
                c->unix_retry_ms *= 2;
            return;
        }
        c->next++;
        if (status == 0) {
            connect_won(c, fd, address->ss_family);
            return;
        }
        if (status == -EINPROGRESS) {
            if (c->next < c->addresses.count)
                deadline_set(s, &c->stagger, STAGGER_MS);
            return;
        }
        connect_note_error(c, status);
    }
    if (c->attempts == NULL)
        connect_tell(c, NULL, is_of_ours(c->first_error) ? CAUSE_NO_MEMORY : CAUSE_UNREACHABLE,
                     c->first_error);
}

static void on_stagger(struct deadline *deadline)
{
    connect_go_on(container_of(deadline, struct connect, stagger));
}

static void on_timeout(struct deadline *deadline)
{
    struct connect *c = container_of(deadline, struct connect, timeout);
    connect_tell(c, NULL, CAUSE_CONNECT_TIMEOUT, c->first_error);
}

static bool take_next(const struct resolved *from, bool *is_taken, sa_family_t family, bool is_same,
                      struct resolved *to)
{
    for (unsigned i = 0; i < from->count; i++) {
        if (is_taken[i] || (from->address[i].ss_family == family) != is_same)
            continue;
        is_taken[i] = true;
        to->address[to->count] = from->address[i];
        to->length[to->count] = from->length[i];
        to->count++;
        return true;
    }
    return false;
}

/* Leaves those that may be connected to. */
static void filter(const struct connect *c, const struct resolved *from, struct resolved *to)
{
    to->count = 0;
    for (unsigned i = 0; i < from->count; i++) {
        if (c->may != NULL && !c->may(c->may_arg, (const struct sockaddr *)&from->address[i]))
            continue;
        to->address[to->count] = from->address[i];
        to->length[to->count] = from->length[i];
        to->count++;
    }
}

/* The resolver's order, but its first family and the other one in turn (RFC 8305 section 4). */
static void interleave(const struct resolved *from, struct resolved *to)
{
    bool is_taken[RESOLVE_MAX] = {false};
    sa_family_t family = from->address[0].ss_family;
    to->count = 0;
    while (to->count < from->count) {
        take_next(from, is_taken, family, true, to);
        take_next(from, is_taken, family, false, to);
    }
}

static void on_resolved(void *owner, int status, const struct resolved *result)
{
    struct connect *c = owner;
    struct resolved allowed;
    c->resolve = NULL;
    if (status != 0) {
        connect_tell(c, NULL, status == -ENOMEM ? CAUSE_NO_MEMORY : CAUSE_UNREACHABLE, status);
        return;
    }
    filter(c, result, &allowed);
    if (allowed.count == 0) {
        connect_tell(c, NULL, CAUSE_DENIED, 0);
        return;
    }
    interleave(&allowed, &c->addresses);
    connect_go_on(c);
}

static void connect_end(struct loop_item *item)
{
    connect_cancel(container_of(item, struct connect, item));
}

struct connect *
connect_start(struct loop *l, const struct address *where, uint64_t timeout_ms,
              const struct stream_options *options,
              void (*on_done)(void *owner, struct duplex *stream, struct cause cause), void *owner)
{
    struct connect *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    c->resolve = resolve_start(l, where, on_resolved, c);
    if (c->resolve == NULL) {
        free(c);
        return NULL;
    }
    c->loop = l;
    c->options = options;
    c->on_done = on_done;
    c->owner = owner;
    c->unix_retry_ms = UNIX_RETRY_MS;
    deadline_init(&c->stagger, on_stagger);
    deadline_init(&c->timeout, on_timeout);
    if (timeout_ms != 0)
        deadline_set(&l->scheduler, &c->timeout, timeout_ms);
    loop_add_item(l, &c->item, connect_end);
    return c;
}

void connect_filter(struct connect *c, bool (*may)(void *arg, const struct sockaddr *to), void *arg)
{
    c->may = may;
    c->may_arg = arg;
}

void connect_cancel(struct connect *c)
{
    connect_free(c);
}
