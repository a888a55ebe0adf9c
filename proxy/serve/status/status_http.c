#include "status_http.h"

#include "listener.h"
#include "log.h"
#include "stream.h"
#include "ws_head.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 10000 /* for the request, and for each piece to be taken */
#define WHOLE_MS    60000 /* for all of it */
#define LINGER_MS   1000
#define GRACE_MS    200 /* a request comes with its connection: who is silent longer is a stranger */

struct status_http {
    struct loop *loop;
    struct listener *listener;
    const struct status_http_handler *handler;
    void *owner;
    struct exchange *first; /* newest first */
    unsigned descriptors;   /* lingering ones too */
    bool is_paused, is_closed;
    struct deadline crowded; /* paused: until somebody has been silent for too long */
};

/* One connection: a request, an answer. */
struct exchange {
    struct status_http *http;
    struct loop *loop; /* that of `http`, which may be gone first */
    struct exchange *next, **link;
    struct duplex *client;
    struct ws_head *head;     /* NULL once it has asked */
    struct status_body *body; /* NULL before, and after its last piece */
    struct deadline patience;
    struct task step;
    uint64_t started_ms;
    struct loop *away;             /* not NULL: body and piece belong to its thread */
    struct loop_call make, made;   /* to where the next piece is made, and from there */
    struct loop_call bury, buried; /* the same, for the end of the body */
    struct text data;              /* in `piece` */
    bool is_last;
    bool is_dropped; /* over, but for its body */
    bool is_chunked, is_full;
    char piece[STATUS_HTTP_PIECE];
};

static struct scheduler *scheduler_of(const struct exchange *x)
{
    return loop_scheduler(x->loop);
}

/* ---- the end of one ---- */

/* Whether what is next to be done with the body is to be done in another thread. */
static bool is_elsewhere(const struct exchange *x)
{
    struct loop *where = x->body == NULL ? NULL : x->body->ops->where(x->body);

    return where != NULL && where != x->loop;
}

/* It comes back by another call: until then our loop goes on. */
static void send_away(struct exchange *x, struct loop *to, struct loop_call *call)
{
    x->away = to;
    loop_hold(x->loop);
    loop_send(to, call);
}

static void free_body(struct exchange *x)
{
    if (x->body != NULL)
        x->body->ops->free(x->body);
    x->body = NULL;
}

/* The rest of one that is dropped. What is away is followed at once, behind the piece that is being
 * made: when that comes back, the other loop may have ended. */
static void bury(struct exchange *x)
{
    if (x->away != NULL) {
        send_away(x, x->away, &x->bury);
    } else if (is_elsewhere(x)) {
        send_away(x, x->body->ops->where(x->body), &x->bury);
    } else {
        free_body(x);
        free(x);
    }
}

static void free_exchange(struct exchange *x)
{
    *x->link = x->next;
    if (x->next != NULL)
        x->next->link = x->link;
    deadline_clear(scheduler_of(x), &x->patience);
    task_cancel(scheduler_of(x), &x->step);
    ws_head_free(x->head);
    x->is_dropped = true; /* who is away does not look at it */
    bury(x);
}

static void drop(struct exchange *x, enum cause_what what)
{
    duplex_abort(x->client, (struct cause){.what = what});
    free_exchange(x);
}

/* All is written: what the kernel does not have yet leaves by itself. */
static void finish(struct exchange *x)
{
    duplex_close(x->client);
    free_exchange(x);
}

static void on_patience_over(struct deadline *d)
{
    drop(container_of(d, struct exchange, patience), CAUSE_HANDSHAKE_TIMEOUT);
}

/* ---- the answer ---- */

static bool write_text(struct exchange *x, const struct text *t)
{
    struct span span = {(uint8_t *)t->data, t->len};

    assert(!t->overflowed);
    return duplex_write(x->client, &span, 1);
}

static const char *reason(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 414:
        return "URI Too Long";
    case 431:
        return "Request Header Fields Too Large";
    case 503:
        return "Service Unavailable";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "Bad Request";
    }
}

static void write_head(struct exchange *x, const struct status_answer *a)
{
    char buffer[512];
    struct text t;

    text_init(&t, buffer, sizeof(buffer));
    text_addf(&t,
              "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nCache-Control: no-store\r\n"
              "X-Content-Type-Options: nosniff\r\nConnection: close\r\n",
              a->status, reason(a->status), a->type);
    if (a->status == 405)
        text_add(&t, "Allow: GET, HEAD\r\n");
    if (a->text != NULL)
        text_addf(&t, "Content-Length: %zu\r\n", strlen(a->text));
    else if (x->is_chunked)
        text_add(&t, "Transfer-Encoding: chunked\r\n");
    text_add(&t, "\r\n");
    write_text(x, &t);
}

static void write_chunk(struct exchange *x, struct text *data, bool is_last)
{
    char head[24], tail[8];
    struct text h, t;

    text_init(&h, head, sizeof(head));
    text_init(&t, tail, sizeof(tail));
    if (data->len > 0 && x->is_chunked) {
        text_addf(&h, "%zx\r\n", data->len);
        text_add(&t, "\r\n");
    }
    if (is_last && x->is_chunked)
        text_add(&t, "0\r\n\r\n");
    struct span all[] = {
        {(uint8_t *)h.data, h.len}, {(uint8_t *)data->data, data->len}, {(uint8_t *)t.data, t.len}};
    struct span some[array_count(all)];
    size_t count = 0;
    for (size_t i = 0; i < array_count(all); i++)
        if (all[i].len > 0)
            some[count++] = all[i];
    if (count > 0)
        x->is_full = duplex_write(x->client, some, count);
}

/* In whatever thread. */
static void make_piece(struct exchange *x)
{
    text_init(&x->data, x->piece, sizeof(x->piece));
    x->is_last = x->body->ops->next(x->body, &x->data);
    assert(!x->data.overflowed);
}

static void send_piece(struct exchange *x)
{
    write_chunk(x, &x->data, x->is_last);
    if (x->is_last)
        free_body(x);
    if (x->is_full)
        return;
    if (x->is_last)
        finish(x);
    else
        task_defer_costly(scheduler_of(x), &x->step);
}

/* The next piece, and what comes after it. */
static void on_step(struct task *task)
{
    struct exchange *x = container_of(task, struct exchange, step);

    if (is_elsewhere(x)) {
        send_away(x, x->body->ops->where(x->body), &x->make);
        return;
    }
    make_piece(x);
    send_piece(x);
}

/* ---- in the other thread ---- */

static void on_make(struct loop_call *c)
{
    struct exchange *x = container_of(c, struct exchange, make);

    make_piece(x);
    loop_send(x->loop, &x->made);
}

static void on_bury(struct loop_call *c)
{
    struct exchange *x = container_of(c, struct exchange, bury);

    free_body(x);
    loop_send(x->loop, &x->buried);
}

/* ---- back from there ---- */

static void on_made(struct loop_call *c)
{
    struct exchange *x = container_of(c, struct exchange, made);

    loop_release(x->loop);
    if (x->is_dropped)
        return; /* on_bury is behind us */
    x->away = NULL;
    send_piece(x);
}

static void on_buried(struct loop_call *c)
{
    struct exchange *x = container_of(c, struct exchange, buried);

    loop_release(x->loop);
    free(x);
}

/* ---- the answer goes on ---- */

static void on_drain(void *owner)
{
    struct exchange *x = owner;
    uint64_t age_ms = loop_now_ms(x->loop) - x->started_ms;
    uint64_t left_ms = age_ms < WHOLE_MS ? WHOLE_MS - age_ms : 0;

    x->is_full = false;
    if (x->head != NULL)
        return;
    if (x->body == NULL) {
        finish(x);
        return;
    }
    deadline_set(scheduler_of(x), &x->patience, left_ms < PATIENCE_MS ? left_ms : PATIENCE_MS);
    task_defer_costly(scheduler_of(x), &x->step);
}

/* `a->body` is ours from here on. */
static void answer(struct exchange *x, const struct status_answer *a, bool is_head)
{
    struct text t;

    ws_head_free(x->head);
    x->head = NULL;
    deadline_set(scheduler_of(x), &x->patience, PATIENCE_MS);
    write_head(x, a);
    x->body = a->body;
    if (x->body != NULL && !is_head) {
        task_defer_costly(scheduler_of(x), &x->step);
        return;
    }
    if (a->text != NULL && !is_head) {
        text_init(&t, x->piece, sizeof(x->piece));
        text_add(&t, a->text);
        x->is_full = write_text(x, &t);
    }
    finish(x);
}

static void refuse(struct exchange *x, int status, const char *text, bool is_head)
{
    answer(x, &(struct status_answer){.status = status, .type = "text/plain", .text = text},
           is_head);
}

/* ---- the request ---- */

static bool has_body(struct ws_head *head)
{
    const char *length = ws_head_field(head, "content-length");

    return ws_head_field(head, "transfer-encoding") != NULL ||
           (length != NULL && strcmp(length, "0") != 0);
}

static void on_request(struct exchange *x)
{
    struct status_answer a = {.status = 404, .type = "text/plain", .text = "no such page\n"};
    const char *method = ws_head_method(x->head);
    bool is_head = strcmp(method, "HEAD") == 0;
    size_t len;
    const char *path = ws_head_path(x->head, &len);

    x->is_chunked = !ws_head_is_1_0(x->head);
    if (!is_head && strcmp(method, "GET") != 0) {
        refuse(x, 405, "GET and HEAD only\n", false);
    } else if (len == 0 || has_body(x->head)) {
        refuse(x, 400, "a path, and no body\n", is_head);
    } else {
        x->http->handler->answer(x->http->owner, path, len, &a);
        answer(x, &a, is_head);
    }
}

static void on_data(void *owner, struct span in)
{
    struct exchange *x = owner;

    if (x->head == NULL)
        return; /* one request a connection: what is behind it is dropped */
    switch (ws_head_feed(x->head, &in)) {
    case WS_HEAD_MORE:
        return;
    case WS_HEAD_DONE:
        on_request(x);
        return;
    case WS_HEAD_FAILED:
        refuse(x, ws_head_status(x->head), "not acceptable\n", false);
        return;
    }
}

/* Who has asked may have no more to say, and still listen. */
static void on_end(void *owner)
{
    struct exchange *x = owner;

    if (x->head != NULL)
        finish(x);
}

static void on_abort(void *owner, struct cause cause)
{
    (void)cause;
    free_exchange(owner);
}

static void on_finished(void *owner)
{
    (void)owner; /* never: finish() is not called */
}

static const struct duplex_events events = {on_data, on_end, on_abort, on_drain, on_finished};

/* ---- accepting ---- */

static void on_released(void *arg)
{
    struct status_http *h = arg;

    h->descriptors--;
    if (h->is_closed) {
        if (h->descriptors == 0)
            free(h);
    } else if (h->is_paused) {
        h->is_paused = false;
        deadline_clear(loop_scheduler(h->loop), &h->crowded);
        listener_resume(h->listener);
    }
}

static void begin(struct status_http *h, struct duplex *client)
{
    struct exchange *x = malloc(sizeof(*x)); /* most of it is a buffer: no calloc */
    struct ws_head *head = ws_head_new(WS_SERVER);

    if (x == NULL || head == NULL) {
        free(x);
        ws_head_free(head);
        duplex_abort(client, (struct cause){.what = CAUSE_NO_MEMORY});
        return;
    }
    memset(x, 0, offsetof(struct exchange, piece));
    ws_head_take_1_0(head);
    x->http = h;
    x->loop = h->loop;
    loop_call_init(&x->make, on_make);
    loop_call_init(&x->made, on_made);
    loop_call_init(&x->bury, on_bury);
    loop_call_init(&x->buried, on_buried);
    x->client = client;
    x->head = head;
    x->started_ms = loop_now_ms(h->loop);
    x->next = h->first;
    x->link = &h->first;
    if (x->next != NULL)
        x->next->link = &x->next;
    h->first = x;
    deadline_init(&x->patience, on_patience_over);
    task_init(&x->step, on_step);
    deadline_set(scheduler_of(x), &x->patience, PATIENCE_MS);
    duplex_own(client, &events, x);
    duplex_resume(client);
}

/* The last place is taken: who has been silent for longest makes room for the next. */
static void make_room(struct status_http *h)
{
    struct exchange *oldest = NULL;

    for (struct exchange *x = h->first; x != NULL; x = x->next)
        if (x->head != NULL)
            oldest = x;
    if (oldest == NULL)
        return;
    uint64_t age_ms = loop_now_ms(h->loop) - oldest->started_ms;
    if (age_ms < GRACE_MS)
        deadline_set(loop_scheduler(h->loop), &h->crowded, GRACE_MS - age_ms);
    else
        drop(oldest, CAUSE_LIMIT);
}

static void on_crowded(struct deadline *d)
{
    make_room(container_of(d, struct status_http, crowded));
}

static void on_accept(void *owner, int fd, enum stream_kind kind)
{
    static const struct stream_options options = {.linger_ms = LINGER_MS};
    struct status_http *h = owner;
    struct duplex *client = stream_open(h->loop, fd, kind, &options);

    if (client == NULL) {
        log_line(LOG_ERROR, "out of memory: status connection refused");
        return;
    }
    h->descriptors++;
    stream_on_release(client, on_released, h);
    begin(h, client);
    if (h->descriptors < STATUS_HTTP_CONNECTIONS)
        return;
    h->is_paused = true;
    listener_pause(h->listener);
    make_room(h);
}

int status_http_open(struct loop *l, const struct address *where,
                     const struct status_http_handler *handler, void *owner,
                     struct status_http **out, char *problem, size_t problem_size)
{
    static const struct listener_options options = {0};
    struct status_http *h = calloc(1, sizeof(*h));
    struct text t;

    text_init(&t, problem, problem_size);
    if (h == NULL) {
        text_add(&t, "out of memory");
        return -ENOMEM;
    }
    h->loop = l;
    h->handler = handler;
    h->owner = owner;
    deadline_init(&h->crowded, on_crowded);
    int status =
        listener_open(l, where, &options, on_accept, h, &h->listener, problem, problem_size);
    if (status < 0) {
        free(h);
        return status;
    }
    *out = h;
    return 0;
}

const char *status_http_name(const struct status_http *h)
{
    return listener_name(h->listener);
}

void status_http_close(struct status_http *h)
{
    if (h == NULL)
        return;
    listener_close(h->listener);
    deadline_clear(loop_scheduler(h->loop), &h->crowded);
    for (struct exchange *next, *x = h->first; x != NULL; x = next) {
        next = x->next;
        drop(x, CAUSE_SHUTDOWN);
    }
    h->is_closed = true;
    if (h->descriptors == 0)
        free(h);
}
