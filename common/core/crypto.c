#include "crypto.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <mbedtls/base64.h>
#include <mbedtls/constant_time.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/md.h>
#include <mbedtls/version.h>

const char *crypto_library_version(void)
{
    return MBEDTLS_VERSION_STRING;
}

/* ---- digests ---- */

int crypto_sha1(const void *data, size_t len, uint8_t out[CRYPTO_SHA1_SIZE])
{
    const mbedtls_md_info_t *info = mbedtls_md_info_from_type(MBEDTLS_MD_SHA1);
    return info != NULL && mbedtls_md(info, data, len, out) == 0 ? 0 : -EIO;
}

struct crypto_sha256 {
    mbedtls_md_context_t md;
};

struct crypto_sha256 *crypto_sha256_new(void)
{
    struct crypto_sha256 *h = malloc(sizeof(*h));
    if (h == NULL)
        return NULL;
    mbedtls_md_init(&h->md);
    if (mbedtls_md_setup(&h->md, mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), 0) != 0 ||
        mbedtls_md_starts(&h->md) != 0) {
        crypto_sha256_free(h);
        return NULL;
    }
    return h;
}

/* Once set up, these fail for wrong arguments only. */
void crypto_sha256_update(struct crypto_sha256 *h, const void *data, size_t len)
{
    if (len > 0)
        (void)mbedtls_md_update(&h->md, data, len);
}

void crypto_sha256_finish(struct crypto_sha256 *h, uint8_t out[CRYPTO_SHA256_SIZE])
{
    (void)mbedtls_md_finish(&h->md, out);
    crypto_sha256_free(h);
}

void crypto_sha256_free(struct crypto_sha256 *h)
{
    if (h == NULL)
        return;
    mbedtls_md_free(&h->md);
    free(h);
}

/* ---- text forms ---- */

int crypto_base64_encode(const void *data, size_t len, char *out, size_t size)
{
    size_t written;
    if (size == 0 || mbedtls_base64_encode((unsigned char *)out, size, &written, data, len) != 0)
        return -ENOSPC;
    out[written] = '\0'; /* of nothing, mbedTLS makes nothing */
    return 0;
}

/* mbedTLS skips line ends and blanks before them: ruled out first. */
static bool is_base64(const char *text, size_t len)
{
    if (len % 4 != 0)
        return false;
    size_t padding = 0;
    while (padding < 2 && padding < len && text[len - 1 - padding] == '=')
        padding++;
    for (size_t i = 0; i < len - padding; i++) {
        char c = text[i];
        if (!(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
            c != '+' && c != '/')
            return false;
    }
    return true;
}

int crypto_base64_decode(const char *text, size_t len, uint8_t *out, size_t size, size_t *out_len)
{
    *out_len = 0;
    if (!is_base64(text, len))
        return -EINVAL;
    int r = mbedtls_base64_decode(out, size, out_len, (const unsigned char *)text, len);
    if (r != 0)
        *out_len = 0;
    return r == 0 ? 0 : r == MBEDTLS_ERR_BASE64_BUFFER_TOO_SMALL ? -ENOSPC : -EINVAL;
}

static const char url_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

int crypto_base64url_encode(const void *data, size_t len, char *out, size_t size)
{
    const uint8_t *bytes = data;
    size_t used = 0;
    unsigned bits = 0, count = 0; /* not written yet: the last `count` of `bits` */

    if (len > SIZE_MAX / 8 || size <= (len * 8 + 5) / 6)
        return -ENOSPC;
    for (size_t i = 0; i < len; i++) {
        bits = (bits << 8 | bytes[i]) & 0xFFFF;
        count += 8;
        for (; count >= 6; count -= 6)
            out[used++] = url_alphabet[bits >> (count - 6) & 63];
    }
    if (count > 0)
        out[used++] = url_alphabet[bits << (6 - count) & 63];
    out[used] = '\0';
    return 0;
}

int crypto_base64url_decode(const char *text, size_t len, uint8_t *out, size_t size,
                            size_t *out_len)
{
    size_t used = 0;
    unsigned bits = 0, count = 0; /* not written yet: the last `count` of `bits` */

    *out_len = 0;
    if (len % 4 == 1)
        return -EINVAL;
    for (size_t i = 0; i < len; i++) {
        const char *at = text[i] != '\0' ? strchr(url_alphabet, text[i]) : NULL;
        if (at == NULL)
            return -EINVAL;
        bits = (bits << 6 | (unsigned)(at - url_alphabet)) & 0xFFFF;
        count += 6;
        if (count < 8)
            continue;
        if (used == size)
            return -ENOSPC;
        count -= 8;
        out[used++] = (uint8_t)(bits >> count & 0xFF);
    }
    if ((bits & ((1U << count) - 1)) != 0)
        return -EINVAL;
    *out_len = used;
    return 0;
}

bool crypto_equal(const void *a, const void *b, size_t len)
{
    return mbedtls_ct_memcmp(a, b, len) == 0;
}

void crypto_hex(const uint8_t *data, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        *out++ = digits[data[i] >> 4];
        *out++ = digits[data[i] & 15];
    }
    *out = '\0';
}

/* ---- random bytes ---- */

/* Every frame of a client needs a masking key: four bytes at a time come out of a pool. */
#define POOL_SIZE 1024

_Static_assert(POOL_SIZE <= MBEDTLS_CTR_DRBG_MAX_REQUEST, "the pool is filled by one request");

struct generator {
    bool is_seeded;
    unsigned family; /* see forks */
    size_t left;     /* bytes at the end of the pool not handed out yet */
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context drbg;
    uint8_t pool[POOL_SIZE];
};

static _Thread_local struct generator generator;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key; /* exists for its destructor, which runs when a thread ends */
static int setup_result;
static atomic_uint forks; /* a child must not hand out what its parent does */

static void generator_free(void *arg)
{
    struct generator *g = arg;
    mbedtls_ctr_drbg_free(&g->drbg);
    mbedtls_entropy_free(&g->entropy);
    memset(g, 0, sizeof(*g));
}

static void forked(void)
{
    atomic_fetch_add(&forks, 1);
}

static void setup(void)
{
    setup_result = pthread_key_create(&key, generator_free);
    if (setup_result == 0)
        setup_result = pthread_atfork(NULL, NULL, forked);
}

static int generator_seed(struct generator *g)
{
    if (pthread_once(&once, setup) != 0 || setup_result != 0)
        return -EIO;
    unsigned family = atomic_load(&forks);
    if (g->is_seeded && g->family == family)
        return 0;
    if (g->is_seeded)
        generator_free(g);
    mbedtls_entropy_init(&g->entropy);
    mbedtls_ctr_drbg_init(&g->drbg);
    if (mbedtls_ctr_drbg_seed(&g->drbg, mbedtls_entropy_func, &g->entropy, NULL, 0) != 0 ||
        pthread_setspecific(key, g) != 0) {
        generator_free(g);
        return -EIO;
    }
    g->is_seeded = true;
    g->family = family;
    return 0;
}

int crypto_random(void *out, size_t len)
{
    struct generator *g = &generator;
    if (generator_seed(g) < 0)
        return -EIO;
    uint8_t *p = out;
    while (len > 0) {
        if (g->left == 0) {
            if (mbedtls_ctr_drbg_random(&g->drbg, g->pool, POOL_SIZE) != 0)
                return -EIO;
            g->left = POOL_SIZE;
        }
        size_t n = len < g->left ? len : g->left;
        uint8_t *from = g->pool + (POOL_SIZE - g->left);
        memcpy(p, from, n);
        memset(from, 0, n); /* handed out once only */
        g->left -= n;
        p += n;
        len -= n;
    }
    return 0;
}
