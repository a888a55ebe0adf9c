/* The few things needed from a cryptography library. crypto.c is the one file that calls mbedTLS
 * for them, so that its versions (2.28 on Debian 12, 3.6 on Debian 13) differ in one place.
 *
 * Thread-safe: no state is shared between threads. */
#ifndef TIDEGATE_CRYPTO_H
#define TIDEGATE_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CRYPTO_SHA1_SIZE   20
#define CRYPTO_SHA256_SIZE 32

/* One-shot SHA-1, for Sec-WebSocket-Accept only. 0 or -EIO. */
int crypto_sha1(const void *data, size_t len, uint8_t out[CRYPTO_SHA1_SIZE]);

/* Base64 with padding (RFC 4648 section 4), terminated. 0, or -ENOSPC. */
int crypto_base64_encode(const void *data, size_t len, char *out, size_t size);

/* Strict decode; `*out_len` bytes. 0, -EINVAL if it is not base64, -ENOSPC. */
int crypto_base64_decode(const char *text, size_t len, uint8_t *out, size_t size, size_t *out_len);

/* The URL-safe alphabet without padding (RFC 4648 section 5), terminated. 0, or -ENOSPC. */
int crypto_base64url_encode(const void *data, size_t len, char *out, size_t size);

/* Strict decode: no padding, no other character, and no second spelling of the same bytes (the bits
 * that are left over must be 0). `*out_len` bytes. 0, -EINVAL or -ENOSPC. */
int crypto_base64url_decode(const char *text, size_t len, uint8_t *out, size_t size,
                            size_t *out_len);

/* Whether two runs of bytes are equal, in a time that depends on `len` alone: for what a peer must
 * not find out piece by piece. */
bool crypto_equal(const void *a, const void *b, size_t len);

/* Unpredictable bytes from a CSPRNG seeded by the system. 0 or -EIO. Any length. */
int crypto_random(void *out, size_t len);

/* Incremental SHA-256. crypto_sha256_new returns NULL when out of memory; finish writes the digest
 * and frees; free abandons (NULL is fine). */
struct crypto_sha256;
struct crypto_sha256 *crypto_sha256_new(void);
void crypto_sha256_update(struct crypto_sha256 *h, const void *data, size_t len);
void crypto_sha256_finish(struct crypto_sha256 *h, uint8_t out[CRYPTO_SHA256_SIZE]);
void crypto_sha256_free(struct crypto_sha256 *h);

/* The version of the cryptography library that this was built with ("2.28.3"). Static. */
const char *crypto_library_version(void);

/* Lower-case hex of `len` bytes, terminated: `out` has 2 * len + 1. */
void crypto_hex(const uint8_t *data, size_t len, char *out);

#endif
