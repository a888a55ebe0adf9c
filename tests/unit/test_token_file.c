/* proxy/serve/access/token_file.h, token_issue.h
 *
 * Linked with --wrap=crypto_equal: what is compared is counted. */
#include "token_file.h"
#include "token_issue.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- counting ---- */

static unsigned comparisons;
static size_t compared_bytes;

bool __real_crypto_equal(const void *a, const void *b, size_t len);
bool __wrap_crypto_equal(const void *a, const void *b, size_t len);
bool __wrap_crypto_equal(const void *a, const void *b, size_t len)
{
    comparisons++;
    compared_bytes += len;
    return __real_crypto_equal(a, b, len);
}

/* ---- tables ---- */

#define A64  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B64  "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define ABC  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" /* of "abc" */
#define NONE "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" /* of "" */

static void digest_of(const char *token, uint8_t digest[CRYPTO_SHA256_SIZE])
{
    struct crypto_sha256 *h = crypto_sha256_new();
    assert_non_null(h);
    crypto_sha256_update(h, token, strlen(token));
    crypto_sha256_finish(h, digest);
}

static int parse_bytes(const char *text, size_t len, struct token_file **out, char problem[512])
{
    struct text t;
    char *block = malloc(len > 0 ? len : 1); /* its exact size: a sanitizer sees a byte too far */
    assert_non_null(block);
    if (len > 0)
        memcpy(block, text, len);
    text_init(&t, problem, 512);
    int error = token_file_parse("tokens", block, len, out, &t);
    free(block);
    assert_true((error == 0) == (*out != NULL));
    assert_true((error == 0) == (problem[0] == '\0'));
    return error;
}

static struct token_file *parsed(const char *text)
{
    struct token_file *f;
    char problem[512];
    if (parse_bytes(text, strlen(text), &f, problem) != 0)
        fail_msg("%s", problem);
    return f;
}

static const char *find(const struct token_file *f, const char *token)
{
    uint8_t digest[CRYPTO_SHA256_SIZE];
    digest_of(token, digest);
    return token_file_find(f, digest);
}

static void test_reads_names_and_hashes(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "carol " ABC,
        "carol " ABC "\n",
        "# comment\n\n  \t\ncarol\t " ABC " \r\n#" A64,
        "alice " A64 "\n  carol  BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD\n"
        "bob " B64 "\n",
    };
    for (size_t i = 0; i < array_count(forms); i++) {
        struct token_file *f = parsed(forms[i]);
        assert_string_equal(find(f, "abc"), "carol");
        assert_null(find(f, "abd"));
        assert_null(find(f, ""));
        assert_true(token_file_has_name(f, "carol"));
        assert_false(token_file_has_name(f, "caro"));
        assert_int_equal(token_file_count(f), i == 3 ? 3 : 1);
        token_file_free(f);
    }
    struct token_file *f = parsed("# nobody yet\n");
    assert_int_equal(token_file_count(f), 0);
    assert_null(find(f, "abc"));
    token_file_free(f);
    token_file_free(NULL);
}

static void test_bad_lines(void **state)
{
    (void)state;
    static const struct {
        const char *text, *problem;
    } cases[] = {
        {"alice", "tokens:1: a line is NAME SHA256HEX"},
        {"\nalice \n", "tokens:2: a line is NAME SHA256HEX"},
        {ABC "\n", "tokens:1: a line is NAME SHA256HEX"},
        {"alice " ABC " x\n", "tokens:1: a line is NAME SHA256HEX"},
        {"alice " ABC " #x\n", "tokens:1: a line is NAME SHA256HEX"},
        {"al/ice " ABC "\n",
         "tokens:1: a name is 1 to 64 letters, digits, '.', '_', '@', and '-' behind the first"},
        {"-alice " ABC "\n",
         "tokens:1: a name is 1 to 64 letters, digits, '.', '_', '@', and '-' behind the first"},
        {"al=ice " ABC "\n",
         "tokens:1: a name is 1 to 64 letters, digits, '.', '_', '@', and '-' behind the first"},
        {"\xc3\xa9 " ABC "\n",
         "tokens:1: a name is 1 to 64 letters, digits, '.', '_', '@', and '-' behind the first"},
        {"a" A64 " " ABC "\n",
         "tokens:1: a name is 1 to 64 letters, digits, '.', '_', '@', and '-' behind the first"},
        {"bob " B64 "\nalice secret\n",
         "tokens:2: no SHA-256 in 64 hex digits (tidegate token NAME makes a line)"},
        {"alice " ABC "a\n",
         "tokens:1: no SHA-256 in 64 hex digits (tidegate token NAME makes a line)"},
        {"alice g" B64 "\n",
         "tokens:1: no SHA-256 in 64 hex digits (tidegate token NAME makes a line)"},
        {"alice ga7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n",
         "tokens:1: no SHA-256 in 64 hex digits (tidegate token NAME makes a line)"},
        {"alice " NONE "\n", "tokens:1: this is the hash of an empty token"},
        {"alice " A64 "\n\nbob " B64 "\nalice " ABC "\n", "tokens:4: the same name as in line 1"},
        {"alice " A64 "\nbob " A64 "\n", "tokens:2: the same token as in line 1"},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct token_file *f;
        char problem[512];
        assert_int_equal(parse_bytes(cases[i].text, strlen(cases[i].text), &f, problem), -EINVAL);
        assert_string_equal(problem, cases[i].problem);
    }
    struct token_file *f;
    char problem[512];
    assert_int_equal(parse_bytes("al\0ice " ABC, 7 + 64, &f, problem), -EINVAL);
    assert_int_equal(parse_bytes("\0", 1, &f, problem), -EINVAL);
}

static void add_lines(char *text, size_t size, unsigned n)
{
    struct text t;
    text_init(&t, text, size);
    for (unsigned i = 0; i < n; i++)
        text_addf(&t, "n%u %064x\n", i, i + 1);
    assert_false(t.overflowed);
}

static void test_no_more_than_so_many(void **state)
{
    (void)state;
    static char text[80 * (TOKEN_FILE_ENTRIES_MAX + 1)];
    struct token_file *f;
    char problem[512];
    add_lines(text, sizeof(text), TOKEN_FILE_ENTRIES_MAX);
    f = parsed(text);
    assert_int_equal(token_file_count(f), TOKEN_FILE_ENTRIES_MAX);
    token_file_free(f);
    add_lines(text, sizeof(text), TOKEN_FILE_ENTRIES_MAX + 1);
    assert_int_equal(parse_bytes(text, strlen(text), &f, problem), -E2BIG);
    assert_string_equal(problem, "tokens:4097: more than 4096 tokens");
}

/* Whoever presents what, found first, last or not at all: the same comparisons of the same length.
 */
static void test_78_83_every_look_up_costs_the_same(void **state)
{
    (void)state;
    static char text[80 * 100], long_token[20000];
    memset(long_token, 'x', sizeof(long_token) - 1);
    static const char *const positions[] = {"abc first", "abc in the middle", "abc last", NULL};
    for (size_t at = 0; at < array_count(positions); at++) {
        struct text t;
        text_init(&t, text, sizeof(text));
        for (unsigned i = 0; i < 99; i++) {
            if (i == at * 49 && positions[at] != NULL)
                text_add(&t, "carol " ABC "\n");
            else
                text_addf(&t, "n%u %064x\n", i, i + 1);
        }
        struct token_file *f = parsed(text);
        const char *const tokens[] = {"abc", "abd", "bbc", "", "ab", "abcd", long_token};
        for (size_t i = 0; i < array_count(tokens); i++) {
            comparisons = 0;
            compared_bytes = 0;
            const char *name = find(f, tokens[i]);
            assert_int_equal(comparisons, 99);
            assert_int_equal(compared_bytes, 99 * CRYPTO_SHA256_SIZE);
            if (i == 0 && positions[at] != NULL)
                assert_string_equal(name, "carol");
            else
                assert_null(name);
        }
        token_file_free(f);
    }
}

/* ---- files ---- */

static char folder[] = "/tmp/tidegate-test-XXXXXX";
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/tokens", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void write_file(const char *text)
{
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    assert_int_equal(fclose(out), 0);
}

static void expect_file(const char *expected)
{
    static char text[4096];
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    text[fread(text, 1, sizeof(text) - 1, in)] = '\0';
    fclose(in);
    assert_string_equal(text, expected);
}

static int read_file(const char *from, struct token_file **out, char problem[512])
{
    struct text t;
    text_init(&t, problem, 512);
    int error = token_file_read(from, out, &t);
    assert_true((error == 0) == (*out != NULL));
    return error;
}

static void test_79_reads_a_file(void **state)
{
    (void)state;
    struct token_file *f;
    char problem[512], expected[512];
    write_file("carol " ABC "\n");
    assert_int_equal(read_file(path, &f, problem), 0);
    assert_string_equal(find(f, "abc"), "carol");
    token_file_free(f);

    write_file("carol " ABC "\nbad\n");
    assert_int_equal(read_file(path, &f, problem), -EINVAL);
    snprintf(expected, sizeof(expected), "%s:2: a line is NAME SHA256HEX", path);
    assert_string_equal(problem, expected);

    static const char *const empty[] = {"", "\n", "# carol " ABC "\n"};
    for (size_t i = 0; i < array_count(empty); i++) {
        write_file(empty[i]);
        assert_int_equal(read_file(path, &f, problem), -EINVAL);
        snprintf(expected, sizeof(expected), "%s: no token in it: nobody could connect", path);
        assert_string_equal(problem, expected);
    }
    unlink(path);
    assert_int_equal(read_file(path, &f, problem), -ENOENT);
    assert_non_null(strstr(problem, path));
    assert_int_equal(read_file(folder, &f, problem), -EISDIR);
    assert_int_equal(read_file("/dev/zero", &f, problem), -EFBIG);
}

/* ---- making ---- */

static void test_made_tokens_open(void **state)
{
    (void)state;
    char token[TOKEN_TEXT_SIZE], other[TOKEN_TEXT_SIZE], line[TOKEN_LINE_SIZE], name[65] = "";
    memset(name, 'n', TOKEN_NAME_MAX);
    assert_int_equal(token_issue_make(name, token, line), 0);
    assert_int_equal(strlen(token), 43);
    assert_int_equal(
        strspn(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"), 43);
    struct token_file *f = parsed(line);
    assert_string_equal(find(f, token), name);
    assert_int_equal(token_issue_make("bob", other, line), 0);
    assert_string_not_equal(token, other);
    assert_null(find(f, other));
    token_file_free(f);
}

static int append(const char *name, const char *line, char problem[512])
{
    struct text t;
    text_init(&t, problem, 512);
    return token_issue_append(path, name, line, &t);
}

static void test_append(void **state)
{
    (void)state;
    char problem[512], expected[512];
    struct stat s;
    unlink(path);
    mode_t mask = umask(022);
    assert_int_equal(append("alice", "alice " A64, problem), 0);
    umask(mask);
    expect_file("alice " A64 "\n");
    assert_int_equal(stat(path, &s), 0);
    assert_int_equal(s.st_mode & 0777, 0644);
    assert_int_equal(append("bob", "bob " B64, problem), 0);
    expect_file("alice " A64 "\nbob " B64 "\n");
    assert_int_equal(append("alice", "alice " ABC, problem), -EEXIST);
    snprintf(expected, sizeof(expected), "%s: has a token for alice: take its line out first",
             path);
    assert_string_equal(problem, expected);
    expect_file("alice " A64 "\nbob " B64 "\n");

    write_file("# no newline at the end\nalice " A64);
    assert_int_equal(append("carol", "carol " ABC, problem), 0);
    expect_file("# no newline at the end\nalice " A64 "\ncarol " ABC "\n");

    write_file("alice\n");
    assert_int_equal(append("bob", "bob " B64, problem), -EINVAL);
    expect_file("alice\n");

    static char text[80 * TOKEN_FILE_ENTRIES_MAX];
    add_lines(text, sizeof(text), TOKEN_FILE_ENTRIES_MAX);
    write_file(text);
    assert_int_equal(append("bob", "bob " B64, problem), -E2BIG);
}

/* The file is what it was if a write stops halfway. */
static void test_append_without_room(void **state)
{
    (void)state;
    write_file("alice " A64 "\n");
    pid_t child = fork();
    if (child == 0) { /* the limit stays with it, and so does the signal */
        struct rlimit limit = {100, 100};
        char problem[512];
        signal(SIGXFSZ, SIG_IGN);
        _exit(setrlimit(RLIMIT_FSIZE, &limit) == 0 && append("bob", "bob " B64, problem) < 0 &&
                      problem[0] != '\0'
                  ? 0
                  : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    expect_file("alice " A64 "\n");
}

/* Both lines, neither in the other. */
static void test_append_by_two(void **state)
{
    (void)state;
    unlink(path);
    pid_t children[8];
    for (unsigned i = 0; i < array_count(children); i++) {
        children[i] = fork();
        if (children[i] == 0) {
            int error = 0;
            for (unsigned k = 0; k < 10 && error == 0; k++) {
                char name[32], line[TOKEN_LINE_SIZE], token[TOKEN_TEXT_SIZE], problem[512];
                snprintf(name, sizeof(name), "n%u.%u", i, k);
                error = token_issue_make(name, token, line) == 0 ? append(name, line, problem) : -1;
            }
            _exit(error == 0 ? 0 : 1);
        }
    }
    for (unsigned i = 0; i < array_count(children); i++) {
        int status = -1;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    struct token_file *f;
    char problem[512];
    assert_int_equal(read_file(path, &f, problem), 0);
    assert_int_equal(token_file_count(f), 80);
    token_file_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_names_and_hashes),
        cmocka_unit_test(test_bad_lines),
        cmocka_unit_test(test_no_more_than_so_many),
        cmocka_unit_test(test_78_83_every_look_up_costs_the_same),
        cmocka_unit_test(test_79_reads_a_file),
        cmocka_unit_test(test_made_tokens_open),
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_append_without_room),
        cmocka_unit_test(test_append_by_two),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
