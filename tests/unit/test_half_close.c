/* wire/half_close.h: docs/protocol.md section 4 */
#include "half_close.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct half_close_message parse_bytes(const char *text, size_t len)
{
    uint8_t *copy = malloc(len + 1); /* not terminated: a sanitizer sees a byte too far */
    uint8_t *exact = realloc(copy, len > 0 ? len : 1);
    memcpy(exact, text, len);
    struct half_close_message m = half_close_parse((struct span){exact, len});
    free(exact);
    return m;
}

static void expect(const char *text, enum half_close_type type, uint64_t number)
{
    struct half_close_message m = parse_bytes(text, strlen(text));
    if (m.type != type || m.number != number)
        fail_msg("'%s' is %d %llu", text, m.type, (unsigned long long)m.number);
}

static void test_39_good_messages(void **state)
{
    (void)state;
    expect("FIN 0", HALF_CLOSE_FIN, 0);
    expect("FIN 5", HALF_CLOSE_FIN, 5);
    expect("FIN 9007199254740991", HALF_CLOSE_FIN, HALF_CLOSE_NUMBER_MAX);
    expect("WINDOW 0", HALF_CLOSE_WINDOW, 0);
    expect("WINDOW 1048576", HALF_CLOSE_WINDOW, 1048576);
    expect("WINDOW 9007199254740991", HALF_CLOSE_WINDOW, HALF_CLOSE_NUMBER_MAX);
}

static void test_39_malformed_numbers(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "0 ",
                                      "00",
                                      "01",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1.0",
                                      "1e3",
                                      "0x1",
                                      "1 2",
                                      "5\n",
                                      "\t5",
                                      "9007199254740992",
                                      "10000000000000000",
                                      "18446744073709551621",
                                      "99999999999999999999999999999999999999999999999999999999",
                                      "\xD9\xA1",
                                      "five"};
    for (size_t i = 0; i < array_count(bad); i++) {
        char text[128];
        snprintf(text, sizeof(text), "FIN %s", bad[i]);
        expect(text, HALF_CLOSE_INVALID, 0);
        snprintf(text, sizeof(text), "WINDOW %s", bad[i]);
        expect(text, HALF_CLOSE_INVALID, 0);
    }
}

static void test_39_malformed_words(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",      " ",     "FIN",    "FIN5",  "FIN  5",  " FIN 5",     "FIN\t5",      "FIN-5",
        "5 FIN", "WINDO", "WINDOW", "-x 5",  "_x 5",    "x_y 5",      "f\xC3\xB6 5", "x",
        "x ",    "x  y",  "x\ty",   "x y\n", "x y\x7F", "x \xC3\xA4", "x \x01"};
    for (size_t i = 0; i < array_count(bad); i++)
        expect(bad[i], HALF_CLOSE_INVALID, 0);
    assert_int_equal(parse_bytes("FIN 5\0", 6).type, HALF_CLOSE_INVALID);
    assert_int_equal(parse_bytes("FIN\0005", 5).type, HALF_CLOSE_INVALID);
    assert_int_equal(parse_bytes("x a\0b", 5).type, HALF_CLOSE_INVALID);
}

/* An upper-case first letter is critical, a lower-case one is not. */
static void test_39_unknown_words(void **state)
{
    (void)state;
    expect("Fin 5", HALF_CLOSE_INVALID, 0);
    expect("FINE 5", HALF_CLOSE_INVALID, 0);
    expect("RESET 5", HALF_CLOSE_INVALID, 0);
    expect("X 5", HALF_CLOSE_INVALID, 0);
    expect("fin 5", HALF_CLOSE_IGNORED, 0);
    expect("window 99999999999999999999", HALF_CLOSE_IGNORED, 0);
    expect("x y", HALF_CLOSE_IGNORED, 0);
    expect("x-2-Y any printable ~ argument", HALF_CLOSE_IGNORED, 0);
}

static void test_39_length(void **state)
{
    (void)state;
    char text[200];
    memset(text, 'a', sizeof(text));
    text[1] = ' ';
    assert_int_equal(parse_bytes(text, 125).type, HALF_CLOSE_IGNORED);
    assert_int_equal(parse_bytes(text, 126).type, HALF_CLOSE_INVALID);
    assert_int_equal(parse_bytes(text, 200).type, HALF_CLOSE_INVALID);
}

static void test_written_is_read(void **state)
{
    (void)state;
    for (uint64_t n = 0; n <= HALF_CLOSE_NUMBER_MAX;
         n = n == HALF_CLOSE_NUMBER_MAX ? n + 1 : n * 3 + 1) {
        if (n > HALF_CLOSE_NUMBER_MAX / 3)
            n = HALF_CLOSE_NUMBER_MAX;
        for (int type = HALF_CLOSE_FIN; type <= HALF_CLOSE_WINDOW; type++) {
            uint8_t out[HALF_CLOSE_TEXT_MAX];
            struct half_close_message m = {(enum half_close_type)type, n};
            size_t len = half_close_write(m, out);
            struct half_close_message back = parse_bytes((char *)out, len);
            assert_int_equal(back.type, m.type);
            assert_int_equal(back.number, m.number);
        }
    }
}

/* docs/protocol.md section 9 */
static void test_written_form(void **state)
{
    (void)state;
    uint8_t out[HALF_CLOSE_TEXT_MAX];
    size_t n = half_close_write((struct half_close_message){HALF_CLOSE_FIN, 5}, out);
    assert_int_equal(n, 5);
    assert_memory_equal(out, "FIN 5", 5);
    n = half_close_write((struct half_close_message){HALF_CLOSE_WINDOW, 1048576}, out);
    assert_int_equal(n, 14);
    assert_memory_equal(out, "WINDOW 1048576", 14);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_39_good_messages),   cmocka_unit_test(test_39_malformed_numbers),
        cmocka_unit_test(test_39_malformed_words), cmocka_unit_test(test_39_unknown_words),
        cmocka_unit_test(test_39_length),          cmocka_unit_test(test_written_is_read),
        cmocka_unit_test(test_written_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
