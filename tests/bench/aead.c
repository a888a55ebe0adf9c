/* What the library's own AEAD does: 16 KiB records, in place, as its TLS does them.
 *
 *   aead chacha20|aes128 seal|open [SECONDS]
 *
 * Prints one line of JSON; CPU time is this thread's. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <mbedtls/cipher.h>

#define RECORD 16384
#define TAG    16
#define BATCH  256 /* records between two looks at the clock */

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void check(int status, const char *what)
{
    if (status == 0)
        return;
    fprintf(stderr, "aead: %s: -0x%x\n", what, (unsigned)-status);
    exit(1);
}

static uint8_t record[RECORD + TAG];
static uint8_t sealed[RECORD + TAG];

/* The nonce and the associated data of a TLS 1.2 record. */
static const uint8_t nonce[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
static const uint8_t header[13] = {0, 0, 0, 0, 0, 0, 0, 1, 23, 3, 3, 0x40, 0};

struct cipher {
    mbedtls_cipher_context_t seals, opens;
};

static void set_up(mbedtls_cipher_context_t *c, mbedtls_cipher_type_t type,
                   mbedtls_operation_t operation)
{
    static const uint8_t key[32] = {42};
    const mbedtls_cipher_info_t *info = mbedtls_cipher_info_from_type(type);

    mbedtls_cipher_init(c);
    check(mbedtls_cipher_setup(c, info), "set-up");
    check(mbedtls_cipher_setkey(c, key, mbedtls_cipher_get_key_bitlen(c), operation), "key");
}

static void seal(struct cipher *c)
{
    size_t len;
    check(mbedtls_cipher_auth_encrypt_ext(&c->seals, nonce, sizeof(nonce), header, sizeof(header),
                                          record, RECORD, record, sizeof(record), &len, TAG),
          "encryption");
}

/* A record can be opened once: a copy of it is, which costs a hundredth. */
static void open_copy(struct cipher *c)
{
    size_t len;
    memcpy(record, sealed, sizeof(sealed));
    check(mbedtls_cipher_auth_decrypt_ext(&c->opens, nonce, sizeof(nonce), header, sizeof(header),
                                          record, sizeof(record), record, sizeof(record), &len,
                                          TAG),
          "decryption");
}

int main(int argc, char **argv)
{
    if (argc < 3 || (strcmp(argv[1], "chacha20") != 0 && strcmp(argv[1], "aes128") != 0) ||
        (strcmp(argv[2], "seal") != 0 && strcmp(argv[2], "open") != 0)) {
        fputs("usage: aead chacha20|aes128 seal|open [SECONDS]\n", stderr);
        return 64;
    }
    mbedtls_cipher_type_t type = strcmp(argv[1], "chacha20") == 0 ? MBEDTLS_CIPHER_CHACHA20_POLY1305
                                                                  : MBEDTLS_CIPHER_AES_128_GCM;
    void (*work)(struct cipher * c) = strcmp(argv[2], "seal") == 0 ? seal : open_copy;
    double limit = argc > 3 ? strtod(argv[3], NULL) : 2;
    struct cipher c;

    set_up(&c.seals, type, MBEDTLS_ENCRYPT);
    set_up(&c.opens, type, MBEDTLS_DECRYPT);
    seal(&c);
    memcpy(sealed, record, sizeof(sealed));

    double begin = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_THREAD_CPUTIME_ID), now;
    uint64_t bytes = 0;
    do {
        for (int i = 0; i < BATCH; i++)
            work(&c);
        bytes += (uint64_t)BATCH * RECORD;
        now = seconds(CLOCK_MONOTONIC);
    } while (now - begin < limit);
    printf("{\"bytes\": %llu, \"seconds\": %.6f, \"cpu_seconds\": %.6f}\n",
           (unsigned long long)bytes, now - begin, seconds(CLOCK_THREAD_CPUTIME_ID) - cpu);
    mbedtls_cipher_free(&c.seals);
    mbedtls_cipher_free(&c.opens);
    return 0;
}
