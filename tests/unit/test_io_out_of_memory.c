/* The n-th allocation fails, for every n: what common/io then tells, and that it leaks nothing
 * (checklist 91). Linked with --wrap=malloc and --wrap=calloc: libuv's own allocations are not
 * among them. */
#include "connect.h"
#include "io_kit.h"
#include "listener.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

static unsigned fail_at; /* 0: never */
static unsigned allocations;

static bool is_to_fail(void)
{
    return fail_at != 0 && ++allocations == fail_at;
}

void *__wrap_malloc(size_t size)
{
    return is_to_fail() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return is_to_fail() ? NULL : __real_calloc(count, size);
}

static uint8_t bytes[8 << 20];

struct scene {
    struct loop *l;
    struct app dialled, accepted;
    unsigned answers;
    struct cause cause;
    bool has_failed; /* something told that memory had run out */
};

static void on_accept(void *owner, int fd, enum stream_kind kind)
{
    struct scene *s = owner;
    assert_int_equal(kind, STREAM_ACCEPTED);
    struct duplex *d = stream_open(s->l, fd, kind, &kit_options);
    if (d != NULL)
        app_own(&s->accepted, s->l, d);
    else
        s->has_failed = true;
    loop_stop(s->l);
}

static void on_done(void *owner, struct duplex *stream, struct cause cause)
{
    struct scene *s = owner;
    s->answers++;
    s->cause = cause;
    if (stream != NULL)
        app_own(&s->dialled, s->l, stream);
    loop_stop(s->l);
}

/* Both ends in one loop: dial, fill one direction, empty it, leave. */
static void play(struct scene *s)
{
    struct listener *x;
    struct listener_options options = {0};
    struct address where = {.kind = ADDRESS_TCP, .host = "127.0.0.1"};
    char problem[256];
    int status = listener_open(s->l, &where, &options, on_accept, s, &x, problem, sizeof(problem));
    if (status != 0) {
        assert_int_equal(status, -ENOMEM);
        s->has_failed = true;
        return;
    }
    where.port = listener_port(x);
    if (connect_start(s->l, &where, 5000, &kit_options, on_done, s) == NULL) {
        s->has_failed = true;
        listener_close(x);
        return;
    }
    KIT_WAIT(s->l, s->answers == 1);
    if (s->dialled.d == NULL) {
        if (s->has_failed) /* at the other end, which reset it */
            assert_int_equal(s->cause.native, -ECONNRESET);
        else
            assert_int_equal(s->cause.what, CAUSE_NO_MEMORY);
        s->has_failed = true;
        listener_close(x);
        return;
    }
    KIT_WAIT(s->l, s->accepted.d != NULL || s->has_failed);
    listener_close(x);
    if (s->accepted.d == NULL) {
        app_abort(&s->dialled);
        return;
    }
    kit_pattern(bytes, sizeof(bytes), 0);
    struct span spans[2] = {{bytes, sizeof(bytes) / 2},
                            {bytes + sizeof(bytes) / 2, sizeof(bytes) / 2}};
    bool is_full = duplex_write(s->dialled.d, spans, 2);
    assert_int_equal(s->dialled.aborts, 0);
    if (is_full)
        app_finish(&s->dialled);
    app_resume(&s->accepted);
    KIT_WAIT(s->l, s->accepted.ends + s->accepted.aborts > 0);
    if (s->dialled.aborts > 0) {
        /* the other end sees a break, never an end */
        assert_int_equal(s->dialled.cause.what, CAUSE_NO_MEMORY);
        assert_int_equal(s->accepted.ends, 0);
        s->has_failed = true;
        return;
    }
    assert_int_equal(s->accepted.got, sizeof(bytes));
    app_abort(&s->dialled);
    app_close(&s->accepted);
}

static void test_91_every_allocation_fails_once(void **state)
{
    (void)state;
    bool has_failed = true;
    unsigned failures = 0;
    for (unsigned n = 1; has_failed; n++) {
        struct scene s = {0};
        allocations = 0;
        fail_at = n;
        s.l = loop_new();
        has_failed = s.l == NULL;
        if (s.l != NULL) {
            play(&s);
            if (s.has_failed && s.accepted.d != NULL)
                app_abort(&s.accepted);
            assert_false(s.accepted.is_wrong);
            kit_run_dry(s.l, 10000);
            has_failed = s.has_failed;
        }
        assert_int_equal(has_failed, allocations >= n);
        fail_at = 0;
        loop_free(s.l);
        failures += has_failed;
    }
    /* loop, read buffer, listener, dial, resolver, two streams, outbox */
    assert_true(failures >= 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_91_every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
