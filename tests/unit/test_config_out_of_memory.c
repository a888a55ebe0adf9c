/* Every allocation of reading a configuration fails once: it is told, and nothing leaks. */
#include "config_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static unsigned allowed; /* allocations until one fails */
static bool has_failed;

static bool may_go(void)
{
    if (allowed-- > 0)
        return true;
    allowed = 0;
    has_failed = true;
    return false;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size)
{
    return may_go() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return may_go() ? __real_calloc(count, size) : NULL;
}

void *__wrap_realloc(void *old, size_t size)
{
    return may_go() ? __real_realloc(old, size) : NULL;
}

static void test_every_allocation(void **state)
{
    static const char text[] =
        "listen: [127.0.0.1:1, 127.0.0.1:2]\n"
        "backend: [127.0.0.1:3, tls://a:4]\n"
        "tls-cert: [a, b, c]\ntls-key: [d, e, f]\nclient-ca: g\n"
        "allow-from: [10.0.0.0/8, 127.0.0.1]\n"
        "routes:\n"
        "  - {name: a, host: b, path: /c/*, allow-origin: [https://d, https://e]}\n"
        "  - {name: b, tokens: x, allow-client-name: [DNS:a, DNS:b], target: ['a:1 b:2', 'c:*']}\n";
    char path[] = "/tmp/tidegate-config-XXXXXX", problem[OPTIONS_PROBLEM_MAX];
    char *argv[] = {(char *)(uintptr_t) "--config", path};
    static struct settings settings;
    enum options_result result;
    unsigned n = 0;
    int fd;

    (void)state;
    allowed = UINT32_MAX;
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
    do {
        allowed = n++;
        has_failed = false;
        result = options_parse(COMMAND_SERVE, 2, argv, &settings, problem);
        allowed = UINT32_MAX;
        options_forget(&settings);
        if (has_failed) {
            assert_int_not_equal(result, OPTIONS_OK);
            if (strstr(problem, "out of memory") == NULL &&
                strstr(problem, "Cannot allocate memory") == NULL)
                fail_msg("allocation %u: %s", n, problem);
        }
    } while (has_failed);
    assert_int_equal(result, OPTIONS_OK);
    assert_true(n > 40);
    assert_int_equal(unlink(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_allocation)};

    allowed = UINT32_MAX;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
