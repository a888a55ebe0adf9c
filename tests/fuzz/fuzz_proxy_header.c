/* The PROXY protocol: no split of the input changes the verdict; a header that was accepted is
 * within its bounds, and what is written for it is read as the same.
 *
 * Input: where to split (two bytes), then what the peer sends. */
#include "fuzz.h"
#include "proxy_header.h"

#include <string.h>

#define PROLOGUE 2

/* Feeds a copy of `len` bytes; what is left of them is counted. */
static enum proxy_header_result feed(struct proxy_header_reader *r, const uint8_t *bytes,
                                     size_t len, size_t *left)
{
    uint8_t *block = malloc(len > 0 ? len : 1);
    FUZZ_CHECK(block != NULL);
    if (len > 0)
        memcpy(block, bytes, len);
    struct span in = {block, len};
    enum proxy_header_result result = proxy_header_feed(r, &in);
    FUZZ_CHECK(in.data + in.len == block + len);
    FUZZ_CHECK(result != PROXY_HEADER_MORE || in.len == 0);
    *left = in.len;
    free(block);
    return result;
}

/* A piece of `first` bytes, then pieces of `step`. */
static enum proxy_header_result read_all(struct proxy_header_reader *r, const uint8_t *bytes,
                                         size_t len, size_t first, size_t step, size_t *left)
{
    size_t used = first;
    enum proxy_header_result result = feed(r, bytes, first, left);
    while (result == PROXY_HEADER_MORE && used < len) {
        size_t n = len - used < step ? len - used : step;
        result = feed(r, bytes + used, n, left);
        used += n;
    }
    *left += len - used;
    return result;
}

static bool is_same_end(const struct ip_endpoint *a, const struct ip_endpoint *b)
{
    return ip_equals(&a->ip, &b->ip) && a->port == b->port;
}

static bool is_same_text(struct proxy_header_text a, struct proxy_header_text b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static bool is_same(const struct proxy_header *a, const struct proxy_header *b)
{
    return a->version == b->version && a->is_local == b->is_local &&
           a->has_endpoints == b->has_endpoints && is_same_end(&a->source, &b->source) &&
           is_same_end(&a->destination, &b->destination) && is_same_text(a->alpn, b->alpn) &&
           is_same_text(a->authority, b->authority) && is_same_text(a->unique_id, b->unique_id) &&
           is_same_text(a->netns, b->netns) && a->is_tls == b->is_tls &&
           a->is_client_verified == b->is_client_verified &&
           is_same_text(a->tls_version, b->tls_version) &&
           is_same_text(a->tls_cipher, b->tls_cipher) &&
           is_same_text(a->tls_client_name, b->tls_client_name);
}

static void check_bounds(const struct proxy_header *h, size_t len)
{
    FUZZ_CHECK(h->version == 1 || h->version == 2);
    FUZZ_CHECK(len <= (h->version == 1 ? PROXY_HEADER_V1_MAX : PROXY_HEADER_MAX));
    FUZZ_CHECK(!h->is_local || !h->has_endpoints);
    FUZZ_CHECK(h->unique_id.len <= PROXY_HEADER_ID_MAX);
    FUZZ_CHECK(h->is_client_verified || h->tls_client_name.len == 0);
    FUZZ_CHECK(!h->is_client_verified || h->is_tls);
    FUZZ_CHECK(h->alpn.len + h->authority.len + h->unique_id.len + h->netns.len +
                   h->tls_version.len + h->tls_cipher.len + h->tls_client_name.len <
               len);
}

static void drop_long(struct proxy_header_text *t)
{
    if (t->len > PROXY_HEADER_TEXT_MAX)
        t->len = 0;
}

/* `h` as a writer that obeys its limits would have told it: "::" is a destination that is not
 * known, of whatever family. */
static struct proxy_header telling(const struct proxy_header *h)
{
    static const struct ip none;
    struct proxy_header t = *h;
    if (ip_is_v4(&t.source.ip) && ip_equals(&t.destination.ip, &none))
        t.destination.ip.bytes[10] = t.destination.ip.bytes[11] = 0xFF; /* 0.0.0.0 */
    drop_long(&t.alpn);
    drop_long(&t.authority);
    drop_long(&t.netns);
    drop_long(&t.tls_version);
    drop_long(&t.tls_cipher);
    drop_long(&t.tls_client_name);
    if (!t.is_tls) /* then there is nothing to say of it */
        t.tls_version.len = t.tls_cipher.len = 0;
    return t;
}

static void check_written(const struct proxy_header *h)
{
    uint8_t out[PROXY_HEADER_WRITE_MAX];
    struct proxy_header expected = telling(h);
    size_t left,
        len = h->version == 1 ? proxy_header_write_v1(h, out) : proxy_header_write_v2(h, out);
    FUZZ_CHECK(len <= sizeof(out));
    struct proxy_header_reader *r = proxy_header_reader_new();
    FUZZ_CHECK(r != NULL);
    FUZZ_CHECK(feed(r, out, len, &left) == PROXY_HEADER_DONE && left == 0);
    if (h->has_endpoints || h->is_local)
        FUZZ_CHECK(is_same(proxy_header_of(r), &expected));
    else /* of UNSPEC, nothing more is read */
        FUZZ_CHECK(!proxy_header_of(r)->has_endpoints && !proxy_header_of(r)->is_local);
    proxy_header_reader_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < PROLOGUE || size > 10000)
        return 0;
    const uint8_t *bytes = data + PROLOGUE;
    size_t len = size - PROLOGUE;
    size_t cut = ((size_t)data[0] << 8 | data[1]) % (len + 1);
    size_t firsts[] = {len, cut, 0}, steps[] = {1, len + 1, 1};
    struct proxy_header_reader *readers[3];
    enum proxy_header_result results[3];
    size_t lefts[3];
    for (size_t i = 0; i < 3; i++) {
        readers[i] = proxy_header_reader_new();
        FUZZ_CHECK(readers[i] != NULL);
        results[i] = read_all(readers[i], bytes, len, firsts[i], steps[i], &lefts[i]);
        FUZZ_CHECK(results[i] == results[0] && lefts[i] == lefts[0]);
        FUZZ_CHECK(strcmp(proxy_header_problem(readers[i]), proxy_header_problem(readers[0])) == 0);
        FUZZ_CHECK((results[i] == PROXY_HEADER_FAILED) ==
                   (proxy_header_problem(readers[i])[0] != 0));
        if (results[i] == PROXY_HEADER_DONE)
            FUZZ_CHECK(is_same(proxy_header_of(readers[i]), proxy_header_of(readers[0])));
    }
    if (results[0] == PROXY_HEADER_DONE) {
        check_bounds(proxy_header_of(readers[0]), len - lefts[0]);
        check_written(proxy_header_of(readers[0]));
    }
    for (size_t i = 0; i < 3; i++)
        proxy_header_reader_free(readers[i]);
    return 0;
}
