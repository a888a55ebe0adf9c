/* What counts as a change of a file, and when it is told. */
#include "file_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define INTERVAL_MS 1000

static char folder[] = "/tmp/tidegate-watch-XXXXXX";
static char cert[64], key[64], fresh[64], absent[64], link_path[64], first_dir[64], second_dir[64];
static struct scheduler scheduler;
static struct file_watch *watch;
static int told;

static void on_change(void *arg)
{
    assert_ptr_equal(arg, &told);
    told++;
}

static void write_file(const char *path, const char *content)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(content, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void replace_file(const char *path, const char *content)
{
    write_file(fresh, content);
    assert_int_equal(rename(fresh, path), 0);
}

/* How often it was told by the next look. */
static int look(void)
{
    told = 0;
    scheduler_advance(&scheduler, scheduler.now_ms + INTERVAL_MS);
    return told;
}

static int begin(void **state)
{
    (void)state;
    scheduler_init(&scheduler, 5000);
    write_file(cert, "a certificate");
    write_file(key, "a key");
    watch = file_watch_new(&scheduler, INTERVAL_MS, on_change, &told);
    assert_non_null(watch);
    assert_int_equal(file_watch_add(watch, cert), 0);
    assert_int_equal(file_watch_add(watch, key), 0);
    assert_int_equal(file_watch_add(watch, NULL), 0);
    return 0;
}

static int end(void **state)
{
    uint64_t at_ms;
    (void)state;
    file_watch_free(watch);
    assert_false(scheduler_next(&scheduler, &at_ms));
    return 0;
}

static void test_no_change(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(look(), 0);
}

static void test_told_once_when_two_looks_agree(void **state)
{
    (void)state;
    replace_file(cert, "another certificate");
    assert_int_equal(look(), 0);
    assert_int_equal(look(), 1);
    assert_int_equal(look(), 0);
    write_file(cert, "in place, a third one");
    assert_int_equal(look(), 0);
    assert_int_equal(look(), 1);
    assert_int_equal(look(), 0);
}

static void test_a_pair_that_is_being_replaced(void **state)
{
    (void)state;
    replace_file(cert, "another certificate");
    assert_int_equal(look(), 0);
    replace_file(key, "its key");
    assert_int_equal(look(), 0);
    assert_int_equal(look(), 1);
    for (int i = 0; i < 5; i++) {
        write_file(key, &"growing growing"[10 - i]);
        assert_int_equal(look(), 0);
    }
    assert_int_equal(look(), 1);
}

static void test_back_before_it_was_told(void **state)
{
    (void)state;
    assert_int_equal(link(cert, absent), 0);
    replace_file(cert, "another certificate");
    assert_int_equal(look(), 0);
    assert_int_equal(rename(absent, cert), 0); /* the same file as in the beginning */
    assert_int_equal(look(), 0);
    assert_int_equal(look(), 0);
}

static void test_gone_and_back(void **state)
{
    (void)state;
    assert_int_equal(unlink(key), 0);
    assert_int_equal(look(), 0);
    assert_int_equal(look(), 1);
    assert_int_equal(look(), 0);
    write_file(key, "a key");
    assert_int_equal(look(), 0);
    assert_int_equal(look(), 1);
}

static void test_not_there_yet(void **state)
{
    (void)state;
    unlink(absent);
    assert_int_equal(file_watch_add(watch, absent), 0);
    assert_int_equal(look(), 0);
    assert_int_equal(look(), 0);
    write_file(absent, "now");
    assert_int_equal(look(), 0);
    assert_int_equal(look(), 1);
    assert_int_equal(unlink(absent), 0);
}

/* Kubernetes: files are links through a folder that is itself a link, and is turned in one step. */
static void test_a_link_in_its_path_is_turned(void **state)
{
    (void)state;
    char in_first[80], in_second[80], through[80], turned[80];
    snprintf(in_first, sizeof in_first, "%s/cert", first_dir);
    snprintf(in_second, sizeof in_second, "%s/cert", second_dir);
    snprintf(through, sizeof through, "%s/cert", link_path);
    snprintf(turned, sizeof turned, "%s-new", link_path);
    assert_int_equal(mkdir(first_dir, 0700) | mkdir(second_dir, 0700), 0);
    write_file(in_first, "one");
    write_file(in_second, "two");
    assert_int_equal(symlink(first_dir, link_path), 0);
    assert_int_equal(file_watch_add(watch, through), 0);
    assert_int_equal(look(), 0);
    assert_int_equal(symlink(second_dir, turned), 0);
    assert_int_equal(rename(turned, link_path), 0);
    assert_int_equal(look(), 0);
    assert_int_equal(look(), 1);
    assert_int_equal(look(), 0);
    assert_int_equal(unlink(link_path) | unlink(in_first) | unlink(in_second), 0);
    assert_int_equal(rmdir(first_dir) | rmdir(second_dir), 0);
}

static void test_what_is_noted_is_no_change(void **state)
{
    (void)state;
    replace_file(cert, "another certificate");
    file_watch_note(watch);
    assert_int_equal(look(), 0);
    assert_int_equal(look(), 0);
    replace_file(cert, "a third certificate");
    assert_int_equal(look(), 0);
    file_watch_note(watch);
    assert_int_equal(look(), 0);
    assert_int_equal(look(), 0);
}

static void test_no_interval_no_look(void **state)
{
    (void)state;
    struct file_watch *blind = file_watch_new(&scheduler, 0, on_change, &told);
    assert_non_null(blind);
    assert_int_equal(file_watch_add(blind, cert), 0);
    file_watch_free(watch);
    watch = NULL;
    replace_file(cert, "another certificate");
    assert_int_equal(look(), 0);
    assert_int_equal(look(), 0);
    file_watch_note(blind);
    file_watch_free(blind);
}

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(cert, sizeof cert, "%s/cert", folder);
    snprintf(key, sizeof key, "%s/key", folder);
    snprintf(fresh, sizeof fresh, "%s/fresh", folder);
    snprintf(absent, sizeof absent, "%s/absent", folder);
    snprintf(link_path, sizeof link_path, "%s/data", folder);
    snprintf(first_dir, sizeof first_dir, "%s/first", folder);
    snprintf(second_dir, sizeof second_dir, "%s/second", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(cert);
    unlink(key);
    return rmdir(folder);
}

#define WATCH_TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WATCH_TEST(test_no_change),
        WATCH_TEST(test_told_once_when_two_looks_agree),
        WATCH_TEST(test_a_pair_that_is_being_replaced),
        WATCH_TEST(test_back_before_it_was_told),
        WATCH_TEST(test_gone_and_back),
        WATCH_TEST(test_not_there_yet),
        WATCH_TEST(test_a_link_in_its_path_is_turned),
        WATCH_TEST(test_what_is_noted_is_no_change),
        WATCH_TEST(test_no_interval_no_look),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
