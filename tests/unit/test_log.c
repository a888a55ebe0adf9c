/* core/log.h */
#include "log.h"

#include "span.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int fds[2];
static char line[8192]; /* the record written last */

static int open_pipe(void **state)
{
    (void)state;
    return pipe(fds);
}

static int close_pipe(void **state)
{
    (void)state;
    close(fds[0]);
    close(fds[1]);
    log_setup(LOG_INFO, LOG_TEXT, STDERR_FILENO);
    return 0;
}

/* What one log_end wrote. A pipe keeps no boundaries, but each test reads after each record. */
static const char *written(void)
{
    ssize_t n = read(fds[0], line, sizeof(line) - 1);
    assert_true(n > 0 && n <= 4096);
    line[n] = '\0';
    assert_ptr_equal(strchr(line, '\n'), line + n - 1); /* one line, whole */
    return line;
}

static void expect_time(const char *ts)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ";
    for (size_t i = 0; i < sizeof(form) - 1; i++)
        assert_true(form[i] == 'd' ? isdigit((unsigned char)ts[i]) != 0 : ts[i] == form[i]);
}

static void begin(struct log_record *r, enum log_format format)
{
    log_setup(LOG_INFO, format, fds[1]);
    log_begin(r, LOG_INFO, "closed");
}

static void test_text_record(void **state)
{
    (void)state;
    struct log_record r;
    begin(&r, LOG_TEXT);
    log_num(&r, "conn", UINT64_MAX);
    log_int(&r, "native", -104);
    log_str(&r, "absent", NULL);
    log_str(&r, "client", "127.0.0.1:5");
    log_str(&r, "detail", "connection reset");
    log_str(&r, "empty", "");
    log_bytes(&r, "bytes", "ab=c", 3);
    log_end(&r);
    expect_time(written() + strlen("ts="));
    assert_string_equal(line + strlen("ts=2026-01-01T00:00:00.000Z"),
                        " level=info msg=closed conn=18446744073709551615 native=-104"
                        " client=127.0.0.1:5 detail=\"connection reset\" empty=\"\""
                        " bytes=\"ab=\"\n");
}

static void test_json_record(void **state)
{
    (void)state;
    struct log_record r;
    begin(&r, LOG_JSON);
    log_num(&r, "conn", 17);
    log_int(&r, "native", -104);
    log_str(&r, "client", "127.0.0.1:5");
    log_end(&r);
    expect_time(written() + strlen("{\"ts\":\""));
    assert_string_equal(line + strlen("{\"ts\":\"2026-01-01T00:00:00.000Z"),
                        "\",\"level\":\"info\",\"msg\":\"closed\",\"conn\":17,\"native\":-104,"
                        "\"client\":\"127.0.0.1:5\"}\n");
}

/* Checklist 17: whatever a peer sent, a record is one line of characters that do nothing. */
static void test_17_values_are_escaped(void **state)
{
    (void)state;
    static const struct {
        const char *value, *text, *json;
    } cases[] = {
        {"a\r\nlevel=error", "\"a\\r\\nlevel=error\"", "\"a\\r\\nlevel=error\""},
        {"\x1B[2J", "\"\\x1b[2J\"", "\"\\u001b[2J\""},
        {"\"q\\", "\"\\\"q\\\\\"", "\"\\\"q\\\\\""},
        {"\t\x7F", "\"\\t\\x7f\"", "\"\\t\\u007f\""},
        {"gr\xC3\xB6\xC3\x9F", "\"gr\xC3\xB6\xC3\x9F\"", "\"gr\xC3\xB6\xC3\x9F\""},
        {"\xF0\x9F\x8C\x8A", "\"\xF0\x9F\x8C\x8A\"", "\"\xF0\x9F\x8C\x8A\""},
        {"\xC2\x9B", "\"\\xc2\\x9b\"", "\"\\u009b\""},
        {"\xE2\x80\xA8", "\"\\xe2\\x80\\xa8\"", "\"\\u2028\""},
        {"\xE2\x80\xA9", "\"\\xe2\\x80\\xa9\"", "\"\\u2029\""},
        {"\xFFz", "\"\\xffz\"", "\"\\ufffdz\""},
        {"\xC3", "\"\\xc3\"", "\"\\ufffd\""},
        {"\xC3(", "\"\\xc3(\"", "\"\\ufffd(\""},
        {"\xED\xA0\x80", "\"\\xed\\xa0\\x80\"", "\"\\ufffd\\ufffd\\ufffd\""},
        {"\xC0\x80", "\"\\xc0\\x80\"", "\"\\ufffd\\ufffd\""},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct log_record r;
        begin(&r, LOG_TEXT);
        log_str(&r, "v", cases[i].value);
        log_end(&r);
        assert_non_null(strstr(written(), " v="));
        line[strlen(line) - 1] = '\0';
        assert_string_equal(strstr(line, " v=") + 3, cases[i].text);

        begin(&r, LOG_JSON);
        log_str(&r, "v", cases[i].value);
        log_end(&r);
        assert_non_null(strstr(written(), ",\"v\":"));
        line[strlen(line) - 2] = '\0'; /* "}\n" */
        assert_string_equal(strstr(line, ",\"v\":") + 5, cases[i].json);
    }
}

/* A flat object of strings, numbers and true; NULL, or where it stops being one. */
static const char *json_problem(const char *p)
{
    char before = '{';
    for (;; before = ',') {
        for (int part = 0; part < 2; part++) {
            if (*p++ != (part == 1 ? ':' : before))
                return p - 1;
            if (part == 1 && strncmp(p, "true", 4) == 0) {
                p += 4;
            } else if (part == 1 && *p != '"') {
                size_t n = strspn(p, "-0123456789");
                if (n == 0)
                    return p;
                p += n;
            } else {
                if (*p++ != '"')
                    return p - 1;
                while (*p != '"') {
                    if ((unsigned char)*p < 0x20)
                        return p;
                    if (*p == '\\' && p[1] == 'u' && strspn(p + 2, "0123456789abcdef") >= 4)
                        p += 6;
                    else if (*p == '\\' && p[1] != '\0' && strchr("\"\\nrt", p[1]) != NULL)
                        p += 2;
                    else if (*p == '\\')
                        return p;
                    else
                        p++;
                }
                p++;
            }
        }
        if (*p == '}')
            return strcmp(p, "}\n") == 0 ? NULL : p;
    }
}

static void test_json_check_can_fail(void **state)
{
    (void)state;
    assert_null(json_problem("{\"a\":1,\"b\":\"\\u00ffx\",\"c\":true}\n"));
    assert_non_null(json_problem("{\"a\":}\n"));
    assert_non_null(json_problem("{\"a\":\"x}\n"));
    assert_non_null(json_problem("{\"a\":\"\\x00\"}\n"));
    assert_non_null(json_problem("{\"a\":1\n"));
    assert_non_null(json_problem("{\"a\":1,}\n"));
}

/* Records of every size around the limit: cut, but whole. */
static void test_long_records_are_cut(void **state)
{
    (void)state;
    static char value[6000];
    for (int kind = 0; kind < 3; kind++) {
        memset(value, kind == 0 ? 'x' : kind == 1 ? '\x01' : '\xFF', sizeof(value));
        for (unsigned len = 500; len<sizeof(value); len += len> 3900 && len < 4200 ? 1 : 97) {
            for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
                struct log_record r;
                begin(&r, (enum log_format)format);
                log_bytes(&r, "v", value, len);
                log_num(&r, "number", 1234567890123456789);
                log_str(&r, "s", "value");
                log_int(&r, "i", -1);
                log_end(&r);
                written();
                bool is_whole = format == LOG_JSON ? strstr(line, ",\"i\":-1}\n") != NULL
                                                   : strstr(line, " i=-1\n") != NULL;
                bool is_cut = format == LOG_JSON ? strstr(line, ",\"cut\":true}\n") != NULL
                                                 : strstr(line, " cut=true\n") != NULL;
                assert_true(is_whole != is_cut);
                assert_int_equal(is_whole, !r.cut);
                if (format == LOG_JSON && json_problem(line) != NULL)
                    fail_msg("not JSON at: %.40s", json_problem(line));
            }
        }
    }
}

/* Checklist 17 again, by brute force. */
static void test_17_random_bytes_make_one_line(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int i = 0; i < 4000; i++) {
        char value[64];
        for (size_t k = 0; k < sizeof(value); k++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
            value[k] = (char)(seed >> 56);
        }
        struct log_record r;
        begin(&r, i % 2 == 0 ? LOG_TEXT : LOG_JSON);
        log_bytes(&r, "v", value, sizeof(value));
        log_end(&r);
        written();
        for (const char *p = line; p[1] != '\0'; p++)
            assert_true((unsigned char)*p >= 0x20 && *p != 0x7F);
        if (i % 2 == 1 && json_problem(line) != NULL)
            fail_msg("not JSON at: %.40s", json_problem(line));
    }
}

static void test_levels(void **state)
{
    (void)state;
    log_setup(LOG_WARN, LOG_TEXT, fds[1]);
    log_line(LOG_INFO, "%s", "unwanted");
    struct log_record r;
    log_begin(&r, LOG_DEBUG, "unwanted");
    log_str(&r, "key", "value");
    log_end(&r);
    log_line(LOG_ERROR, "%d %s", 3, "things");
    assert_non_null(strstr(written(), "Z level=error msg=\"3 things\"\n"));
    log_line(LOG_WARN, "x");
    assert_non_null(strstr(written(), "Z level=warn msg=x\n"));

    enum log_level level = LOG_INFO;
    enum log_format format = LOG_TEXT;
    assert_true(log_level_parse("debug", &level) && level == LOG_DEBUG);
    assert_true(log_level_parse("error", &level) && level == LOG_ERROR);
    assert_false(log_level_parse("Error", &level) || log_level_parse("", &level));
    assert_true(log_format_parse("json", &format) && format == LOG_JSON);
    assert_true(log_format_parse("text", &format) && format == LOG_TEXT);
    assert_false(log_format_parse("xml", &format));
}

static void test_journal_gets_a_priority_for_the_time(void **state)
{
    (void)state;
    struct stat st;
    char name[64];
    assert_int_equal(fstat(fds[1], &st), 0);
    snprintf(name, sizeof(name), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    assert_int_equal(setenv("JOURNAL_STREAM", name, 1), 0);
    log_setup(LOG_DEBUG, LOG_TEXT, fds[1]);
    log_line(LOG_DEBUG, "x");
    assert_string_equal(written(), "<7>level=debug msg=x\n");
    log_line(LOG_ERROR, "x");
    assert_string_equal(written(), "<3>level=error msg=x\n");
    log_setup(LOG_DEBUG, LOG_JSON, fds[1]);
    log_line(LOG_ERROR, "x");
    assert_int_equal(strncmp(written(), "{\"ts\":", 6), 0);

    /* inherited, but stderr was redirected since */
    assert_int_equal(setenv("JOURNAL_STREAM", "1:1", 1), 0);
    log_setup(LOG_DEBUG, LOG_TEXT, fds[1]);
    log_line(LOG_ERROR, "x");
    expect_time(written() + strlen("ts="));
    unsetenv("JOURNAL_STREAM");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_record),
        cmocka_unit_test(test_json_record),
        cmocka_unit_test(test_17_values_are_escaped),
        cmocka_unit_test(test_json_check_can_fail),
        cmocka_unit_test(test_long_records_are_cut),
        cmocka_unit_test(test_17_random_bytes_make_one_line),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_journal_gets_a_priority_for_the_time),
    };
    return cmocka_run_group_tests(tests, open_pipe, close_pipe);
}
