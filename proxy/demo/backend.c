#include "backend.h"

#include "listener.h"
#include "log.h"
#include "sorter.h"
#include "stream.h"
#include "tally.h"
#include "text.h"

#include <errno.h>
#include <stdlib.h>

#define STEP_MS   120 /* between two pieces of a sorted answer ... */
#define STEPS_MAX 32  /* ... of which there are no more than this */

static const struct stream_options stream_options = {.linger_ms = 5000};

struct demo_backend {
    struct loop *loop;
    struct timeline *timeline;
    struct listener *listener;
    bool is_sorting;
    void (*on_over)(void *arg, uint64_t answered);
    void *arg;
};

struct conversation {
    struct demo_backend *backend;
    struct duplex *stream;
    struct tally tally;
    struct sorter sorter; /* empty if it is not to sort */
    size_t lines_a_step;
    struct deadline step; /* of the answer */
    uint64_t answered;
    bool is_sorting, has_ended, is_finished;
};

static void conversation_over(struct conversation *c)
{
    c->backend->on_over(c->backend->arg, c->answered);
    deadline_clear(loop_scheduler(c->backend->loop), &c->step);
    sorter_clear(&c->sorter);
    tally_clear(&c->tally);
    free(c);
}

static void close_if_complete(struct conversation *c)
{
    if (!c->has_ended || !c->is_finished)
        return;
    duplex_close(c->stream);
    conversation_over(c);
}

static void on_data(void *owner, struct span data)
{
    struct conversation *c = owner;

    timeline_note(c->backend->timeline, "backend", LANE_UP, MOOD_PLAIN, "reads %zu bytes",
                  data.len);
    tally_add(&c->tally, data);
    if (c->is_sorting)
        sorter_add(&c->sorter, data);
}

/* ---- the answer ---- */

static void write_piece(struct conversation *c, struct span piece)
{
    c->answered += piece.len;
    duplex_write(c->stream, &piece, 1); /* bounded by SORTER_MAX: it may keep what is not taken */
}

static void answer_last(struct conversation *c)
{
    char answer[TALLY_TEXT_MAX];
    struct span span = {(uint8_t *)answer, tally_finish(&c->tally, answer)};

    timeline_note(c->backend->timeline, "backend", LANE_DOWN, MOOD_PLAIN,
                  "answers: %zu bytes, then FIN", span.len);
    write_piece(c, span);
    duplex_finish(c->stream);
}

/* Some lines, or the rest. */
static void answer_step(struct conversation *c)
{
    struct span line;

    for (size_t i = 0; i < c->lines_a_step; i++) {
        if (!sorter_next(&c->sorter, &line)) {
            answer_last(c);
            return;
        }
        write_piece(c, line);
    }
    deadline_set(loop_scheduler(c->backend->loop), &c->step, STEP_MS);
}

static void on_step(struct deadline *d)
{
    answer_step(container_of(d, struct conversation, step));
}

static void on_end(void *owner)
{
    struct conversation *c = owner;

    timeline_note(c->backend->timeline, "backend", LANE_UP, MOOD_END, "reads end of file");
    c->has_ended = true;
    c->lines_a_step = sorter_sort(&c->sorter) / STEPS_MAX + 1;
    answer_step(c);
}

static void on_abort(void *owner, struct cause cause)
{
    struct conversation *c = owner;

    timeline_note(c->backend->timeline, "backend", LANE_UP, MOOD_BAD, "%s", cause_text(cause.what));
    conversation_over(c);
}

static void on_drain(void *owner)
{
    (void)owner; /* the answer is short, and all there is */
}

static void on_finished(void *owner)
{
    struct conversation *c = owner;

    c->is_finished = true;
    close_if_complete(c);
}

static const struct duplex_events events = {on_data, on_end, on_abort, on_drain, on_finished};

static void on_accept(void *owner, int fd, enum stream_kind kind)
{
    struct demo_backend *b = owner;
    struct duplex *stream = stream_open(b->loop, fd, kind, &stream_options);
    struct conversation *c = stream == NULL ? NULL : calloc(1, sizeof(*c));

    if (c == NULL) {
        log_line(LOG_ERROR, "the demo's backend is out of memory");
        if (stream != NULL)
            duplex_abort(stream, (struct cause){.what = CAUSE_NO_MEMORY});
        return;
    }
    c->backend = b;
    c->stream = stream;
    c->is_sorting = b->is_sorting;
    tally_init(&c->tally);
    sorter_init(&c->sorter);
    deadline_init(&c->step, on_step);
    timeline_note(b->timeline, "backend", LANE_UP, MOOD_PLAIN, "accepts");
    duplex_own(stream, &events, c);
    duplex_resume(stream);
}

int demo_backend_start(struct loop *l, struct timeline *timeline,
                       void (*on_over)(void *arg, uint64_t answered), void *arg,
                       struct demo_backend **out, char *problem, size_t problem_size)
{
    static const struct listener_options options = {0};
    struct demo_backend *b = calloc(1, sizeof(*b));
    struct address where = {.kind = ADDRESS_TCP, .port = 0, .host = "127.0.0.1"};
    struct text t;

    if (b == NULL) {
        text_init(&t, problem, problem_size);
        text_add(&t, "out of memory");
        return -ENOMEM;
    }
    b->loop = l;
    b->timeline = timeline;
    b->on_over = on_over;
    b->arg = arg;
    int status =
        listener_open(l, &where, &options, on_accept, b, &b->listener, problem, problem_size);
    if (status < 0) {
        free(b);
        return status;
    }
    *out = b;
    return 0;
}

uint16_t demo_backend_port(const struct demo_backend *b)
{
    return listener_port(b->listener);
}

void demo_backend_sort(struct demo_backend *b)
{
    b->is_sorting = true;
}

void demo_backend_close(struct demo_backend *b)
{
    listener_close(b->listener);
    b->listener = NULL;
}

void demo_backend_free(struct demo_backend *b)
{
    if (b == NULL)
        return;
    listener_close(b->listener);
    free(b);
}
