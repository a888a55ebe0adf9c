#include "credentials.h"

#include "text.h"

#include <string.h>

#define BLANKS " \t"

static enum credentials_result malformed(const char *why, const char **problem)
{
    *problem = why;
    return CREDENTIALS_MALFORMED;
}

/* ---- Authorization: Bearer TOKEN (RFC 6750 2.1) ---- */

static bool is_token68(const char *s)
{
    size_t len = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/");

    return s[len + strspn(s + len, "=")] == '\0';
}

static enum credentials_result read_field(struct ws_head *request,
                                          uint8_t digest[CRYPTO_SHA256_SIZE], const char **problem)
{
    const char *value = ws_head_field(request, "authorization"), *token;
    struct crypto_sha256 *h;
    size_t scheme;

    if (value == NULL)
        return CREDENTIALS_NONE;
    if (ws_head_field_count(request, "authorization") > 1)
        return malformed("more than one Authorization field", problem);
    scheme = strcspn(value, BLANKS);
    if (!text_equals_nocase(value, scheme, "bearer"))
        return CREDENTIALS_NONE;
    token = value + scheme + strspn(value + scheme, BLANKS);
    if (!is_token68(token))
        return malformed("malformed bearer token", problem);
    h = crypto_sha256_new();
    if (h == NULL)
        return CREDENTIALS_NO_MEMORY;
    crypto_sha256_update(h, token, strlen(token));
    crypto_sha256_finish(h, digest);
    return CREDENTIALS_GIVEN;
}

/* ---- Sec-WebSocket-Protocol: ..., base64url.bearer.authorization.tidegate.TOKEN ---- */

/* The token in the next entry of a comma-separated list, or NULL; moves behind that entry. */
static const char *next_token(const char **list, size_t *len)
{
    const char *entry = *list + strspn(*list, BLANKS), *p = entry + strcspn(entry, ",");
    size_t prefix = strlen(CREDENTIALS_SUBPROTOCOL);

    *len = (size_t)(p - entry);
    *list = *p == ',' ? p + 1 : p;
    while (*len > 0 && strchr(BLANKS, entry[*len - 1]) != NULL)
        (*len)--;
    if (*len < prefix || memcmp(entry, CREDENTIALS_SUBPROTOCOL, prefix) != 0)
        return NULL;
    *len -= prefix;
    return entry + prefix;
}

/* A piece at a time: a token may be as long as a head. False if it is no base64url. */
static bool hash_decoded(struct crypto_sha256 *h, const char *text, size_t len)
{
    uint8_t bytes[48];
    size_t piece, size;

    for (; len > 0; text += piece, len -= piece) {
        piece = len < 64 ? len : 64;
        if (crypto_base64url_decode(text, piece, bytes, sizeof(bytes), &size) != 0)
            return false;
        crypto_sha256_update(h, bytes, size);
    }
    return true;
}

static enum credentials_result read_entry(struct ws_head *request,
                                          uint8_t digest[CRYPTO_SHA256_SIZE], const char **problem)
{
    const char *list = ws_head_field(request, "sec-websocket-protocol"), *token = NULL;
    struct crypto_sha256 *h;
    size_t len = 0;

    while (list != NULL && *list != '\0') {
        size_t this_len;
        const char *this = next_token(&list, &this_len);
        if (this != NULL && token != NULL)
            return malformed("more than one token among the subprotocols", problem);
        if (this != NULL) {
            token = this;
            len = this_len;
        }
    }
    if (token == NULL)
        return CREDENTIALS_NONE;
    h = crypto_sha256_new();
    if (h == NULL)
        return CREDENTIALS_NO_MEMORY;
    if (!hash_decoded(h, token, len)) {
        crypto_sha256_free(h);
        return malformed("the token among the subprotocols is not in base64url", problem);
    }
    crypto_sha256_finish(h, digest);
    return CREDENTIALS_GIVEN;
}

/* ---- both ---- */

enum credentials_result credentials_read(struct ws_head *request,
                                         uint8_t digest[CRYPTO_SHA256_SIZE], const char **problem)
{
    uint8_t other[CRYPTO_SHA256_SIZE] = {0};
    enum credentials_result field, entry;

    *problem = "";
    memset(digest, 0, CRYPTO_SHA256_SIZE);
    field = read_field(request, digest, problem);
    if (field == CREDENTIALS_MALFORMED || field == CREDENTIALS_NO_MEMORY)
        return field;
    entry = read_entry(request, other, problem);
    if (entry == CREDENTIALS_NONE)
        return field;
    if (entry == CREDENTIALS_GIVEN && field == CREDENTIALS_GIVEN &&
        !crypto_equal(digest, other, sizeof(other)))
        return malformed("two different tokens", problem);
    memcpy(digest, other, sizeof(other));
    return entry;
}
