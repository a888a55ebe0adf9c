#include "resolve.h"

#include "loop_internal.h"
#include "text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

/* One name under way in one of libuv's threads. */
struct lookup {
    uv_getaddrinfo_t request;
    struct loop *loop;
    struct lookup *next, **link; /* of the loop */
    struct resolve *waiting;
    char host[ADDRESS_HOST_MAX + 1];
};

/* One who asks. */
struct resolve {
    struct loop_item item;
    struct loop *loop;
    struct lookup *lookup;
    struct resolve *next, **link; /* of the lookup; link is NULL when the task answers */
    struct task task;
    struct address where;
    int status; /* that the task tells, if it is not 0 */
    void (*on_done)(void *owner, int status, const struct resolved *result);
    void *owner;
};

static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};

/* Numbers and paths. 0, -EDESTADDRREQ if it is a name, or another negative errno. */
static int resolve_literal(const struct address *where, struct resolved *out)
{
    *out = (struct resolved){.count = 1};
    struct sockaddr_storage *address = &out->address[0];
    if (where->kind == ADDRESS_UNIX) {
        struct sockaddr_un *un = (struct sockaddr_un *)address;
        size_t len = strlen(where->host);
        if (len >= sizeof(un->sun_path))
            return -ENAMETOOLONG;
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, where->host, len + 1);
        out->length[0] = sizeof(*un);
        return 0;
    }
    struct sockaddr_in *in = (struct sockaddr_in *)address;
    if (inet_pton(AF_INET, where->host, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons(where->port);
        out->length[0] = sizeof(*in);
        return 0;
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)address;
    if (inet_pton(AF_INET6, where->host, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(where->port);
        out->length[0] = sizeof(*in6);
        return 0;
    }
    return -EDESTADDRREQ;
}

static void resolved_set_port(struct resolved *r, uint16_t port)
{
    for (unsigned i = 0; i < r->count; i++) {
        if (r->address[i].ss_family == AF_INET)
            ((struct sockaddr_in *)&r->address[i])->sin_port = htons(port);
        else
            ((struct sockaddr_in6 *)&r->address[i])->sin6_port = htons(port);
    }
}

static bool resolved_has(const struct resolved *r, const struct addrinfo *a)
{
    for (unsigned i = 0; i < r->count; i++) {
        if (r->length[i] == a->ai_addrlen && memcmp(&r->address[i], a->ai_addr, a->ai_addrlen) == 0)
            return true;
    }
    return false;
}

/* Each address once: "localhost" is listed twice on many machines. */
static int resolved_take(struct resolved *r, const struct addrinfo *list)
{
    *r = (struct resolved){0};
    for (const struct addrinfo *a = list; a != NULL && r->count < RESOLVE_MAX; a = a->ai_next) {
        if ((a->ai_family != AF_INET && a->ai_family != AF_INET6) || resolved_has(r, a))
            continue;
        memcpy(&r->address[r->count], a->ai_addr, a->ai_addrlen);
        r->length[r->count] = a->ai_addrlen;
        r->count++;
    }
    return r->count > 0 ? 0 : -ENOENT;
}

static int status_from_uv(int status)
{
    switch (status) {
    case UV_EAI_NONAME:
    case UV_EAI_NODATA:
    case UV_EAI_ADDRFAMILY:
        return -ENOENT;
    case UV_EAI_AGAIN:
        return -EAGAIN;
    case UV_EAI_MEMORY:
        return -ENOMEM;
    default:
        /* Its other EAI codes are no errno. */
        return status > UV_EAI_ADDRFAMILY ? status : -EIO;
    }
}

static void lookup_remove(struct lookup *lookup)
{
    if (lookup->link == NULL)
        return;
    *lookup->link = lookup->next;
    if (lookup->next != NULL)
        lookup->next->link = lookup->link;
    lookup->link = NULL;
}

/* Nobody waits for it any more: if no thread has begun it yet, none is to. Otherwise it goes on,
 * for who asks next. */
static void lookup_abandon(struct lookup *lookup)
{
    if (uv_cancel((uv_req_t *)&lookup->request) == 0)
        lookup_remove(lookup);
}

static void resolve_free(struct resolve *r)
{
    task_cancel(&r->loop->scheduler, &r->task);
    if (r->link != NULL) {
        *r->link = r->next;
        if (r->next != NULL)
            r->next->link = r->link;
        if (r->lookup->waiting == NULL)
            lookup_abandon(r->lookup);
    }
    loop_remove_item(&r->item);
    free(r);
}

static void resolve_tell(struct resolve *r, int status, struct resolved *result)
{
    void (*on_done)(void *owner, int status, const struct resolved *result) = r->on_done;
    void *owner = r->owner;
    if (status == 0 && r->where.kind == ADDRESS_TCP)
        resolved_set_port(result, r->where.port);
    resolve_free(r);
    on_done(owner, status, status == 0 ? result : NULL);
}

static void on_task(struct task *task)
{
    struct resolve *r = container_of(task, struct resolve, task);
    struct resolved result;
    int status = r->status != 0 ? r->status : resolve_literal(&r->where, &result);
    resolve_tell(r, status, &result);
}

static void on_lookup(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
    struct lookup *lookup = container_of(request, struct lookup, request);
    loop_touch(lookup->loop);
    lookup_remove(lookup);
    struct resolved result;
    status = status == 0 ? resolved_take(&result, list) : status_from_uv(status);
    uv_freeaddrinfo(list);
    while (lookup->waiting != NULL) {
        struct resolve *r = lookup->waiting;
        lookup->waiting = r->next;
        if (r->next != NULL)
            r->next->link = &lookup->waiting;
        r->link = NULL;
        resolve_tell(r, status, &result);
    }
    free(lookup);
}

static int lookup_start(struct loop *l, const char *host, struct lookup **out)
{
    struct lookup *lookup = calloc(1, sizeof(*lookup));
    if (lookup == NULL)
        return -ENOMEM;
    lookup->loop = l;
    snprintf(lookup->host, sizeof(lookup->host), "%s", host);
    int status = uv_getaddrinfo(&l->uv, &lookup->request, on_lookup, lookup->host, NULL, &hints);
    if (status != 0) {
        free(lookup);
        return status_from_uv(status);
    }
    lookup->next = l->lookups;
    lookup->link = &l->lookups;
    if (lookup->next != NULL)
        lookup->next->link = &lookup->next;
    l->lookups = lookup;
    *out = lookup;
    return 0;
}

static struct lookup *lookup_find(struct loop *l, const char *host)
{
    struct lookup *lookup = l->lookups;
    while (lookup != NULL && strcasecmp(lookup->host, host) != 0)
        lookup = lookup->next;
    return lookup;
}

static void resolve_end(struct loop_item *item)
{
    resolve_cancel(container_of(item, struct resolve, item));
}

struct resolve *
resolve_start(struct loop *l, const struct address *where,
              void (*on_done)(void *owner, int status, const struct resolved *result), void *owner)
{
    struct resolve *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return NULL;
    r->loop = l;
    r->where = *where;
    r->on_done = on_done;
    r->owner = owner;
    task_init(&r->task, on_task);
    loop_add_item(l, &r->item, resolve_end);

    struct resolved literal;
    if (resolve_literal(where, &literal) != -EDESTADDRREQ) {
        task_defer(&l->scheduler, &r->task);
        return r;
    }
    struct lookup *lookup = lookup_find(l, where->host);
    if (lookup == NULL)
        r->status = lookup_start(l, where->host, &lookup);
    if (lookup == NULL) {
        task_defer(&l->scheduler, &r->task);
        return r;
    }
    r->lookup = lookup;
    r->next = lookup->waiting;
    r->link = &lookup->waiting;
    if (r->next != NULL)
        r->next->link = &r->next;
    lookup->waiting = r;
    return r;
}

void resolve_cancel(struct resolve *r)
{
    resolve_free(r);
}

int resolve_now(struct loop *l, const struct address *where, struct resolved *out)
{
    int status = resolve_literal(where, out);
    if (status != -EDESTADDRREQ)
        return status;
    uv_getaddrinfo_t request;
    status = uv_getaddrinfo(&l->uv, &request, NULL, where->host, NULL, &hints);
    if (status != 0)
        return status_from_uv(status);
    status = resolved_take(out, request.addrinfo);
    uv_freeaddrinfo(request.addrinfo);
    if (status == 0)
        resolved_set_port(out, where->port);
    return status;
}

void resolve_end_lookups(struct loop *l)
{
    for (struct lookup *lookup = l->lookups; lookup != NULL; lookup = lookup->next)
        uv_cancel((uv_req_t *)&lookup->request);
}

char *resolve_format(const struct sockaddr_storage *address, char *buffer, size_t size)
{
    struct address text = {.kind = ADDRESS_TCP};
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        const uint8_t *quad = (const uint8_t *)&in->sin_addr;
        struct text host;
        text_init(&host, text.host, sizeof(text.host));
        for (unsigned i = 0; i < 4; i++) {
            text_add(&host, i > 0 ? "." : "");
            text_add_number(&host, quad[i]);
        }
        text.port = ntohs(in->sin_port);
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
        inet_ntop(AF_INET6, &in6->sin6_addr, text.host, sizeof(text.host));
        text.port = ntohs(in6->sin6_port);
    } else {
        snprintf(buffer, size, "%s", address->ss_family == AF_UNIX ? "unix" : "unknown");
        return buffer;
    }
    return address_format(&text, buffer, size);
}
