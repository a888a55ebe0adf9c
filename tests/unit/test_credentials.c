/* proxy/serve/access/credentials.h */
#include "credentials.h"

#include "ws_handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ENTRY CREDENTIALS_SUBPROTOCOL
#define ABC   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" /* of "abc" */
#define NONE  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" /* of "" */

static struct ws_head *request_with(const char *fields)
{
    static const char begin[] = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
                                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    struct ws_head *head = ws_head_new(WS_SERVER);
    char *text = malloc(sizeof(begin) + strlen(fields) + 2);
    assert_non_null(head);
    assert_non_null(text);
    struct text t;
    text_init(&t, text, sizeof(begin) + strlen(fields) + 2);
    text_add(&t, begin);
    text_add(&t, fields);
    text_add(&t, "\r\n");
    assert_false(t.overflowed);
    struct span in = {(uint8_t *)t.data, t.len};
    assert_int_equal(ws_head_feed(head, &in), WS_HEAD_DONE);
    free(text);
    return head;
}

/* "none", the hash in hex, or what is wrong. */
static const char *read_from(const char *fields)
{
    static char out[128];
    struct ws_head *head = request_with(fields);
    uint8_t digest[CRYPTO_SHA256_SIZE];
    const char *problem = NULL;
    enum credentials_result result = credentials_read(head, digest, &problem);
    assert_non_null(problem);
    assert_true((result == CREDENTIALS_MALFORMED) == (problem[0] != '\0'));
    if (result == CREDENTIALS_GIVEN)
        crypto_hex(digest, sizeof(digest), out);
    else
        snprintf(out, sizeof(out), "%s", result == CREDENTIALS_NONE ? "none" : problem);
    assert_int_not_equal(result, CREDENTIALS_NO_MEMORY);
    ws_head_free(head);
    return out;
}

#define FIELD(value)    "Authorization: " value "\r\n"
#define PROTOCOL(value) "Sec-WebSocket-Protocol: " value "\r\n"
#define SEVERAL         "more than one Authorization field"
#define NO_BEARER       "malformed bearer token"
#define NO_BASE64URL    "the token among the subprotocols is not in base64url"
#define TWO_ENTRIES     "more than one token among the subprotocols"
#define DIFFERENT       "two different tokens"

static void test_where_a_token_is_found(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *expected;
    } cases[] = {
        {"", "none"},
        {FIELD("Bearer abc"), ABC},
        {FIELD("bearer abc"), ABC},
        {FIELD("BEARER   abc "), ABC},
        {FIELD("Bearer\tabc"), ABC},
        {FIELD("Bearer"), NONE},
        {FIELD("Bearer "), NONE},
        {FIELD(""), "none"},
        {FIELD("abc"), "none"},
        {FIELD("Bearerabc"), "none"},
        {FIELD("Basic YWJj"), "none"},
        {FIELD("Bearer abc def"), NO_BEARER},
        {FIELD("Bearer abc, Bearer abc"), NO_BEARER},
        {FIELD("Bearer a\xc3\xa9"), NO_BEARER},
        {FIELD("Bearer \"abc\""), NO_BEARER},
        {FIELD("Bearer a=c"), NO_BEARER},
        {FIELD("Bearer abc") FIELD("Bearer abc"), SEVERAL},
        {FIELD("Basic YWJj") FIELD("Bearer abc"), SEVERAL},

        {PROTOCOL("v1.tidegate, " ENTRY "YWJj"), ABC},
        {PROTOCOL(ENTRY "YWJj,v1.tidegate"), ABC},
        {PROTOCOL(" ,, " ENTRY "YWJj ,"), ABC},
        {PROTOCOL("v1.tidegate") PROTOCOL(ENTRY "YWJj"), ABC},
        {PROTOCOL(ENTRY), NONE},
        {PROTOCOL("v1.tidegate"), "none"},
        {PROTOCOL(""), "none"},
        {PROTOCOL("base64url.bearer.authorization.k8s.io.YWJj"), "none"},
        {PROTOCOL("x" ENTRY "YWJj"), "none"},
        {PROTOCOL(ENTRY "YWJj="), NO_BASE64URL},
        {PROTOCOL(ENTRY "YWJ"), NO_BASE64URL},
        {PROTOCOL(ENTRY "YW.j"), NO_BASE64URL},
        {PROTOCOL(ENTRY "YWJj YWJj"), NO_BASE64URL},
        {PROTOCOL(ENTRY "YWJj, " ENTRY "YWJj"), TWO_ENTRIES},
        {PROTOCOL(ENTRY ", " ENTRY), TWO_ENTRIES},

        {FIELD("Bearer abc") PROTOCOL(ENTRY "YWJj"), ABC},
        {FIELD("Bearer abd") PROTOCOL(ENTRY "YWJj"), DIFFERENT},
        {FIELD("Bearer") PROTOCOL(ENTRY "YWJj"), DIFFERENT},
        {FIELD("Bearer a c") PROTOCOL(ENTRY "YWJj"), NO_BEARER},
        {FIELD("Bearer abc") PROTOCOL(ENTRY "YWJ"), NO_BASE64URL},
        {FIELD("Basic YWJj") PROTOCOL(ENTRY "YWJj"), ABC},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        const char *found = read_from(cases[i].fields);
        if (strcmp(found, cases[i].expected) != 0)
            fail_msg("%s: %s", cases[i].fields, found);
    }
}

/* Both ways hash the same bytes, however long: pieces are not lost where they meet. */
static void test_any_length(void **state)
{
    (void)state;
    static char token[10001], entry[14000], fields[15000];
    static const size_t lengths[] = {1, 2, 43, 47, 48, 49, 95, 96, 97, 4095, 4096, 4097, 10000};
    for (size_t i = 0; i < array_count(lengths); i++) {
        for (size_t k = 0; k < lengths[i]; k++)
            token[k] = (char)('a' + k % 26);
        token[lengths[i]] = '\0';
        assert_int_equal(crypto_base64url_encode(token, lengths[i], entry, sizeof(entry)), 0);
        snprintf(fields, sizeof(fields), FIELD("Bearer %s"), token);
        char expected[65];
        memcpy(expected, read_from(fields), sizeof(expected));
        snprintf(fields, sizeof(fields), PROTOCOL(ENTRY "%s"), entry);
        assert_string_equal(read_from(fields), expected);
    }
}

/* To the handshake the entry is one of those it does not know: it neither answers it nor minds. */
static void test_the_entry_is_not_answered(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *subprotocol;
        enum ws_carrier carrier;
    } cases[] = {
        {PROTOCOL("v1.tidegate, " ENTRY "YWJj"), "v1.tidegate", WS_SUBPROTOCOL},
        {PROTOCOL(ENTRY "YWJj, v1.tidegate"), "v1.tidegate", WS_SUBPROTOCOL},
        {PROTOCOL(ENTRY "YWJj, binary"), "binary", WS_PLAIN},
        {PROTOCOL(ENTRY "YWJj"), NULL, WS_PLAIN},
        {PROTOCOL(ENTRY "YWJj") "Sec-WebSocket-Extensions: tidegate-half-close\r\n", NULL,
         WS_EXTENSION},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct ws_head *head = request_with(cases[i].fields);
        struct ws_offer offer;
        const char *problem;
        char buffer[1024];
        struct text t;
        assert_int_equal(ws_handshake_judge(head, &offer, &problem), 101);
        assert_int_equal(offer.carrier, cases[i].carrier);
        if (cases[i].subprotocol == NULL)
            assert_null(offer.subprotocol);
        else
            assert_string_equal(offer.subprotocol, cases[i].subprotocol);
        text_init(&t, buffer, sizeof(buffer));
        ws_handshake_accept(&offer, &t);
        assert_null(strstr(t.data, "bearer"));
        ws_head_free(head);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_where_a_token_is_found),
        cmocka_unit_test(test_any_length),
        cmocka_unit_test(test_the_entry_is_not_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
