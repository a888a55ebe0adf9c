/* Metrics and JSON as text: escaping, and all of it in pieces that are never too long. */
#include "exposition.h"
#include "json.h"
#include "metric.h"
#include "span.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WHOLE_MAX 4194304

static char whole[WHOLE_MAX], other[WHOLE_MAX];

static void test_a_head_and_its_samples(void **state)
{
    static const struct metric_label labels[] = {{"a", "plain"}, {"b", "a\\b\"c\nd"}, {NULL, NULL}};
    char buffer[1024];
    struct text t;

    (void)state;
    text_init(&t, buffer, sizeof(buffer));
    metric_head(&t, "x_total", METRIC_COUNTER, "one\\two\n\"three\"");
    metric_number(&t, "x_total", NULL, UINT64_MAX);
    metric_number(&t, "x_total", labels, 0);
    assert_string_equal(buffer, "# HELP x_total one\\\\two\\n\"three\"\n"
                                "# TYPE x_total counter\n"
                                "x_total 18446744073709551615\n"
                                "x_total{a=\"plain\",b=\"a\\\\b\\\"c\\nd\"} 0\n");
}

static void test_seconds(void **state)
{
    static const struct {
        uint64_t ms;
        const char *text;
    } rows[] = {{0, "x 0\n"},
                {1, "x 0.001\n"},
                {10, "x 0.01\n"},
                {100, "x 0.1\n"},
                {120, "x 0.12\n"},
                {1000, "x 1\n"},
                {1500, "x 1.5\n"},
                {60000, "x 60\n"},
                {1005, "x 1.005\n"},
                {100000, "x 100\n"},
                {UINT64_C(1795356401118), "x 1795356401.118\n"}};
    char buffer[64];
    struct text t;

    (void)state;
    for (size_t i = 0; i < array_count(rows); i++) {
        text_init(&t, buffer, sizeof(buffer));
        metric_seconds(&t, "x", NULL, rows[i].ms);
        assert_string_equal(buffer, rows[i].text);
    }
}

static void test_histogram_is_cumulative(void **state)
{
    static const struct histogram_scale scale = {2, {100, 1000}};
    static const struct metric_label labels[] = {{"route", "a"}, {NULL, NULL}};
    const struct histogram h = {.buckets = {3, 0, 2}, .sum_ms = 4250};
    char buffer[1024];
    struct text t;

    (void)state;
    text_init(&t, buffer, sizeof(buffer));
    metric_histogram(&t, "x", labels, &scale, &h);
    assert_string_equal(buffer, "x_bucket{route=\"a\",le=\"0.1\"} 3\n"
                                "x_bucket{route=\"a\",le=\"1\"} 3\n"
                                "x_bucket{route=\"a\",le=\"+Inf\"} 5\n"
                                "x_sum{route=\"a\"} 4.25\n"
                                "x_count{route=\"a\"} 5\n");
}

static void test_json_strings(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"", "\"\""},
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"\x01\n\x7f", "\"\\u0001\\u000a\\u007f\""},
        {"\xc3\xa9\xf0\x9f\x98\x80", "\"\xc3\xa9\xf0\x9f\x98\x80\""},
        {"a\xff\xc3", "\"a\\ufffd\\ufffd\""},
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},
    };
    char buffer[64];
    struct text t;

    (void)state;
    for (size_t i = 0; i < array_count(rows); i++) {
        text_init(&t, buffer, sizeof(buffer));
        json_add_string(&t, rows[i].in);
        assert_string_equal(buffer, rows[i].out);
    }
}

/* ---- all of it ---- */

static void look(void *owner, struct exposition_state *out)
{
    (void)owner;
    *out = (struct exposition_state){
        .version = "1\"2", .libuv = "1", .mbedtls = "2", .llhttp = "3", .max_connections = 7};
}

/* The longest texts that can be: every number is large and there is one for each cause. */
static struct counters *full(unsigned routes)
{
    struct counters *c = counters_new();
    char name[ROUTE_NAME_MAX + 1];
    struct text t;

    assert_non_null(c);
    for (unsigned i = 0; i < routes; i++) {
        text_init(&t, name, sizeof(name));
        text_addf(&t, "%064u", i);
        memset(counters_route(c, name), 0x7f, sizeof(struct route_counts));
    }
    memset(&c->unrouted.counts, 0x7f, sizeof(c->unrouted.counts));
    memset(&c->loop, 0x7f, sizeof(c->loop));
    return c;
}

/* All, in pieces for which there are `room` bytes. Returns how many pieces. */
static unsigned write_all(const struct counters *c, size_t room, char *to)
{
    struct exposition e;
    unsigned pieces = 0;
    bool is_last = false;

    exposition_init(&e, &c, 1, look, NULL);
    for (size_t len = 0; !is_last; pieces++) {
        struct text t;
        text_init(&t, to + len, room);
        is_last = exposition_next(&e, &t);
        assert_false(t.overflowed);
        len += t.len;
        assert_true(len + room < WHOLE_MAX);
    }
    return pieces;
}

static void test_pieces_fit_and_make_a_whole(void **state)
{
    struct counters *c = full(60);

    (void)state;
    unsigned many = write_all(c, EXPOSITION_PIECE, whole);
    unsigned few = write_all(c, (size_t)16 * EXPOSITION_PIECE, other);
    assert_true(few < many);
    assert_true(few > 10); /* no more than some families or rows at a time, however much room */
    /* but for what the process uses, which changes */
    char *process = strstr(whole, "# HELP process_"), *same = strstr(other, "# HELP process_");
    assert_non_null(process);
    assert_non_null(same);
    *process = *same = '\0';
    assert_string_equal(whole, other);
    assert_int_equal(whole[strlen(whole) - 1], '\n');
    counters_free(c);
}

static void test_causes_that_never_came_are_left_out(void **state)
{
    struct counters *c = counters_new();

    (void)state;
    assert_non_null(c);
    counters_route(c, "a");
    write_all(c, EXPOSITION_PIECE, whole);
    assert_non_null(strstr(whole, "closed_total{route=\"a\",cause=\"ok\",at=\"proxy\"} 0\n"));
    assert_null(strstr(whole, "cause=\"reset\""));
    counter_add(&counters_route(c, "a")->closed[CAUSE_RESET][CAUSE_AT_CLIENT], 1);
    write_all(c, EXPOSITION_PIECE, whole);
    assert_non_null(strstr(whole, "closed_total{route=\"a\",cause=\"reset\",at=\"client\"} 1\n"));
    /* Before a route is found there is nothing but handshakes. */
    assert_non_null(strstr(whole, "tidegate_handshakes_total{route=\"\",result=\"ok\"} 0\n"));
    assert_null(strstr(whole, "tidegate_connections_active{route=\"\"}"));
    assert_non_null(strstr(whole, "version=\"1\\\"2\""));
    counters_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_head_and_its_samples),
        cmocka_unit_test(test_seconds),
        cmocka_unit_test(test_histogram_is_cumulative),
        cmocka_unit_test(test_json_strings),
        cmocka_unit_test(test_pieces_fit_and_make_a_whole),
        cmocka_unit_test(test_causes_that_never_came_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
