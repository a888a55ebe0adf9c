/* core/cause.h */
#include "cause.h"

#include "span.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_names_are_labels(void **state)
{
    (void)state;
    for (int i = 0; i < CAUSE_COUNT; i++) {
        const char *name = cause_name((enum cause_what)i);
        assert_true(strlen(name) > 0);
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-"), strlen(name));
        for (int k = 0; k < i; k++)
            assert_string_not_equal(name, cause_name((enum cause_what)k));
        assert_true(strlen(cause_text((enum cause_what)i)) <= 123);
    }
    assert_string_equal(cause_name(CAUSE_VIOLATION), "half-close-violation");
    assert_string_equal(cause_where_name(CAUSE_AT_PROXY), "proxy");
    assert_string_equal(cause_where_name(CAUSE_AT_CLIENT), "client");
    assert_string_equal(cause_where_name(CAUSE_AT_BACKEND), "backend");
}

/* docs/protocol.md section 5 */
static void test_close_codes(void **state)
{
    (void)state;
    static const struct {
        enum cause_what what;
        unsigned code;
    } cases[] = {
        {CAUSE_OK, 1000},        {CAUSE_SHUTDOWN, 1001},          {CAUSE_WS_VIOLATION, 1002},
        {CAUSE_NOT_UTF8, 1007},  {CAUSE_INTERNAL, 1011},          {CAUSE_RESET, 4000},
        {CAUSE_VIOLATION, 4001}, {CAUSE_TRUNCATED, 4002},         {CAUSE_UNREACHABLE, 4003},
        {CAUSE_IDLE, 4005},      {CAUSE_HALF_CLOSED, 4006},       {CAUSE_CONNECT_TIMEOUT, 4004},
        {CAUSE_LIFETIME, 1012},  {CAUSE_HALF_CLOSED_LIMIT, 1013}, {CAUSE_BAD_HANDSHAKE, 0},
    };
    for (size_t i = 0; i < array_count(cases); i++)
        assert_int_equal(cause_close_code(cases[i].what), cases[i].code);
}

static void test_from_errno(void **state)
{
    (void)state;
    static const struct {
        int native;
        enum cause_what what;
    } cases[] = {
        {-ECONNRESET, CAUSE_RESET},
        {-EPIPE, CAUSE_RESET},
        {-ETIMEDOUT, CAUSE_TCP_TIMEOUT},
        {-EHOSTUNREACH, CAUSE_TCP_TIMEOUT},
        {-ENETUNREACH, CAUSE_TCP_TIMEOUT},
        {-ENOMEM, CAUSE_NO_MEMORY},
        {-ENOBUFS, CAUSE_NO_MEMORY},
        {-ECONNREFUSED, CAUSE_UNREACHABLE},
        {-ENOENT, CAUSE_UNREACHABLE},
        {-EIO, CAUSE_IO_ERROR},
        {-4095 /* UV_EOF */, CAUSE_IO_ERROR},
        {INT_MIN, CAUSE_IO_ERROR},
        {0, CAUSE_IO_ERROR},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct cause c = cause_from_errno(cases[i].native);
        assert_int_equal(c.what, cases[i].what);
        assert_int_equal(c.native, cases[i].native);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_labels),
        cmocka_unit_test(test_close_codes),
        cmocka_unit_test(test_from_errno),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
