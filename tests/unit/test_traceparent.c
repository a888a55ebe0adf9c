/* wire/traceparent.h */
#include "traceparent.h"

#include "span.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TRACE  "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"
#define GOOD   "00-" TRACE "-" PARENT "-01"

static void test_good(void **state)
{
    (void)state;
    static const char *const good[] = {
        GOOD,
        "00-" TRACE "-" PARENT "-00",
        "00-" TRACE "-" PARENT "-ff",
        "01-" TRACE "-" PARENT "-01",
        "fe-" TRACE "-" PARENT "-01-what-comes-then",
        "cc-" TRACE "-" PARENT "-01-",
    };
    for (size_t i = 0; i < array_count(good); i++) {
        char id[TRACEPARENT_ID_SIZE] = "x";
        assert_true(traceparent_parse(good[i], id));
        assert_string_equal(id, TRACE);
    }
}

static void expect_bad(const char *value)
{
    char id[TRACEPARENT_ID_SIZE] = "x";
    if (traceparent_parse(value, id))
        fail_msg("'%s' is taken", value);
    assert_string_equal(id, "");
}

static void test_bad(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "00-00000000000000000000000000000000-" PARENT "-01",
        "00-" TRACE "-0000000000000000-01",
        "ff-" TRACE "-" PARENT "-01",
        "FF-" TRACE "-" PARENT "-01",
        "0-" TRACE "-" PARENT "-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01",
        "00-" TRACE "-00F067AA0BA902B7-01",
        "00-" TRACE "-" PARENT "-0A",
        "00-" TRACE "-" PARENT "-0g",
        "00-" TRACE "-" PARENT "-01 ",
        "00-" TRACE "-" PARENT "-01-",
        "00-" TRACE "-" PARENT "-01-x",
        "00-" TRACE "-" PARENT "-010",
        "01-" TRACE "-" PARENT "-010",
        "01-" TRACE "-" PARENT "-01, " GOOD,
        GOOD ", " GOOD,
        " " GOOD,
        "00_" TRACE "-" PARENT "-01",
        "00-" TRACE "0-" PARENT "-1",
        "00-" TRACE "--f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473g-" PARENT "-01",
    };
    for (size_t i = 0; i < array_count(bad); i++)
        expect_bad(bad[i]);
    char id[TRACEPARENT_ID_SIZE] = "x";
    assert_false(traceparent_parse(NULL, id));
    assert_string_equal(id, "");
}

/* Every truncation, in a block of its exact size; and every character replaced. */
static void test_every_character_counts(void **state)
{
    (void)state;
    for (size_t len = 0; len < strlen(GOOD); len++) {
        char *copy = malloc(len + 1);
        assert_non_null(copy);
        memcpy(copy, GOOD, len);
        copy[len] = '\0';
        expect_bad(copy);
        free(copy);

        char changed[] = GOOD;
        changed[len] = 'x';
        expect_bad(changed);
        changed[len] = ' ';
        expect_bad(changed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_every_character_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
