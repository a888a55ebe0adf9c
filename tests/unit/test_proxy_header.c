/* wire/proxy_header.h. Every header is read whole, byte by byte, split at every point, and cut off
 * at every point. */
#include "proxy_header.h"

#include "text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

/* ---- reading ---- */

static enum proxy_header_result feed(struct proxy_header_reader *r, const uint8_t *bytes,
                                     size_t len, size_t *left)
{
    uint8_t *block =
        malloc(len > 0 ? len : 1); /* its exact size: a sanitizer sees a byte too far */
    assert_non_null(block);
    if (len > 0)
        memcpy(block, bytes, len);
    struct span in = {block, len};
    enum proxy_header_result result = proxy_header_feed(r, &in);
    assert_ptr_equal(in.data + in.len, block + len);
    assert_true(result != PROXY_HEADER_MORE || in.len == 0);
    *left = in.len;
    free(block);
    return result;
}

static void add_text(struct text *t, const char *name, struct proxy_header_text value)
{
    if (value.data == NULL)
        return;
    text_addf(t, " %s=", name);
    text_add_bytes(t, value.data, value.len);
}

static void add_header(struct text *t, const struct proxy_header *h)
{
    char from[IP_ENDPOINT_TEXT_MAX], to[IP_ENDPOINT_TEXT_MAX];
    text_addf(t, "v%u", h->version);
    if (h->is_local)
        text_add(t, " local");
    else if (!h->has_endpoints)
        text_add(t, " unknown");
    else
        text_addf(t, " %s > %s", ip_endpoint_format(&h->source, from),
                  ip_endpoint_format(&h->destination, to));
    add_text(t, "alpn", h->alpn);
    add_text(t, "authority", h->authority);
    add_text(t, "id", h->unique_id);
    add_text(t, "netns", h->netns);
    if (h->is_tls)
        text_add(t, h->is_client_verified ? " tls verified" : " tls");
    add_text(t, "version", h->tls_version);
    add_text(t, "cipher", h->tls_cipher);
    add_text(t, "name", h->tls_client_name);
}

/* What is found in `bytes`, as text; behind it how many bytes are left over. First a piece of
 * `first` bytes, then pieces of `step`. */
static void judge(const uint8_t *bytes, size_t len, size_t first, size_t step, char *out,
                  size_t size)
{
    struct proxy_header_reader *r = proxy_header_reader_new();
    assert_non_null(r);
    size_t used = first, left;
    enum proxy_header_result result = feed(r, bytes, first, &left);
    while (result == PROXY_HEADER_MORE && used < len) {
        size_t n = len - used < step ? len - used : step;
        result = feed(r, bytes + used, n, &left);
        used += n;
    }
    left += len - used;
    struct text t;
    text_init(&t, out, size);
    if (result == PROXY_HEADER_MORE)
        text_add(&t, "more");
    else if (result == PROXY_HEADER_FAILED)
        text_add(&t, proxy_header_problem(r));
    else
        add_header(&t, proxy_header_of(r));
    text_addf(&t, " | %zu", left);
    assert_false(t.overflowed);
    proxy_header_reader_free(r);
}

static void expect_bytes(const uint8_t *bytes, size_t len, const char *expected)
{
    char whole[8192], other[8192];
    judge(bytes, len, len, 1, whole, sizeof(whole));
    assert_string_equal(whole, expected);
    judge(bytes, len, 0, 1, other, sizeof(other));
    assert_string_equal(other, whole);
    for (size_t cut = 0; cut<len; cut += len> 500 ? 61 : 1) {
        judge(bytes, len, cut, len, other, sizeof(other));
        assert_string_equal(other, whole);
    }
}

/* A whole header: behind it nothing, or what belongs to somebody else; before its end, nothing. */
static void expect_whole(const uint8_t *bytes, size_t len, const char *expected)
{
    char verdict[8192];
    static uint8_t more[2 * PROXY_HEADER_MAX];
    snprintf(verdict, sizeof(verdict), "%s | 0", expected);
    expect_bytes(bytes, len, verdict);
    memcpy(more, bytes, len);
    memcpy(more + len, "PROXY", 5);
    snprintf(verdict, sizeof(verdict), "%s | 5", expected);
    expect_bytes(more, len + 5, verdict);
    for (size_t cut = 0; cut < len; cut++) {
        judge(bytes, cut, cut, 1, verdict, sizeof(verdict));
        assert_string_equal(verdict, "more | 0");
    }
}

static void expect_v1(const char *line, const char *expected)
{
    expect_whole((const uint8_t *)line, strlen(line), expected);
}

static void expect_bad(const void *bytes, size_t len, const char *problem)
{
    char verdict[256];
    judge(bytes, len, len, 1, verdict, sizeof(verdict));
    if (strncmp(verdict, problem, strlen(problem)) != 0)
        fail_msg("'%.*s' is '%s'", (int)len, (const char *)bytes, verdict);
    expect_bytes(bytes, len, verdict);
}

/* ---- a header of version 2 under construction ---- */

struct made {
    uint8_t bytes[2 * PROXY_HEADER_MAX];
    size_t len;
};

static void put(struct made *m, const void *bytes, size_t len)
{
    memcpy(m->bytes + m->len, bytes, len);
    m->len += len;
}

static void put_tlv(struct made *m, unsigned type, const void *value, size_t len)
{
    uint8_t head[] = {(uint8_t)type, (uint8_t)(len >> 8), (uint8_t)len};
    put(m, head, sizeof(head));
    put(m, value, len);
}

static void begin(struct made *m, unsigned command, unsigned family)
{
    uint8_t head[] = {(uint8_t)command, (uint8_t)family, 0, 0};
    m->len = 0;
    put(m, SIGNATURE, 12);
    put(m, head, sizeof(head));
}

static void set_length(struct made *m, size_t len)
{
    m->bytes[14] = (uint8_t)(len >> 8);
    m->bytes[15] = (uint8_t)len;
}

static void end(struct made *m)
{
    set_length(m, m->len - 16);
}

#define V4_ADDRESSES "\x0A\x00\x00\x01\x0A\x00\x00\x02\x00\x50\x01\xBB"
#define V4           "v2 10.0.0.1:80 > 10.0.0.2:443"

static void begin_v4(struct made *m)
{
    begin(m, 0x21, 0x11);
    put(m, V4_ADDRESSES, 12);
}

/* ---- version 1 ---- */

static void test_v1(void **state)
{
    (void)state;
    expect_v1("PROXY TCP4 255.255.255.255 10.0.0.2 65535 0\r\n",
              "v1 255.255.255.255:65535 > 10.0.0.2:0");
    expect_v1("PROXY TCP6 2001:db8::1 ::1 1 443\r\n", "v1 [2001:db8::1]:1 > [::1]:443");
    expect_v1("PROXY TCP6 2001:DB8::A ::1 1 443\r\n", "v1 [2001:db8::a]:1 > [::1]:443");
    expect_v1("PROXY TCP6 ::ffff:10.0.0.1 ::1 1 443\r\n", "v1 10.0.0.1:1 > [::1]:443");
    expect_v1("PROXY UNKNOWN\r\n", "v1 unknown");
    expect_v1("PROXY UNKNOWN 1.2.3.4 whatever \x01 is there\r\n", "v1 unknown");
    /* the longest */
    expect_v1("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
              "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
              "v1 unknown");
    /* what HAProxy 2.6 sends */
    expect_v1("PROXY TCP4 127.0.0.1 127.0.0.1 35750 19080\r\n",
              "v1 127.0.0.1:35750 > 127.0.0.1:19080");
}

static void test_v1_bad(void **state)
{
    (void)state;
    static const struct {
        const char *line, *problem;
    } cases[] = {
        {"proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n", "no PROXY protocol header"},
        {"GET / HTTP/1.1\r\n", "no PROXY protocol header"},
        {"POST / HTTP/1.1\r\n", "no PROXY protocol header"},
        {" PROXY", "no PROXY protocol header"},
        {"\x16\x03\x01", "no PROXY protocol header"},
        {"PROXY\tTCP4", "no PROXY protocol header"},
        {"PROXY\r\n", "no PROXY protocol header"},
        {"PROXY \r\n", "PROXY protocol: neither"},
        {"PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n", "PROXY protocol: neither"},
        {"PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n", "PROXY protocol: neither"},
        {"PROXY tcp4 1.1.1.1 2.2.2.2 1 2\r\n", "PROXY protocol: neither"},
        {"PROXY TCP 1.1.1.1 2.2.2.2 1 2\r\n", "PROXY protocol: neither"},
        {"PROXY UNKNOWNX\r\n", "PROXY protocol: neither"},
        {"PROXY unknown\r\n", "PROXY protocol: neither"},
        {"PROXY TCP4\r\n", "PROXY protocol: malformed address"},
        {"PROXY TCP4 \r\n", "PROXY protocol: malformed address"},
        {"PROXY TCP4 1.1.1.1\r\n", "PROXY protocol: malformed address"},
        {"PROXY TCP4 1.1.1.1 \r\n", "PROXY protocol: malformed address"},
        {"PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n", "PROXY protocol: malformed address"},
        {"PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n", "PROXY protocol: malformed address"},
        {"PROXY TCP4 1.1.1.1\t2.2.2.2 1 2\r\n", "PROXY protocol: malformed address"},
        {"PROXY TCP4 1.1.1.01 2.2.2.2 1 2\r\n", "PROXY protocol: malformed address"},
        {"PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n", "PROXY protocol: malformed address"},
        {"PROXY TCP4 ::1 2.2.2.2 1 2\r\n", "PROXY protocol: malformed address"},
        {"PROXY TCP4 ::ffff:1.1.1.1 2.2.2.2 1 2\r\n", "PROXY protocol: malformed address"},
        {"PROXY TCP4 1.1.1.1 ::1 1 2\r\n", "PROXY protocol: malformed address"},
        {"PROXY TCP6 1.1.1.1 ::1 1 2\r\n", "PROXY protocol: malformed address"},
        {"PROXY TCP6 ::1 1.1.1.1 1 2\r\n", "PROXY protocol: malformed address"},
        {"PROXY TCP6 [::1] [::1] 1 2\r\n", "PROXY protocol: malformed address"},
        {"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "PROXY protocol: malformed address"},
        {"PROXY TCP4 localhost 2.2.2.2 1 2\r\n", "PROXY protocol: malformed address"},
        {"PROXY TCP4 1.1.1.1 2.2.2.2\r\n", "PROXY protocol: malformed ports"},
        {"PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", "PROXY protocol: malformed ports"},
        {"PROXY TCP4 1.1.1.1 2.2.2.2 1 \r\n", "PROXY protocol: malformed ports"},
        {"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n", "PROXY protocol: malformed ports"},
        {"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n", "PROXY protocol: malformed ports"},
        {"PROXY TCP4 1.1.1.1 2.2.2.2  1 2\r\n", "PROXY protocol: malformed ports"},
        {"PROXY TCP4 1.1.1.1 2.2.2.2 1  2\r\n", "PROXY protocol: malformed ports"},
        {"PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n", "PROXY protocol: malformed ports"},
        {"PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n", "PROXY protocol: malformed ports"},
        {"PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n", "PROXY protocol: malformed ports"},
        {"PROXY TCP4 1.1.1.1 2.2.2.2 x 2\r\n", "PROXY protocol: malformed ports"},
        {"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n", "PROXY protocol: LF without CR"},
        {"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\r\n", "PROXY protocol: CR without LF"},
        {"PROXY UNKNOWN\rX\n", "PROXY protocol: CR without LF"},
    };
    for (size_t i = 0; i < array_count(cases); i++)
        expect_bad(cases[i].line, strlen(cases[i].line), cases[i].problem);
    expect_bad("PROXY TCP4 1.1.1.1\0 2.2.2.2 1 2\r\n", 33, "PROXY protocol: malformed address");
    expect_bad("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\0\r\n", 33, "PROXY protocol: malformed ports");
}

static void test_v1_length(void **state)
{
    (void)state;
    for (size_t len = 90; len < 130; len++) {
        char line[256];
        memset(line, 'x', sizeof(line));
        memcpy(line, "PROXY UNKNOWN ", 14);
        memcpy(line + len - 2, "\r\n", 2);
        if (len <= PROXY_HEADER_V1_MAX)
            expect_bytes((uint8_t *)line, len, "v1 unknown | 0");
        else
            expect_bad(line, len, "PROXY protocol: line too long");
    }
}

/* ---- version 2 ---- */

static void test_v2_addresses(void **state)
{
    (void)state;
    struct made m;
    begin_v4(&m);
    end(&m);
    expect_whole(m.bytes, m.len, V4);

    begin(&m, 0x21, 0x21);
    put(&m,
        "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
        "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x02"
        "\xff\xff\0\0",
        36);
    end(&m);
    expect_whole(m.bytes, m.len, "v2 [2001:db8::1]:65535 > 10.0.0.2:0");

    static const unsigned unknown[] = {0x12, 0x22, 0x31, 0x32};
    static const size_t sizes[] = {12, 36, 216, 216};
    for (size_t i = 0; i < array_count(unknown); i++) {
        uint8_t addresses[216];
        memset(addresses, '/', sizeof(addresses));
        begin(&m, 0x21, unknown[i]);
        put(&m, addresses, sizes[i]);
        put_tlv(&m, 0x02, "h", 1);
        end(&m);
        expect_whole(m.bytes, m.len, "v2 unknown authority=h");
    }

    begin(&m, 0x21, 0x00); /* UNSPEC */
    end(&m);
    expect_whole(m.bytes, m.len, "v2 unknown");
    put(&m, "\x02\xFF\xFFwhatever", 11);
    end(&m);
    expect_whole(m.bytes, m.len, "v2 unknown");
}

static void test_v2_local(void **state)
{
    (void)state;
    static const unsigned families[] = {0x00, 0x11, 0x21, 0x31, 0x01, 0xFF};
    for (size_t i = 0; i < array_count(families); i++) {
        struct made m;
        begin(&m, 0x20, families[i]);
        end(&m);
        expect_whole(m.bytes, m.len, "v2 local");
        put(&m, V4_ADDRESSES, 12);
        put_tlv(&m, 0x02, "h", 1);
        put(&m, "\x20", 1);
        end(&m);
        expect_whole(m.bytes, m.len, "v2 local");
    }
}

static void test_v2_values(void **state)
{
    (void)state;
    struct made m;
    begin_v4(&m);
    put_tlv(&m, 0x04, "\0\0\0", 3);
    put_tlv(&m, 0x01, "http/1.1", 8);
    put_tlv(&m, 0xE0, "of somebody's own", 17);
    put_tlv(&m, 0x02, "h\xC3\xB6st", 5);
    put_tlv(&m, 0x05, "", 0);
    put_tlv(&m, 0x04, "", 0);
    put_tlv(&m, 0x30, "blue", 4);
    end(&m);
    expect_whole(m.bytes, m.len, V4 " alpn=http/1.1 authority=h\xC3\xB6st id= netns=blue");
}

static void expect_ssl(const void *value, size_t len, const char *expected)
{
    struct made m;
    begin_v4(&m);
    put_tlv(&m, 0x20, value, len);
    end(&m);
    char verdict[256];
    snprintf(verdict, sizeof(verdict), V4 "%s", expected);
    expect_whole(m.bytes, m.len, verdict);
}

/* A name counts only where a certificate was there, by TLS, and was verified. */
static void test_v2_ssl(void **state)
{
    (void)state;
    expect_ssl("\0\0\0\0\0", 5, "");
    expect_ssl("\1\0\0\0\0", 5, " tls");
    expect_ssl("\1\0\0\0\0\x22\0\1a", 9, " tls");
    expect_ssl("\3\0\0\0\0\x22\0\1a", 9, " tls verified name=a");
    expect_ssl("\5\0\0\0\0\x22\0\1a", 9, " tls verified name=a");
    expect_ssl("\7\0\0\0\0\x22\0\1a", 9, " tls verified name=a");
    expect_ssl("\3\0\0\0\1\x22\0\1a", 9, " tls");
    expect_ssl("\3\x80\0\0\0\x22\0\1a", 9, " tls");
    expect_ssl("\2\0\0\0\0\x22\0\1a", 9, "");
    expect_ssl("\1\0\0\0\1\x21\0\3"
               "1.3\x23\0\1c\x24\0\1s\x28\0\0",
               22, " tls version=1.3 cipher=c");
}

/* Captured from HAProxy 2.6: send-proxy-v2, ssl, cert-cn, ssl-cipher, authority, crc32c, unique-id.
 */
static void test_v2_of_haproxy(void **state)
{
    (void)state;
    static const uint8_t verified[] =
        SIGNATURE "\x21\x11\x00\x76\x7f\x00\x00\x01\x7f\x00\x00\x01\xb0\xea\x4b\xf3"
                  "\x03\x00\x04\x06\x60\xb1\x73\x01\x00\x08http/1.1\x02\x00\x0d"
                  "front.example"
                  "\x05\x00\x12id-127.0.0.1-45290\x20\x00\x30\x07\x00\x00\x00\x00"
                  "\x21\x00\x07TLSv1.3\x22\x00\x05"
                  "alice\x23\x00\x16TLS_AES_256_GCM_SHA384";
    expect_whole(verified, sizeof(verified) - 1,
                 "v2 127.0.0.1:45290 > 127.0.0.1:19443 alpn=http/1.1 authority=front.example "
                 "id=id-127.0.0.1-45290 tls verified version=TLSv1.3 "
                 "cipher=TLS_AES_256_GCM_SHA384 name=alice");

    static const uint8_t tcp6[] =
        SIGNATURE "\x21\x21\x00\x2b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
                  "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\xb2\x58\x4a\x89\x03\x00\x04\x98\x52\xcc\xa0";
    expect_whole(tcp6, sizeof(tcp6) - 1, "v2 [::1]:45656 > [::1]:19081");

    /* each bit counts; the first sixteen bytes have checks of their own */
    for (size_t bit = 16 * 8; bit < (sizeof(tcp6) - 1) * 8; bit++) {
        uint8_t changed[sizeof(tcp6) - 1];
        char verdict[256];
        memcpy(changed, tcp6, sizeof(changed));
        changed[bit / 8] ^= (uint8_t)(1U << bit % 8);
        judge(changed, sizeof(changed), sizeof(changed), 1, verdict, sizeof(verdict));
        if (bit / 8 < 52 || bit / 8 >= 55) /* not the type and length of the sum itself */
            assert_string_equal(verdict, "PROXY protocol: wrong CRC32C | 0");
    }
}

static void test_v2_bad_begin(void **state)
{
    (void)state;
    struct made m;
    for (size_t i = 0; i < 12; i++) {
        begin_v4(&m);
        end(&m);
        m.bytes[i] ^= 1;
        m.len = i + 1; /* at once */
        expect_bad(m.bytes, m.len, "no PROXY protocol header");
    }
    for (unsigned command = 0; command <= 0xFF; command++) {
        begin(&m, command, 0x11);
        m.len = 13;
        if (command != 0x20 && command != 0x21)
            expect_bad(m.bytes, m.len, "PROXY protocol: unknown version or command");
    }
    for (unsigned family = 0; family <= 0xFF; family++) {
        bool is_known = family == 0 || (family >> 4 >= 1 && family >> 4 <= 3 &&
                                        (family & 15) >= 1 && (family & 15) <= 2);
        begin(&m, 0x21, family);
        m.len = 14;
        if (is_known)
            expect_bytes(m.bytes, m.len, "more | 0");
        else
            expect_bad(m.bytes, m.len, "PROXY protocol: unknown family");
    }
}

static void test_v2_lengths(void **state)
{
    (void)state;
    struct made m;
    static const unsigned families[] = {0x11, 0x12, 0x21, 0x22, 0x31, 0x32};
    static const size_t sizes[] = {12, 12, 36, 36, 216, 216};
    for (size_t i = 0; i < array_count(families); i++) {
        begin(&m, 0x21, families[i]);
        set_length(&m, sizes[i] - 1);
        expect_bad(m.bytes, m.len, "PROXY protocol: too short for its addresses");
        set_length(&m, 0);
        expect_bad(m.bytes, m.len, "PROXY protocol: too short for its addresses");
        set_length(&m, sizes[i]);
        expect_bytes(m.bytes, m.len, "more | 0");
    }
    begin(&m, 0x20, 0x00);
    set_length(&m, PROXY_HEADER_MAX - 16 + 1);
    expect_bad(m.bytes, m.len, "PROXY protocol: header too long");
    set_length(&m, 65535);
    expect_bad(m.bytes, m.len, "PROXY protocol: header too long");

    /* the largest there is */
    static uint8_t noop[PROXY_HEADER_MAX];
    begin_v4(&m);
    put_tlv(&m, 0x04, noop, PROXY_HEADER_MAX - m.len - 3);
    end(&m);
    assert_int_equal(m.len, PROXY_HEADER_MAX);
    expect_bytes(m.bytes, m.len, V4 " | 0");
}

static void expect_bad_tlvs(const void *tlvs, size_t len, const char *problem)
{
    struct made m;
    begin_v4(&m);
    put(&m, tlvs, len);
    end(&m);
    expect_bad(m.bytes, m.len, problem);
}

static void test_v2_bad_values(void **state)
{
    (void)state;
    static const char cut[] = "PROXY protocol: a value is cut short";
    expect_bad_tlvs("\x04", 1, cut);
    expect_bad_tlvs("\x04\x00", 2, cut);
    expect_bad_tlvs("\x04\x00\x01", 3, cut);
    expect_bad_tlvs("\x04\xFF\xFFx", 4, cut);
    expect_bad_tlvs("\x04\x00\x00\x04\x00", 5, cut);

    static const char twice[] = "PROXY protocol: a value is there twice";
    static const unsigned types[] = {0x01, 0x02, 0x05, 0x30};
    for (size_t i = 0; i < array_count(types); i++) {
        char both[] = "t\0\1at\0\1a";
        both[0] = both[4] = (char)types[i];
        expect_bad_tlvs(both, 8, twice);
        both[2] = 0; /* the first one empty */
        memmove(both + 3, both + 4, 4);
        expect_bad_tlvs(both, 7, twice);
    }
    expect_bad_tlvs("\x20\0\5\1\0\0\0\0\x20\0\5\1\0\0\0\0", 16, twice);
    expect_bad_tlvs("\x20\0\x0D\3\0\0\0\0\x22\0\1a\x22\0\1b", 16, twice);

    static const char ssl[] = "PROXY protocol: malformed SSL value";
    expect_bad_tlvs("\x20\0\0", 3, ssl);
    expect_bad_tlvs("\x20\0\4\1\0\0\0", 7, ssl);
    expect_bad_tlvs("\x20\0\6\1\0\0\0\0\x22", 9, ssl);
    expect_bad_tlvs("\x20\0\x08\3\0\0\0\0\x22\0\1\x22\0\1a", 15, ssl); /* into the next one */

    expect_bad_tlvs("\x03\0\0", 3, "PROXY protocol: malformed CRC32C");
    expect_bad_tlvs("\x03\0\5aaaaa", 8, "PROXY protocol: malformed CRC32C");
    expect_bad_tlvs("\x03\0\4aaaa", 7, "PROXY protocol: wrong CRC32C");

    struct made m;
    uint8_t id[PROXY_HEADER_ID_MAX + 1];
    memset(id, 'i', sizeof(id));
    begin_v4(&m);
    put_tlv(&m, 0x05, id, PROXY_HEADER_ID_MAX + 1);
    end(&m);
    expect_bad(m.bytes, m.len, "PROXY protocol: UNIQUE_ID too long");
}

/* ---- writing ---- */

static struct ip_endpoint at(const char *ip, unsigned port)
{
    struct ip_endpoint e = {.port = (uint16_t)port};
    assert_true(ip_parse(ip, strlen(ip), &e.ip));
    return e;
}

static struct proxy_header_text text_of(const char *s)
{
    return (struct proxy_header_text){s, strlen(s)};
}

static void expect_written_v1(const struct proxy_header *h, const char *line, const char *read)
{
    uint8_t out[PROXY_HEADER_WRITE_MAX];
    size_t len = proxy_header_write_v1(h, out);
    assert_int_equal(len, strlen(line));
    assert_memory_equal(out, line, len);
    expect_whole(out, len, read);
}

static void expect_written_v2(const struct proxy_header *h, const char *read)
{
    uint8_t out[PROXY_HEADER_WRITE_MAX];
    size_t len = proxy_header_write_v2(h, out);
    assert_in_range(len, 16, sizeof(out));
    expect_whole(out, len, read);
}

static void test_written_v1(void **state)
{
    (void)state;
    struct proxy_header h = {.has_endpoints = true,
                             .source = at("203.0.113.9", 65535),
                             .destination = at("10.0.0.1", 443)};
    expect_written_v1(&h, "PROXY TCP4 203.0.113.9 10.0.0.1 65535 443\r\n",
                      "v1 203.0.113.9:65535 > 10.0.0.1:443");
    h.destination = (struct ip_endpoint){.port = 0};
    expect_written_v1(&h, "PROXY TCP4 203.0.113.9 0.0.0.0 65535 0\r\n",
                      "v1 203.0.113.9:65535 > 0.0.0.0:0");
    h.destination = at("2001:db8::1", 1);
    expect_written_v1(&h, "PROXY TCP6 ::ffff:203.0.113.9 2001:db8::1 65535 1\r\n",
                      "v1 203.0.113.9:65535 > [2001:db8::1]:1");
    h.source = at("1111:2222:3333:4444:5555:6666:7777:8888", 65535);
    h.destination = at("1111:2222:3333:4444:5555:6666:7777:8889", 65535);
    expect_written_v1(&h,
                      "PROXY TCP6 1111:2222:3333:4444:5555:6666:7777:8888 "
                      "1111:2222:3333:4444:5555:6666:7777:8889 65535 65535\r\n",
                      "v1 [1111:2222:3333:4444:5555:6666:7777:8888]:65535 > "
                      "[1111:2222:3333:4444:5555:6666:7777:8889]:65535");
    h.destination = at("10.0.0.1", 1);
    expect_written_v1(&h,
                      "PROXY TCP6 1111:2222:3333:4444:5555:6666:7777:8888 ::ffff:10.0.0.1 65535 "
                      "1\r\n",
                      "v1 [1111:2222:3333:4444:5555:6666:7777:8888]:65535 > 10.0.0.1:1");
    h.has_endpoints = false;
    expect_written_v1(&h, "PROXY UNKNOWN\r\n", "v1 unknown");
}

static void test_written_v2(void **state)
{
    (void)state;
    struct proxy_header h = {.has_endpoints = true,
                             .source = at("203.0.113.9", 65535),
                             .destination = at("10.0.0.1", 443)};
    static const uint8_t tcp4[] = SIGNATURE "\x21\x11\x00\x0c\xcb\x00\x71\x09\x0a\x00\x00\x01"
                                            "\xff\xff\x01\xbb";
    uint8_t out[PROXY_HEADER_WRITE_MAX];
    assert_int_equal(proxy_header_write_v2(&h, out), sizeof(tcp4) - 1);
    assert_memory_equal(out, tcp4, sizeof(tcp4) - 1);
    expect_written_v2(&h, "v2 203.0.113.9:65535 > 10.0.0.1:443");

    h.destination = (struct ip_endpoint){.port = 0};
    expect_written_v2(&h, "v2 203.0.113.9:65535 > 0.0.0.0:0");
    h.destination = at("2001:db8::1", 1);
    expect_written_v2(&h, "v2 203.0.113.9:65535 > [2001:db8::1]:1");
    h.source = at("::1", 1);
    expect_written_v2(&h, "v2 [::1]:1 > [2001:db8::1]:1");

    h.authority = text_of("front.example");
    h.unique_id = text_of("01J-7");
    h.tls_version = text_of("TLSv1.2");
    h.tls_client_name = text_of("alice");
    expect_written_v2(&h, "v2 [::1]:1 > [2001:db8::1]:1 authority=front.example id=01J-7");
    h.is_tls = true;
    expect_written_v2(&h, "v2 [::1]:1 > [2001:db8::1]:1 authority=front.example id=01J-7 tls "
                          "version=TLSv1.2");
    h.is_client_verified = true;
    h.tls_cipher = text_of("c");
    h.alpn = text_of("http/1.1");
    h.netns = text_of("blue");
    expect_written_v2(&h, "v2 [::1]:1 > [2001:db8::1]:1 alpn=http/1.1 authority=front.example "
                          "id=01J-7 netns=blue tls verified version=TLSv1.2 cipher=c name=alice");
    h.is_local = true;
    expect_written_v2(&h, "v2 local");

    /* what is not known about a client does not hide the rest; readers of UNSPEC skip it */
    h.is_local = h.has_endpoints = false;
    assert_true(proxy_header_write_v2(&h, out) > 50);
    expect_written_v2(&h, "v2 unknown");
}

/* What could not be read back is left out; the largest of everything fits. */
static void test_written_bounds(void **state)
{
    (void)state;
    static char long_text[PROXY_HEADER_TEXT_MAX + 1];
    memset(long_text, 'x', sizeof(long_text));
    struct proxy_header_text most = {long_text, PROXY_HEADER_TEXT_MAX};
    struct proxy_header_text over = {long_text, PROXY_HEADER_TEXT_MAX + 1};
    struct proxy_header h = {.has_endpoints = true,
                             .source = at("::1", 1),
                             .destination = at("::1", 2),
                             .is_tls = true,
                             .is_client_verified = true};
    uint8_t out[PROXY_HEADER_WRITE_MAX];
    size_t bare = proxy_header_write_v2(&h, out);
    h.alpn = h.authority = h.netns = h.tls_version = h.tls_cipher = h.tls_client_name = over;
    h.unique_id = (struct proxy_header_text){long_text, PROXY_HEADER_ID_MAX + 1};
    assert_int_equal(proxy_header_write_v2(&h, out), bare);
    expect_written_v2(&h, "v2 [::1]:1 > [::1]:2 tls verified");

    h.alpn = h.authority = h.netns = h.tls_version = h.tls_cipher = h.tls_client_name = most;
    h.unique_id.len = PROXY_HEADER_ID_MAX;
    size_t len = proxy_header_write_v2(&h, out);
    assert_int_equal(len, bare + 6 * (3 + PROXY_HEADER_TEXT_MAX) + 3 + PROXY_HEADER_ID_MAX);
    struct proxy_header_reader *r = proxy_header_reader_new();
    size_t left;
    assert_int_equal(feed(r, out, len, &left), PROXY_HEADER_DONE);
    assert_int_equal(proxy_header_of(r)->tls_client_name.len, PROXY_HEADER_TEXT_MAX);
    assert_int_equal(proxy_header_of(r)->netns.len, PROXY_HEADER_TEXT_MAX);
    proxy_header_reader_free(r);
    proxy_header_reader_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_v1),
        cmocka_unit_test(test_v1_bad),
        cmocka_unit_test(test_v1_length),
        cmocka_unit_test(test_v2_addresses),
        cmocka_unit_test(test_v2_local),
        cmocka_unit_test(test_v2_values),
        cmocka_unit_test(test_v2_ssl),
        cmocka_unit_test(test_v2_of_haproxy),
        cmocka_unit_test(test_v2_bad_begin),
        cmocka_unit_test(test_v2_lengths),
        cmocka_unit_test(test_v2_bad_values),
        cmocka_unit_test(test_written_v1),
        cmocka_unit_test(test_written_v2),
        cmocka_unit_test(test_written_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
