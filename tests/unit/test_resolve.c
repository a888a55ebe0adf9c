/* Names to addresses, on a resolver that answers, fails and blocks as told. */
#include "fake_resolver.h"
#include "io_kit.h"
#include "resolve.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

struct asker {
    struct loop *l;
    struct resolve *r;
    unsigned answers;
    int status;
    struct resolved result;
    bool is_in_call;
    struct asker *cancels; /* in its callback */
};

static void on_done(void *owner, int status, const struct resolved *result)
{
    struct asker *a = owner;
    assert_false(a->is_in_call);
    a->answers++;
    a->r = NULL;
    a->status = status;
    if (status == 0)
        a->result = *result;
    else
        assert_null(result);
    if (a->cancels != NULL && a->cancels->r != NULL) {
        resolve_cancel(a->cancels->r);
        a->cancels->r = NULL;
    }
    loop_stop(a->l);
}

static void ask(struct asker *a, struct loop *l, enum address_kind kind, const char *host,
                uint16_t port)
{
    struct address where = {.kind = kind, .port = port};
    assert_true(strlen(host) < sizeof(where.host));
    memcpy(where.host, host, strlen(host) + 1);
    *a = (struct asker){.l = l, .is_in_call = true};
    a->r = resolve_start(l, &where, on_done, a);
    assert_non_null(a->r);
    a->is_in_call = false;
}

static const char *text_of(const struct asker *a, unsigned i)
{
    static char text[64];
    assert_true(i < a->result.count);
    return resolve_format(&a->result.address[i], text, sizeof(text));
}

static void test_numbers_need_no_resolver(void **state)
{
    (void)state;
    static const struct fake_name none[] = {{0}};
    fake_resolver_set(none);
    struct loop *l = loop_new();
    struct asker v4, v6;
    ask(&v4, l, ADDRESS_TCP, "127.0.0.1", 80);
    ask(&v6, l, ADDRESS_TCP, "::1", 443);
    KIT_WAIT(l, v4.answers + v6.answers == 2);
    assert_int_equal(v4.status, 0);
    assert_string_equal(text_of(&v4, 0), "127.0.0.1:80");
    assert_string_equal(text_of(&v6, 0), "[::1]:443");
    assert_int_equal(v6.result.count, 1);
    assert_int_equal(fake_resolver_calls(), 0);
    loop_free(l);
}

static void test_unix_paths(void **state)
{
    (void)state;
    struct loop *l = loop_new();
    char path[ADDRESS_HOST_MAX + 1];
    memset(path, 'p', sizeof(path));
    struct asker fits, does_not;
    path[107] = '\0';
    ask(&fits, l, ADDRESS_UNIX, path, 0);
    path[107] = 'p';
    path[108] = '\0';
    ask(&does_not, l, ADDRESS_UNIX, path, 0);
    KIT_WAIT(l, fits.answers + does_not.answers == 2);
    assert_int_equal(fits.status, 0);
    assert_int_equal(strlen(((struct sockaddr_un *)&fits.result.address[0])->sun_path), 107);
    assert_string_equal(text_of(&fits, 0), "unix");
    assert_int_equal(does_not.status, -ENAMETOOLONG);
    loop_free(l);
}

static void test_names(void **state)
{
    (void)state;
    static const struct fake_name names[] = {
        {.name = "dual.test", .addresses = "::1 127.0.0.1 ::1 127.0.0.1 127.0.0.2"},
        {.name = "many.test",
         .addresses =
             "10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6 10.0.0.7 10.0.0.8 10.0.0.9 "
             "10.0.0.10 10.0.0.11 10.0.0.12 10.0.0.13 10.0.0.14 10.0.0.15 10.0.0.16 10.0.0.17"},
        {.name = "busy.test", .error = EAI_AGAIN},
        {.name = "broken.test", .error = EAI_FAIL},
        {0},
    };
    fake_resolver_set(names);
    struct loop *l = loop_new();
    struct asker dual, many, busy, broken, unknown;
    ask(&dual, l, ADDRESS_TCP, "dual.test", 8080);
    ask(&many, l, ADDRESS_TCP, "many.test", 1);
    ask(&busy, l, ADDRESS_TCP, "busy.test", 1);
    ask(&broken, l, ADDRESS_TCP, "broken.test", 1);
    ask(&unknown, l, ADDRESS_TCP, "unknown.test", 1);
    KIT_WAIT(l, dual.answers + many.answers + busy.answers + broken.answers + unknown.answers == 5);
    assert_int_equal(dual.status, 0);
    assert_int_equal(dual.result.count, 3);
    assert_string_equal(text_of(&dual, 0), "[::1]:8080");
    assert_string_equal(text_of(&dual, 1), "127.0.0.1:8080");
    assert_string_equal(text_of(&dual, 2), "127.0.0.2:8080");
    assert_int_equal(many.result.count, RESOLVE_MAX);
    assert_int_equal(busy.status, -EAGAIN);
    assert_int_equal(broken.status, -EIO);
    assert_int_equal(unknown.status, -ENOENT);
    loop_free(l);
}

/* libuv looks up two names at a time: a slow one that is asked for often must not take both
 * threads. */
static void test_65_a_slow_name_does_not_hold_up_others(void **state)
{
    (void)state;
    static const struct fake_name names[] = {
        {.name = "slow.test", .addresses = "10.0.0.1", .blocks = true},
        {.name = "quick.test", .addresses = "10.0.0.2"},
        {0},
    };
    fake_resolver_set(names);
    struct loop *l = loop_new();
    enum { COUNT = 12 };
    struct asker slow[COUNT], quick;
    for (uint16_t i = 0; i < COUNT; i++)
        ask(&slow[i], l, ADDRESS_TCP, i % 2 ? "slow.test" : "SLOW.test", (uint16_t)(i + 1));
    ask(&quick, l, ADDRESS_TCP, "quick.test", 7);
    KIT_WAIT(l, quick.answers == 1);
    KIT_WAIT(l, fake_resolver_calls() == 2);
    resolve_cancel(slow[3].r);
    slow[5].cancels = &slow[4];
    slow[4].cancels = &slow[5];
    fake_resolver_release();
    KIT_WAIT(l, slow[0].answers == 1);
    while (slow[1].answers == 0)
        kit_turn(l);
    unsigned answers = 0;
    for (uint16_t i = 0; i < COUNT; i++) {
        answers += slow[i].answers;
        if (slow[i].answers == 0)
            continue;
        char expected[32];
        snprintf(expected, sizeof(expected), "10.0.0.1:%u", i + 1U);
        assert_string_equal(text_of(&slow[i], 0), expected);
    }
    assert_int_equal(answers, COUNT - 2);
    assert_int_equal(slow[3].answers, 0);
    assert_int_equal(slow[4].answers + slow[5].answers, 1);
    loop_free(l);
}

static void test_a_lookup_outlives_those_who_asked(void **state)
{
    (void)state;
    static const struct fake_name names[] = {
        {.name = "slow.test", .addresses = "10.0.0.1", .blocks = true},
        {0},
    };
    fake_resolver_set(names);
    struct loop *l = loop_new();
    struct asker first, second;
    ask(&first, l, ADDRESS_TCP, "slow.test", 1);
    kit_turn(l);
    resolve_cancel(first.r);
    loop_run(l); /* returns: nobody waits */
    ask(&second, l, ADDRESS_TCP, "slow.test", 1);
    fake_resolver_release();
    KIT_WAIT(l, second.answers == 1);
    assert_int_equal(second.status, 0);
    assert_int_equal(first.answers, 0);
    assert_int_equal(fake_resolver_calls(), 1);
    loop_free(l);
}

/* Two are under way, the others in line: those nobody waits for leave it. */
static void test_65_an_abandoned_name_is_not_asked_for(void **state)
{
    (void)state;
    static const struct fake_name names[] = {
        {.name = "a.test", .addresses = "10.0.0.1", .blocks = true},
        {.name = "b.test", .addresses = "10.0.0.1", .blocks = true},
        {.name = "c.test", .addresses = "10.0.0.3"},
        {.name = "d.test", .addresses = "10.0.0.4"},
        {0},
    };
    fake_resolver_set(names);
    struct loop *l = loop_new();
    struct asker a, b, c, again, d;
    ask(&a, l, ADDRESS_TCP, "a.test", 1);
    ask(&b, l, ADDRESS_TCP, "b.test", 1);
    KIT_WAIT(l, fake_resolver_calls() == 2);
    ask(&c, l, ADDRESS_TCP, "c.test", 1);
    ask(&d, l, ADDRESS_TCP, "d.test", 1);
    resolve_cancel(c.r);
    resolve_cancel(d.r);
    ask(&again, l, ADDRESS_TCP, "d.test", 1); /* not told of what came of the first */
    resolve_cancel(a.r);
    fake_resolver_release();
    KIT_WAIT(l, again.answers == 1);
    assert_int_equal(again.status, 0);
    KIT_WAIT(l, b.answers == 1);
    assert_int_equal(fake_resolver_calls(), 3);
    assert_int_equal(a.answers + c.answers + d.answers, 0);
    loop_free(l);
}

static void test_cancel_before_the_answer(void **state)
{
    (void)state;
    static const struct fake_name names[] = {{.name = "x.test", .addresses = "10.0.0.1"}, {0}};
    fake_resolver_set(names);
    struct loop *l = loop_new();
    struct asker number, name;
    ask(&number, l, ADDRESS_TCP, "127.0.0.1", 1);
    ask(&name, l, ADDRESS_TCP, "x.test", 1);
    resolve_cancel(number.r);
    resolve_cancel(name.r);
    loop_run(l);
    kit_turn(l);
    assert_int_equal(number.answers + name.answers, 0);
    loop_free(l);
}

static void *release_later(void *arg)
{
    (void)arg;
    fake_resolver_release();
    return NULL;
}

/* More names than threads: some lookups run and must be waited for, the others are called back. */
static void test_loop_free_with_lookups_under_way(void **state)
{
    (void)state;
    static const struct fake_name names[] = {
        {.name = "a.test", .addresses = "10.0.0.1", .blocks = true},
        {.name = "b.test", .addresses = "10.0.0.1", .blocks = true},
        {.name = "c.test", .addresses = "10.0.0.1", .blocks = true},
        {.name = "d.test", .addresses = "10.0.0.1", .blocks = true},
        {.name = "e.test", .addresses = "10.0.0.1", .blocks = true},
        {.name = "f.test", .addresses = "10.0.0.1", .blocks = true},
        {0},
    };
    fake_resolver_set(names);
    struct loop *l = loop_new();
    struct asker askers[6], number;
    for (size_t i = 0; i < array_count(askers); i++)
        ask(&askers[i], l, ADDRESS_TCP, names[i].name, 1);
    ask(&number, l, ADDRESS_TCP, "::1", 1);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, release_later, NULL), 0);
    loop_free(l);
    pthread_join(thread, NULL);
    for (size_t i = 0; i < array_count(askers); i++)
        assert_int_equal(askers[i].answers, 0);
    assert_int_equal(number.answers, 0);
}

static void test_resolve_now(void **state)
{
    (void)state;
    static const struct fake_name names[] = {{.name = "x.test", .addresses = "10.0.0.1 ::1"}, {0}};
    fake_resolver_set(names);
    struct loop *l = loop_new();
    struct asker a = {0};
    struct address where = {.kind = ADDRESS_TCP, .port = 5, .host = "x.test"};
    assert_int_equal(resolve_now(l, &where, &a.result), 0);
    assert_int_equal(a.result.count, 2);
    assert_string_equal(text_of(&a, 1), "[::1]:5");
    where = (struct address){.kind = ADDRESS_TCP, .port = 5, .host = "y.test"};
    assert_int_equal(resolve_now(l, &where, &a.result), -ENOENT);
    where = (struct address){.kind = ADDRESS_TCP, .port = 5, .host = "10.9.8.7"};
    assert_int_equal(resolve_now(l, &where, &a.result), 0);
    assert_string_equal(text_of(&a, 0), "10.9.8.7:5");
    loop_free(l);
}

int main(void)
{
    setenv("UV_THREADPOOL_SIZE", "4", 1); /* two lookups at a time */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_need_no_resolver),
        cmocka_unit_test(test_unix_paths),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_65_a_slow_name_does_not_hold_up_others),
        cmocka_unit_test(test_a_lookup_outlives_those_who_asked),
        cmocka_unit_test(test_65_an_abandoned_name_is_not_asked_for),
        cmocka_unit_test(test_cancel_before_the_answer),
        cmocka_unit_test(test_loop_free_with_lookups_under_way),
        cmocka_unit_test(test_resolve_now),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
