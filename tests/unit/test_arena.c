/* Memory given back at once, and the lists that live in it. */
#include "word_list.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_blocks_are_zeroed_aligned_and_apart(void **state)
{
    struct arena a = {0};
    char *blocks[8];

    (void)state;
    for (size_t i = 0; i < 8; i++) {
        blocks[i] = arena_alloc(&a, 33);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % _Alignof(max_align_t), 0);
        for (size_t k = 0; k < 33; k++)
            assert_int_equal(blocks[i][k], 0);
        memset(blocks[i], (int)i + 1, 33);
    }
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(blocks[i][32], i + 1);
    assert_null(arena_alloc(&a, SIZE_MAX - 8));
    arena_clear(&a);
    arena_clear(&a);
    assert_null(a.newest);
}

static void test_copies_end(void **state)
{
    struct arena a = {0};

    (void)state;
    assert_string_equal(arena_copy(&a, "abcdef", 3), "abc");
    assert_string_equal(arena_copy(&a, "", 0), "");
    arena_clear(&a);
}

static void test_list_grows_to_its_limit(void **state)
{
    struct arena a = {0};
    struct word_list list = {0};
    char word[16];

    (void)state;
    for (unsigned i = 0; i < WORD_LIST_MAX; i++) {
        int len = snprintf(word, sizeof(word), "w%u", i);
        assert_int_equal(word_list_add(&list, arena_copy(&a, word, (size_t)len), &a), 0);
    }
    assert_int_equal(word_list_add(&list, "one more", &a), -ENOSPC);
    assert_int_equal(list.count, WORD_LIST_MAX);
    for (unsigned i = 0; i < WORD_LIST_MAX; i++) {
        (void)snprintf(word, sizeof(word), "w%u", i);
        assert_string_equal(list.items[i], word);
    }
    arena_clear(&a);
}

static void test_text_is_split(void **state)
{
    struct arena a = {0};
    struct word_list list = {0};

    (void)state;
    assert_int_equal(word_list_split(&list, " a, bc\t,,d ", ", \t", &a), 0);
    assert_int_equal(word_list_split(&list, "e f", ",", &a), 0);
    assert_int_equal(word_list_split(&list, " ,\t", ", \t", &a), -EINVAL);
    assert_int_equal(list.count, 4);
    assert_string_equal(list.items[0], "a");
    assert_string_equal(list.items[1], "bc");
    assert_string_equal(list.items[2], "d");
    assert_string_equal(list.items[3], "e f");
    arena_clear(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_zeroed_aligned_and_apart),
        cmocka_unit_test(test_copies_end),
        cmocka_unit_test(test_list_grows_to_its_limit),
        cmocka_unit_test(test_text_is_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
