#include "connect.h"

#include "loop_internal.h"
#include "resolve.h"
#include "stream_internal.h"
#include "stream_socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STAGGER_MS 250 /* RFC 8305 section 5, Connection Attempt Delay */
#define UNIX_RETRY_MS                                                                              \
    10 /* a unix socket whose backlog is full says EAGAIN, and nothing tells when not */
#define UNIX_RETRY_MAX_MS 100

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
    struct stream *attempts[RESOLVE_MAX]; /* under way, by address; NULL: is not */
    unsigned attempt_count;
    int first_error;
    unsigned next; /* address to try */
    struct resolved addresses;
};

static void connect_free(struct connect *c)
{
    if (c->resolve != NULL)
        resolve_cancel(c->resolve);
    for (unsigned i = 0; i < c->next; i++) {
        if (c->attempts[i] != NULL)
            stream_give_up(c->attempts[i]);
    }
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

static void connect_won(struct connect *c, struct stream *stream)
{
    connect_tell(c, &stream->duplex, CAUSE_NONE, 0);
}

static void connect_note_error(struct connect *c, int status)
{
    if (c->first_error == 0)
        c->first_error = status;
}

/* A connection to a free port of this machine can be given that same port as its own, and so meet
 * itself. `to` is what was dialled: 0.0.0.0 is connected to as 127.0.0.1. */
static bool is_connected_to_itself(int fd, const struct sockaddr_storage *to)
{
    struct ip_endpoint dialled, here, there;
    return ip_endpoint_from_sockaddr((const struct sockaddr *)to, &dialled) &&
           stream_socket_local(fd, &here) && here.port == dialled.port &&
           stream_socket_peer(fd, &there) && ip_equals(&here.ip, &there.ip);
}

static void connect_go_on(struct connect *c);

/* Which address it is connected to, or is to be. */
static unsigned take_attempt(struct connect *c, const struct stream *s)
{
    unsigned i = 0;
    while (c->attempts[i] != s)
        i++;
    c->attempts[i] = NULL;
    c->attempt_count--;
    return i;
}

void connect_attempt_done(void *dial, struct stream *s, int status)
{
    struct connect *c = dial;
    const struct sockaddr_storage *address = &c->addresses.address[take_attempt(c, s)];
    if (status == 0 && is_connected_to_itself(stream_fd(s), address))
        status = -ECONNREFUSED;
    if (status == 0) {
        connect_won(c, s);
        return;
    }
    stream_give_up(s);
    connect_note_error(c, status);
    connect_go_on(c);
}

/* 0, -EINPROGRESS, or another negative errno. */
static int start_connecting(int fd, const struct sockaddr_storage *address, socklen_t len)
{
    int tries = stream_socket_is_loopback(address) ? 2 : 1;
    /* On the loopback interface the handshake is over, as a rule, when the call has said that it is
     * under way: asking again is less than to wait for it. */
    while (tries-- > 0 && connect(fd, (const struct sockaddr *)address, len) != 0) {
        if (errno != EINPROGRESS && errno != EALREADY && errno != EINTR)
            return -errno;
        if (tries == 0)
            return -EINPROGRESS;
    }
    return 0;
}

/* Connects to the next address. 0: has, as `*out`; -EINPROGRESS: is under way; or another negative
 * errno. */
static int attempt_start(struct connect *c, struct stream **out)
{
    const struct sockaddr_storage *address = &c->addresses.address[c->next];
    bool is_tcp = address->ss_family != AF_UNIX;
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (is_tcp) {
        /* At once: the kernel may have connected before an attempt is given up, or we die. */
        stream_socket_tune(fd);
        stream_socket_tune_local(fd, address);
    }
    int status = start_connecting(fd, address, c->addresses.length[c->next]);
    if (status == 0 && is_connected_to_itself(fd, address))
        status = -ECONNREFUSED;
    if (status != 0 && status != -EINPROGRESS) {
        close(fd);
        return status;
    }
    *out = stream_connect(c->loop, fd, is_tcp, status == 0, c->options, c);
    if (*out == NULL)
        return -ENOMEM;
    if (status == -EINPROGRESS) {
        c->attempts[c->next] = *out;
        c->attempt_count++;
    }
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
        struct stream *stream = NULL;
        int status = attempt_start(c, &stream);
        if (status == -EAGAIN && c->addresses.address[c->next].ss_family == AF_UNIX) {
            deadline_set(s, &c->stagger, c->unix_retry_ms);
            if (c->unix_retry_ms < UNIX_RETRY_MAX_MS)
                c->unix_retry_ms *= 2;
            return;
        }
        c->next++;
        if (status == 0) {
            connect_won(c, stream);
            return;
        }
        if (status == -EINPROGRESS) {
            if (c->next < c->addresses.count)
                deadline_set(s, &c->stagger, STAGGER_MS);
            return;
        }
        connect_note_error(c, status);
    }
    if (c->attempt_count == 0)
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
