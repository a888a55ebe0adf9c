#include "tally.h"

#include "text.h"

void tally_init(struct tally *t)
{
    *t = (struct tally){.hash = crypto_sha256_new()};
}

void tally_add(struct tally *t, struct span bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        t->lines += bytes.data[i] == '\n';
    t->bytes += bytes.len;
    if (t->hash != NULL)
        crypto_sha256_update(t->hash, bytes.data, bytes.len);
}

size_t tally_finish(struct tally *t, char text[TALLY_TEXT_MAX])
{
    uint8_t digest[CRYPTO_SHA256_SIZE];
    char hex[2 * CRYPTO_SHA256_SIZE + 1] = "unknown";
    struct text out;

    if (t->hash != NULL) {
        crypto_sha256_finish(t->hash, digest);
        crypto_hex(digest, sizeof(digest), hex);
        t->hash = NULL;
    }
    text_init(&out, text, TALLY_TEXT_MAX);
    text_addf(&out, "%llu lines, %llu bytes, sha256 %s\n", (unsigned long long)t->lines,
              (unsigned long long)t->bytes, hex);
    return out.len;
}

void tally_clear(struct tally *t)
{
    crypto_sha256_free(t->hash);
    t->hash = NULL;
}
