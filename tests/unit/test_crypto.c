/* core/crypto.h */
#include "crypto.h"

#include "span.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void test_sha1(void **state)
{
    (void)state;
    uint8_t digest[CRYPTO_SHA1_SIZE];
    char hex[2 * CRYPTO_SHA1_SIZE + 1];
    assert_int_equal(crypto_sha1("abc", 3, digest), 0);
    crypto_hex(digest, sizeof(digest), hex);
    assert_string_equal(hex, "a9993e364706816aba3e25717850c26c9cd0d89d");
}

static void expect_sha256(const char *text, size_t step, const char *expected)
{
    struct crypto_sha256 *h = crypto_sha256_new();
    assert_non_null(h);
    crypto_sha256_update(h, NULL, 0);
    for (size_t i = 0; i < strlen(text); i += step)
        crypto_sha256_update(h, text + i, strlen(text) - i < step ? strlen(text) - i : step);
    uint8_t digest[CRYPTO_SHA256_SIZE];
    char hex[2 * CRYPTO_SHA256_SIZE + 1];
    crypto_sha256_finish(h, digest);
    crypto_hex(digest, sizeof(digest), hex);
    assert_string_equal(hex, expected);
}

/* FIPS 180-2 appendix B */
static void test_sha256(void **state)
{
    (void)state;
    const char *two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    for (size_t step = 1; step < 60; step++)
        expect_sha256(two_blocks, step,
                      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    expect_sha256("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect_sha256("", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    crypto_sha256_free(NULL);
    crypto_sha256_free(crypto_sha256_new());
}

/* RFC 4648 section 10 */
static void test_base64(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    for (size_t i = 0; i < array_count(pairs); i++) {
        char text[16];
        uint8_t bytes[16];
        size_t len = 99, n = strlen(pairs[i][0]), m = strlen(pairs[i][1]);
        assert_int_equal(crypto_base64_encode(pairs[i][0], n, text, m + 1), 0);
        assert_string_equal(text, pairs[i][1]);
        assert_int_equal(crypto_base64_encode(pairs[i][0], n, text, m), -ENOSPC);
        assert_int_equal(crypto_base64_decode(pairs[i][1], m, bytes, n, &len), 0);
        assert_int_equal(len, n);
        assert_memory_equal(bytes, pairs[i][0], n);
        if (n > 0) {
            assert_int_equal(crypto_base64_decode(pairs[i][1], m, bytes, n - 1, &len), -ENOSPC);
        }
    }
}

static void test_base64_is_strict(void **state)
{
    (void)state;
    static const char *const bad[] = {"Zg",       "Zg=",      "Zg===",    "Z===",       "====",
                                      "Zm9v\n",   "Zm9v\r\n", "Zm9 vYg=", "Zm9v Yg=",   "Zm=v",
                                      "Zg==Zg==", "Zm9-",     "Zm9_",     "\xC3\xA4==", "Zm9v    "};
    for (size_t i = 0; i < array_count(bad); i++) {
        uint8_t bytes[16];
        size_t len;
        if (crypto_base64_decode(bad[i], strlen(bad[i]), bytes, sizeof(bytes), &len) != -EINVAL)
            fail_msg("accepted '%s'", bad[i]);
        assert_int_equal(len, 0);
    }
    uint8_t bytes[16];
    size_t len;
    assert_int_equal(crypto_base64_decode("Zm9\0", 4, bytes, sizeof(bytes), &len), -EINVAL);
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x, y;
    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return x < y ? -1 : x > y;
}

/* Checklist 84: masking keys do not repeat, are not in sequence, and every bit moves. */
static void test_84_masking_keys_are_fresh(void **state)
{
    (void)state;
    enum { COUNT = 4096 };
    static uint32_t keys[COUNT];
    unsigned ones[32] = {0}, neighbours = 0;
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(crypto_random(&keys[i], 4), 0);
        for (unsigned bit = 0; bit < 32; bit++)
            ones[bit] += keys[i] >> bit & 1;
        neighbours += i > 0 && keys[i] - keys[i - 1] + 1 <= 2;
    }
    assert_true(neighbours <= 1);
    for (unsigned bit = 0; bit < 32; bit++) /* 9 standard deviations */
        assert_in_range(ones[bit], COUNT / 2 - 288, COUNT / 2 + 288);
    qsort(keys, COUNT, sizeof(keys[0]), compare_u32);
    unsigned repeats = 0; /* by chance: 4096^2 / 2^33 = 0.002 expected */
    for (size_t i = 1; i < COUNT; i++)
        repeats += keys[i] == keys[i - 1];
    assert_true(repeats <= 1);
}

static void test_random_takes_any_length(void **state)
{
    (void)state;
    for (size_t len = 0; len < 5000; len = len * 3 + 1) {
        uint8_t *bytes = calloc(1, len + 2);
        unsigned distinct = 0;
        assert_int_equal(crypto_random(bytes, len), 0);
        assert_int_equal(bytes[len], 0);
        for (size_t i = 1; i < len; i++)
            distinct += bytes[i] != bytes[i - 1];
        assert_true(distinct >= len / 2);
        free(bytes);
    }
}

static void *thread_random(void *out)
{
    return crypto_random(out, 16) == 0 ? out : NULL;
}

static void test_threads_do_not_share_bytes(void **state)
{
    (void)state;
    uint8_t got[9][16] = {{0}};
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, thread_random, got[i]), 0);
    for (size_t i = 0; i < 8; i++) {
        void *result;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_ptr_equal(result, got[i]);
    }
    assert_int_equal(crypto_random(got[8], 16), 0);
    for (size_t i = 0; i < 9; i++)
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(got[i], got[k], 16);
}

static void test_child_does_not_repeat_its_parent(void **state)
{
    (void)state;
    uint8_t ours[16], theirs[16];
    int fds[2];
    assert_int_equal(crypto_random(ours, 1), 0); /* the pool is filled before the fork */
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        bool is_good = crypto_random(theirs, 16) == 0 && write(fds[1], theirs, 16) == 16;
        _exit(is_good ? 0 : 1);
    }
    int status;
    assert_int_equal(crypto_random(ours, 16), 0);
    assert_int_equal(read(fds[0], theirs, 16), 16);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_memory_not_equal(ours, theirs, 16);
    close(fds[0]);
    close(fds[1]);
}

/* RFC 4648 sections 5 and 10: the same as base64, in another alphabet, without padding. */
static void test_base64url(void **state)
{
    (void)state;
    uint8_t bytes[64], back[64];
    char text[96], standard[96];
    size_t len;
    for (size_t n = 0; n <= sizeof(bytes); n++) {
        for (size_t i = 0; i < n; i++)
            bytes[i] = (uint8_t)(0xFF - 37 * i * n);
        size_t size = n / 3 * 4 + (n % 3 * 8 + 5) / 6 + 1;
        assert_int_equal(crypto_base64url_encode(bytes, n, text, size), 0);
        assert_int_equal(strlen(text), size - 1);
        assert_int_equal(crypto_base64_encode(bytes, n, standard, sizeof(standard)), 0);
        standard[strcspn(standard, "=")] = '\0';
        for (char *c = standard; *c != '\0'; c++)
            *c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
        assert_string_equal(text, standard);
        assert_int_equal(crypto_base64url_encode(bytes, n, standard, size - 1), -ENOSPC);
        assert_int_equal(crypto_base64url_decode(text, size - 1, back, n, &len), 0);
        assert_int_equal(len, n);
        assert_memory_equal(bytes, back, n);
        if (n > 0)
            assert_int_equal(crypto_base64url_decode(text, size - 1, back, n - 1, &len), -ENOSPC);
    }
    assert_int_equal(crypto_base64url_encode("", 0, text, 0), -ENOSPC);
}

static void test_base64url_has_one_spelling(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "A",    "AB",   "AAB",  "AAAAA", "AA==",  "AAA=",   "A A",  "AA\n",
        "AA+A", "AA/A", "AA.A", "=",     "AA\0A", "AA\xC3", "AAA\r"};
    for (size_t i = 0; i < array_count(cases); i++) {
        uint8_t out[16];
        size_t size = i == 12 ? 4 : strlen(cases[i]), len = 99;
        if (crypto_base64url_decode(cases[i], size, out, sizeof(out), &len) != -EINVAL)
            fail_msg("\"%s\" was taken", cases[i]);
        assert_int_equal(len, 0);
    }
}

static void test_equal(void **state)
{
    (void)state;
    uint8_t a[32], b[32];
    for (size_t i = 0; i < sizeof(a); i++)
        a[i] = b[i] = (uint8_t)i;
    assert_true(crypto_equal(a, b, sizeof(a)));
    assert_true(crypto_equal(a, b, 0));
    for (size_t i = 0; i < sizeof(a); i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            b[i] = (uint8_t)(b[i] ^ 1U << bit);
            assert_false(crypto_equal(a, b, sizeof(a)));
            b[i] = a[i];
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha1),
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_base64url),
        cmocka_unit_test(test_base64url_has_one_spelling),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_base64_is_strict),
        cmocka_unit_test(test_84_masking_keys_are_fresh),
        cmocka_unit_test(test_random_takes_any_length),
        cmocka_unit_test(test_threads_do_not_share_bytes),
        cmocka_unit_test(test_child_does_not_repeat_its_parent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
