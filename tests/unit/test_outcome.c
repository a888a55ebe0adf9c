/* proxy/tunnel/outcome.h: exit statuses, as docs/tunnel.md lists them */
#include "outcome.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <cmocka.h>

static void test_dials(void **state)
{
    (void)state;
    static const struct {
        enum dialer_failure failure;
        int http, status;
    } cases[] = {
        {DIALER_OK, 101, 0},          {DIALER_NO_NAME, 0, 68},   {DIALER_UNREACHABLE, 0, 69},
        {DIALER_DENIED, 401, 77},     {DIALER_DENIED, 407, 77},  {DIALER_REFUSED, 200, 76},
        {DIALER_REFUSED, 301, 76},    {DIALER_REFUSED, 404, 69}, {DIALER_REFUSED, 500, 69},
        {DIALER_REFUSED, 503, 69},    {DIALER_REFUSED, 426, 76}, {DIALER_PROTOCOL, 101, 76},
        {DIALER_SYSTEM, 0, EX_OSERR},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct dialer_result result = {
            .failure = cases[i].failure, .status = cases[i].http, .problem = "of some kind"};
        struct outcome o = outcome_of_dial(&result);
        if (o.status != cases[i].status)
            fail_msg("case %zu: %d", i, o.status);
        assert_int_equal(o.text[0] != '\0', o.status != 0);
    }
}

static void test_causes(void **state)
{
    (void)state;
    static const struct {
        enum cause_what what;
        enum cause_where where;
        int native, status;
        const char *text;
    } cases[] = {
        {CAUSE_OK, CAUSE_AT_PROXY, 0, 0, ""},
        {CAUSE_RESET, CAUSE_AT_BACKEND, -ECONNRESET, 74, "connection reset"},
        {CAUSE_LOST, CAUSE_AT_BACKEND, 0, 74, "lost"},
        {CAUSE_PING_TIMEOUT, CAUSE_AT_BACKEND, 0, 74, "ping"},
        {CAUSE_TRUNCATED, CAUSE_AT_BACKEND, 0, 74, "truncated"},
        {CAUSE_WS_VIOLATION, CAUSE_AT_BACKEND, 1002, 76, "protocol"},
        {CAUSE_VIOLATION, CAUSE_AT_BACKEND, 4001, 76, "violated"},
        {CAUSE_NO_MEMORY, CAUSE_AT_PROXY, 0, 71, "memory"},
        {CAUSE_IDLE, CAUSE_AT_PROXY, 0, 74, "idle"},
        {CAUSE_RESET, CAUSE_AT_CLIENT, -EPIPE, 74, "nobody reads"},
        {CAUSE_IO_ERROR, CAUSE_AT_CLIENT, -ENOSPC, 74, "No space"},
        {CAUSE_CLOSED, CAUSE_AT_BACKEND, 1000, 74, "1000"},
        {CAUSE_CLOSED, CAUSE_AT_BACKEND, 1001, 74, "1001, going away"},
        {CAUSE_CLOSED, CAUSE_AT_BACKEND, 1013, 69, "1013, too many half-closed"},
        {CAUSE_CLOSED, CAUSE_AT_BACKEND, 1012, 74, "1012, open long enough"},
        {CAUSE_CLOSED, CAUSE_AT_BACKEND, 1002, 76, "1002, WebSocket"},
        {CAUSE_CLOSED, CAUSE_AT_BACKEND, 1008, 77, "1008"},
        {CAUSE_CLOSED, CAUSE_AT_BACKEND, 4000, 74, "reset behind the server"},
        {CAUSE_CLOSED, CAUSE_AT_BACKEND, 4003, 69, "backend unreachable"},
        {CAUSE_CLOSED, CAUSE_AT_BACKEND, 4004, 69, "did not accept in time"},
        {CAUSE_CLOSED, CAUSE_AT_BACKEND, 4006, 74, "half-closed"},
        {CAUSE_CLOSED, CAUSE_AT_BACKEND, 4999, 74, "4999"},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct outcome o =
            outcome_of_cause((struct cause){cases[i].what, cases[i].where, cases[i].native});
        if (o.status != cases[i].status || strstr(o.text, cases[i].text) == NULL)
            fail_msg("case %zu: %d, %s", i, o.status, o.text);
        assert_int_equal(o.text[0] != '\0', o.status != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dials),
        cmocka_unit_test(test_causes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
