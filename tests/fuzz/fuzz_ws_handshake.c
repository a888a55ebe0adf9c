/* The opening handshake, both roles: no split of the input changes the verdict; what is accepted
 * keeps the rules that smuggling breaks; every answer of ours is HTTP that our own client reads,
 * and takes for what the server meant.
 *
 * Input: a byte of options (role; what a client offered), where to split (two bytes), then what the
 * peer sends. */
#include "fuzz.h"
#include "half_close.h"
#include "ws_handshake.h"

#include <string.h>

#define PROLOGUE 3
#define KEY      "dGhlIHNhbXBsZSBub25jZQ=="

static const struct ws_ask base_ask = {.host = "x", .target = "/", .key = KEY};

/* Feeds a copy of `len` bytes; what is left of them is counted. */
static enum ws_head_result feed(struct ws_head *head, const uint8_t *bytes, size_t len,
                                size_t *left)
{
    uint8_t *block = malloc(len > 0 ? len : 1);
    FUZZ_CHECK(block != NULL);
    if (len > 0)
        memcpy(block, bytes, len);
    struct span in = {block, len};
    enum ws_head_result result = ws_head_feed(head, &in);
    FUZZ_CHECK(in.data + in.len == block + len);
    FUZZ_CHECK(result != WS_HEAD_MORE || in.len == 0);
    *left = in.len;
    free(block);
    return result;
}

/* Our answer to a request, read by our client. */
static void check_answer(int status, const struct ws_offer *offer, const char *problem,
                         const char *key)
{
    char answer[1024];
    struct text t;
    text_init(&t, answer, sizeof(answer));
    if (status == 101)
        ws_handshake_accept(offer, &t);
    else
        ws_handshake_refuse(status, problem, &t);
    FUZZ_CHECK(!t.overflowed);

    struct ws_head *response = ws_head_new(WS_CLIENT);
    size_t left;
    FUZZ_CHECK(response != NULL);
    FUZZ_CHECK(feed(response, (uint8_t *)answer, t.len, &left) == WS_HEAD_DONE);
    FUZZ_CHECK(ws_head_status(response) == status);
    if (status == 101) {
        struct ws_ask ask = base_ask;
        enum ws_carrier carrier;
        const char *why;
        FUZZ_CHECK(left == 0 && strlen(key) == WS_KEY_SIZE - 1);
        memcpy(ask.key, key, WS_KEY_SIZE);
        ask.offers_extension = ask.offers_subprotocol = true;
        bool is_binary = offer->subprotocol != NULL && strcmp(offer->subprotocol, "binary") == 0;
        bool is_unasked = is_binary || offer->window > 0; /* our client asks for neither */
        int r = ws_handshake_check(response, &ask, &carrier, &why);
        FUZZ_CHECK(is_unasked ? r < 0 : r == 0 && carrier == offer->carrier);
    } else {
        FUZZ_CHECK(left == strlen(problem) + 1);
    }
    ws_head_free(response);
}

/* What must hold of the bytes of a head that was accepted. */
static void check_accepted_bytes(const uint8_t *bytes, size_t len)
{
    FUZZ_CHECK(len >= 4 && memcmp(bytes + len - 4, "\r\n\r\n", 4) == 0);
    for (size_t i = 0; i < len; i++) {
        FUZZ_CHECK(bytes[i] >= 0x20 || bytes[i] == '\r' || bytes[i] == '\n' || bytes[i] == '\t');
        FUZZ_CHECK(bytes[i] != '\r' || bytes[i + 1] == '\n');
        FUZZ_CHECK(bytes[i] != '\n' || bytes[i - 1] == '\r');
        FUZZ_CHECK(bytes[i] != '\n' || i + 1 == len ||
                   (bytes[i + 1] != ' ' && bytes[i + 1] != '\t'));
    }
    FUZZ_CHECK(len <= WS_HEAD_MAX);
}

static void judge_request(struct ws_head *head, struct text *verdict)
{
    struct ws_offer offer;
    const char *problem;
    int status = ws_handshake_judge(head, &offer, &problem);
    text_addf(verdict, "%s %s: %d %s", ws_head_method(head), ws_head_target(head), status, problem);
    if (status == 101) {
        text_addf(verdict, " carrier %d, subprotocol %s, window %llu", offer.carrier,
                  offer.subprotocol != NULL ? offer.subprotocol : "-",
                  (unsigned long long)offer.window);
        FUZZ_CHECK(offer.window == 0 || offer.carrier == WS_SUBPROTOCOL);
        FUZZ_CHECK(offer.window <= HALF_CLOSE_NUMBER_MAX);
        FUZZ_CHECK(strcmp(ws_head_method(head), "GET") == 0);
        FUZZ_CHECK(strlen(ws_head_target(head)) <= WS_TARGET_MAX);
        size_t path_len;
        const char *path = ws_head_path(head, &path_len);
        FUZZ_CHECK(path_len > 0 && path[0] == '/' && memchr(path, '?', path_len) == NULL);
        FUZZ_CHECK(ws_head_field_count(head, "host") == 1);
        FUZZ_CHECK(ws_head_field_count(head, "sec-websocket-key") == 1);
        FUZZ_CHECK(ws_head_field_count(head, "transfer-encoding") == 0);
        FUZZ_CHECK(offer.carrier == WS_PLAIN || offer.has_half_close_asked);
    } else {
        FUZZ_CHECK(status >= 400 && status <= 599 && problem[0] != '\0');
    }
    check_answer(status, &offer, problem, ws_head_field(head, "sec-websocket-key"));
}

static void judge_response(struct ws_head *head, uint8_t options, struct text *verdict)
{
    struct ws_ask ask = base_ask;
    ask.is_plain = (options & 2) != 0;
    ask.offers_extension = (options & 4) != 0;
    ask.offers_subprotocol = (options & 8) != 0;
    enum ws_carrier carrier;
    const char *problem;
    int r = ws_handshake_check(head, &ask, &carrier, &problem);
    text_addf(verdict, "%d: %d %s %d", ws_head_status(head), r, problem, carrier);
    FUZZ_CHECK(r == 0 || problem[0] != '\0');
    FUZZ_CHECK(carrier == WS_PLAIN || (r == 0 && !ask.is_plain));
    FUZZ_CHECK(carrier != WS_EXTENSION || ask.offers_extension);
    FUZZ_CHECK(carrier != WS_SUBPROTOCOL || ask.offers_subprotocol);
}

/* The verdict as text, in `out`. */
static void judge(uint8_t options, const uint8_t *bytes, size_t len, size_t first, size_t step,
                  char *out, size_t size)
{
    enum ws_role role = (options & 1) != 0 ? WS_CLIENT : WS_SERVER;
    struct ws_head *head = ws_head_new(role);
    FUZZ_CHECK(head != NULL);
    size_t left, used = first;
    enum ws_head_result result = feed(head, bytes, first, &left);
    while (result == WS_HEAD_MORE && used < len) {
        size_t n = len - used < step ? len - used : step;
        result = feed(head, bytes + used, n, &left);
        used += n;
    }
    left += len - used;

    struct text verdict;
    text_init(&verdict, out, size);
    text_addf(&verdict, "%d, %zu left: ", result, left);
    if (result == WS_HEAD_FAILED) {
        int status = ws_head_status(head);
        text_addf(&verdict, "%d %s", status, ws_head_problem(head));
        FUZZ_CHECK(ws_head_problem(head)[0] != '\0');
        FUZZ_CHECK(role == WS_CLIENT ? status == 0 : status >= 400 && status <= 599);
        if (role == WS_SERVER)
            check_answer(status, NULL, ws_head_problem(head), NULL);
    } else if (result == WS_HEAD_DONE && role == WS_SERVER) {
        check_accepted_bytes(bytes, len - left);
        judge_request(head, &verdict);
    } else if (result == WS_HEAD_DONE) {
        judge_response(head, options, &verdict);
    }
    ws_head_free(head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char whole[8192], other[8192];
    if (size < PROLOGUE || size > 40000)
        return 0;
    const uint8_t *bytes = data + PROLOGUE;
    size_t len = size - PROLOGUE;
    size_t cut = ((size_t)data[1] << 8 | data[2]) % (len + 1);
    judge(data[0], bytes, len, len, 1, whole, sizeof(whole));
    judge(data[0], bytes, len, cut, len + 1, other, sizeof(other));
    FUZZ_CHECK(strcmp(whole, other) == 0);
    judge(data[0], bytes, len, 0, 1, other, sizeof(other));
    FUZZ_CHECK(strcmp(whole, other) == 0);
    return 0;
}
