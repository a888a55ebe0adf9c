#include "ws_handshake.h"

#include "crypto.h"
#include "half_close.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define KEY_BYTES          16
#define KEY_DIGITS         22 /* of base64, before its padding */
#define GUID               "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 1.3 */
#define BINARY_SUBPROTOCOL "binary" /* websockify's name for what we call plain */
#define RETRY_AFTER_S      "5"

/* ---- lists (RFC 9110 5.6.1) ---- */

static const char *skip_blanks(const char *p)
{
    return p + strspn(p, " \t");
}

/* Moves behind a token; an empty one is none. */
static bool skip_token(const char **p)
{
    size_t len = text_token_length(*p);
    *p += len;
    return len > 0;
}

/* Moves behind a quoted string. */
static bool skip_quoted(const char **p)
{
    const char *q = *p + 1;
    while (*q != '"') {
        if (*q == '\\')
            q++;
        if (*q == '\0')
            return false;
        q++;
    }
    *p = q + 1;
    return true;
}

/* Moves behind ";name", ";name=token" or ";name="quoted"", blanks anywhere around. */
static bool skip_parameter(const char **p)
{
    *p = skip_blanks(*p + 1);
    if (!skip_token(p))
        return false;
    *p = skip_blanks(*p);
    if (**p != '=')
        return true;
    *p = skip_blanks(*p + 1);
    return **p == '"' ? skip_quoted(p) : skip_token(p);
}

static bool is_same(const char *name, size_t len, const char *ours)
{
    return len == strlen(ours) && memcmp(name, ours, len) == 0;
}

/* The number behind "v1.tidegate.window."; 0: it is some other subprotocol. */
static uint64_t window_of(const char *name, size_t len)
{
    size_t prefix = strlen(HALF_CLOSE_WINDOWED);
    uint64_t window;

    if (len < prefix || memcmp(name, HALF_CLOSE_WINDOWED, prefix) != 0 ||
        !text_parse_number(name + prefix, len - prefix, HALF_CLOSE_NUMBER_MAX, &window))
        return 0;
    return window;
}

/* What is found of ours in a list of extensions or subprotocols. */
struct found {
    unsigned elements;       /* in the list */
    bool has_half_close;     /* the extension without parameters, or the subprotocol */
    uint64_t window;         /* of the first subprotocol that is well formed and has one; or 0 */
    bool has_with_parameter; /* the extension, with some: not acceptable */
    bool has_binary;
};

/* Reads all of `list`, or says false: half a list is not judged. NULL is an empty one. Linear time:
 * each character is looked at a fixed number of times. `takes_parameters` for extensions. */
static bool read_list(const char *list, bool takes_parameters, struct found *out)
{
    *out = (struct found){0};
    const char *p = list != NULL ? list : "";
    for (;;) {
        p = skip_blanks(p);
        if (*p == ',') { /* empty elements are allowed, and mean nothing */
            p++;
            continue;
        }
        if (*p == '\0')
            return true;
        const char *name = p;
        bool has_parameter = false;
        if (!skip_token(&p))
            return false;
        size_t len = (size_t)(p - name);
        p = skip_blanks(p);
        while (takes_parameters && *p == ';') {
            has_parameter = true;
            if (!skip_parameter(&p))
                return false;
            p = skip_blanks(p);
        }
        if (*p != ',' && *p != '\0')
            return false;
        out->elements++;
        if (is_same(name, len, takes_parameters ? HALF_CLOSE_EXTENSION : HALF_CLOSE_SUBPROTOCOL)) {
            out->has_half_close = out->has_half_close || !has_parameter;
            out->has_with_parameter = out->has_with_parameter || has_parameter;
        } else if (!takes_parameters && is_same(name, len, BINARY_SUBPROTOCOL)) {
            out->has_binary = true;
        } else if (!takes_parameters && out->window == 0) {
            out->window = window_of(name, len);
        }
    }
}

/* ---- server ---- */

int ws_handshake_accept_key(const char *key, char out[WS_ACCEPT_SIZE])
{
    char joined[128];
    uint8_t digest[CRYPTO_SHA1_SIZE];
    struct text t;
    text_init(&t, joined, sizeof(joined));
    text_add(&t, key);
    text_add(&t, GUID);
    if (t.overflowed || crypto_sha1(t.data, t.len, digest) < 0)
        return -EIO;
    return crypto_base64_encode(digest, sizeof(digest), out, WS_ACCEPT_SIZE) == 0 ? 0 : -EIO;
}

/* An authority, not more: a name or an address, and a port. */
static bool is_host(const char *host)
{
    return host[0] != '\0' && host[strcspn(host, " \t/\\?#@\"<>")] == '\0';
}

/* "/path", or "http://host/path" and the like. */
static bool is_target(const struct ws_head *request)
{
    size_t path_len;
    ws_head_path(request, &path_len);
    return path_len > 0 && strchr(ws_head_target(request), '#') == NULL;
}

/* Of two names, routes and rules on the way might have looked at the other (RFC 9112 3.2.2 takes
 * the target's; 3.2 makes a client send the same twice). */
static bool is_host_of_target(const struct ws_head *request, const char *host)
{
    size_t len;
    const char *authority = ws_head_authority(request, &len);
    return authority == NULL || text_equals_nocase(authority, len, host);
}

static bool has_no_body(struct ws_head *head)
{
    const char *length = ws_head_field(head, "content-length");
    return ws_head_field(head, "transfer-encoding") == NULL &&
           (length == NULL || strcmp(length, "0") == 0);
}

/* Base64 of 16 bytes (RFC 4648 4), which are of no use to us. Two fields come joined by ", ". */
static bool is_key(const char *key)
{
    size_t len = 0;
    while (key != NULL &&
           ((key[len] >= 'A' && key[len] <= 'Z') || (key[len] >= 'a' && key[len] <= 'z') ||
            (key[len] >= '0' && key[len] <= '9') || key[len] == '+' || key[len] == '/'))
        len++;
    return len == KEY_DIGITS && strcmp(key + len, "==") == 0;
}

static bool has_token(struct ws_head *head, const char *field, const char *token)
{
    const char *list = ws_head_field(head, field);
    return list != NULL && text_list_has(list, token);
}

static void choose(struct ws_head *request, struct ws_offer *offer)
{
    struct found extensions, subprotocols;
    if (!read_list(ws_head_field(request, "sec-websocket-extensions"), true, &extensions))
        extensions = (struct found){0};
    if (!read_list(ws_head_field(request, "sec-websocket-protocol"), false, &subprotocols))
        subprotocols = (struct found){0};

    bool has_subprotocol = subprotocols.has_half_close || subprotocols.window > 0;
    offer->has_half_close_asked =
        extensions.has_half_close || extensions.has_with_parameter || has_subprotocol;
    if (extensions.has_half_close)
        offer->carrier = WS_EXTENSION;
    else if (has_subprotocol)
        offer->carrier = WS_SUBPROTOCOL;
    if (offer->carrier == WS_SUBPROTOCOL) {
        offer->subprotocol = HALF_CLOSE_SUBPROTOCOL;
        offer->window = subprotocols.window;
    } else if (subprotocols.has_binary) {
        offer->subprotocol = BINARY_SUBPROTOCOL;
    }
}

static int refuse(int status, const char *why, const char **problem)
{
    *problem = why;
    return status;
}

/* RFC 6455 4.2.1. `Upgrade` may name other protocols beside ours, in any order: we take ours. */
int ws_handshake_judge(struct ws_head *request, struct ws_offer *offer, const char **problem)
{
    *offer = (struct ws_offer){.carrier = WS_PLAIN};
    *problem = "";
    const char *host = ws_head_field(request, "host");
    const char *version = ws_head_field(request, "sec-websocket-version");
    const char *key = ws_head_field(request, "sec-websocket-key");

    if (ws_head_field_count(request, "host") != 1 || !is_host(host))
        return refuse(400, "exactly one Host field is needed", problem);
    if (strcmp(ws_head_method(request), "GET") != 0)
        return refuse(405, "the method must be GET", problem);
    if (!is_target(request))
        return refuse(400, "malformed request target", problem);
    if (!is_host_of_target(request, host))
        return refuse(400, "the request target names another host than Host", problem);
    if (!has_no_body(request))
        return refuse(400, "a request body is not allowed", problem);
    if (!has_token(request, "upgrade", "websocket") || !has_token(request, "connection", "upgrade"))
        return refuse(426, "a WebSocket upgrade is needed", problem);
    if (version == NULL || strcmp(version, "13") != 0)
        return refuse(426, "Sec-WebSocket-Version must be 13", problem);
    if (!is_key(key))
        return refuse(400, "exactly one Sec-WebSocket-Key of 16 bytes is needed", problem);
    if (ws_handshake_accept_key(key, offer->accept) < 0)
        return refuse(500, "internal error", problem);
    choose(request, offer);
    return 101;
}

void ws_handshake_accept(const struct ws_offer *offer, struct text *out)
{
    text_addf(out,
              "HTTP/1.1 101 Switching Protocols\r\n"
              "Upgrade: websocket\r\n"
              "Connection: Upgrade\r\n"
              "Sec-WebSocket-Accept: %s\r\n",
              offer->accept);
    if (offer->window > 0)
        text_addf(out, "Sec-WebSocket-Protocol: " HALF_CLOSE_WINDOWED "%" PRIu64 "\r\n",
                  offer->window);
    else if (offer->subprotocol != NULL)
        text_addf(out, "Sec-WebSocket-Protocol: %s\r\n", offer->subprotocol);
    if (offer->carrier == WS_EXTENSION)
        text_add(out, "Sec-WebSocket-Extensions: " HALF_CLOSE_EXTENSION "\r\n");
    text_add(out, "\r\n");
}

static const struct {
    int status;
    const char *phrase;
    const char *fields; /* that this status demands, beside the usual ones */
} refusals[] = {
    {400, "Bad Request", ""},
    {401, "Unauthorized", "WWW-Authenticate: Bearer\r\n"},
    {403, "Forbidden", ""},
    {404, "Not Found", ""},
    {405, "Method Not Allowed", "Allow: GET\r\n"},
    {408, "Request Timeout", ""},
    {414, "URI Too Long", ""},
    {426, "Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"},
    {431, "Request Header Fields Too Large", ""},
    {500, "Internal Server Error", ""},
    {502, "Bad Gateway", ""},
    {503, "Service Unavailable", "Retry-After: " RETRY_AFTER_S "\r\n"},
    {504, "Gateway Timeout", ""},
    {505, "HTTP Version Not Supported", ""},
};

void ws_handshake_refuse(int status, const char *problem, struct text *out)
{
    const char *phrase = "Refused", *fields = "";
    for (size_t i = 0; i < array_count(refusals); i++) {
        if (refusals[i].status == status) {
            phrase = refusals[i].phrase;
            fields = refusals[i].fields;
        }
    }
    /* who sends Upgrade names it in Connection, too (RFC 9110 7.8) */
    text_addf(out,
              "HTTP/1.1 %d %s\r\n"
              "Connection: close%s\r\n"
              "%s"
              "Content-Type: text/plain; charset=utf-8\r\n"
              "Content-Length: %zu\r\n"
              "\r\n"
              "%s\n",
              status, phrase, status == 426 ? ", Upgrade" : "", fields, strlen(problem) + 1,
              problem);
}

/* ---- client ---- */

int ws_handshake_ask(struct ws_ask *ask, struct text *out)
{
    uint8_t key[KEY_BYTES];
    if (crypto_random(key, sizeof(key)) < 0 ||
        crypto_base64_encode(key, sizeof(key), ask->key, sizeof(ask->key)) < 0)
        return -EIO;
    text_addf(out,
              "GET %s HTTP/1.1\r\n"
              "Host: %s\r\n"
              "Upgrade: websocket\r\n"
              "Connection: Upgrade\r\n"
              "Sec-WebSocket-Key: %s\r\n"
              "Sec-WebSocket-Version: 13\r\n",
              ask->target, ask->host, ask->key);
    if (!ask->is_plain && ask->offers_extension)
        text_add(out, "Sec-WebSocket-Extensions: " HALF_CLOSE_EXTENSION "\r\n");
    if (!ask->is_plain && ask->offers_subprotocol)
        text_add(out, "Sec-WebSocket-Protocol: " HALF_CLOSE_SUBPROTOCOL "\r\n");
    if (ask->fields != NULL)
        text_add(out, ask->fields);
    text_add(out, "\r\n");
    return out->overflowed ? -ENOSPC : 0;
}

static bool is_accepted(struct ws_head *response, const struct ws_ask *ask)
{
    const char *answer = ws_head_field(response, "sec-websocket-accept");
    char expected[WS_ACCEPT_SIZE];
    return answer != NULL && ws_handshake_accept_key(ask->key, expected) == 0 &&
           strcmp(answer, expected) == 0;
}

/* RFC 6455 4.1: every answer must be what was asked for. */
int ws_handshake_check(struct ws_head *response, const struct ws_ask *ask, enum ws_carrier *carrier,
                       const char **problem)
{
    *carrier = WS_PLAIN;
    *problem = "";
    if (ws_head_status(response) != 101)
        return refuse(-EACCES, "the server refused the upgrade", problem);
    const char *upgrade = ws_head_field(response, "upgrade");
    if (upgrade == NULL || !text_equals_nocase(upgrade, strlen(upgrade), "websocket"))
        return refuse(-EPROTO, "101 without Upgrade: websocket", problem);
    if (!has_token(response, "connection", "upgrade"))
        return refuse(-EPROTO, "101 without Connection: Upgrade", problem);
    if (!has_no_body(response))
        return refuse(-EPROTO, "101 with a body", problem);
    if (!is_accepted(response, ask))
        return refuse(-EPROTO, "wrong Sec-WebSocket-Accept", problem);

    struct found extensions, subprotocols;
    if (!read_list(ws_head_field(response, "sec-websocket-extensions"), true, &extensions) ||
        extensions.elements > 1 || (extensions.elements == 1 && !extensions.has_half_close) ||
        (extensions.elements == 1 && (ask->is_plain || !ask->offers_extension)))
        return refuse(-EPROTO, "an extension that was not asked for", problem);
    if (!read_list(ws_head_field(response, "sec-websocket-protocol"), false, &subprotocols) ||
        subprotocols.elements > 1 || (subprotocols.elements == 1 && !subprotocols.has_half_close) ||
        (subprotocols.elements == 1 && (ask->is_plain || !ask->offers_subprotocol)))
        return refuse(-EPROTO, "a subprotocol that was not asked for", problem);
    if (extensions.has_half_close && subprotocols.has_half_close)
        return refuse(-EPROTO, "both half-close carriers at once", problem);
    if (extensions.has_half_close)
        *carrier = WS_EXTENSION;
    else if (subprotocols.has_half_close)
        *carrier = WS_SUBPROTOCOL;
    return 0;
}
