/* Reading one HTTP head. A scanner of our own finds its end, byte by byte, and refuses what a
 * lenient reader on the way might take differently: line ends, folded lines, control characters,
 * sizes. llhttp then parses the whole head in one go, so that no split of the input can change the
 * verdict. */
#include "ws_head.h"

#include "text.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <llhttp.h>

#define INFORMATIONAL_MAX 16 /* 1xx responses that a client skips */

#define AS_TEXT(x)            #x
#define VERSION_TEXT(a, b, c) AS_TEXT(a) "." AS_TEXT(b) "." AS_TEXT(c)

const char *ws_head_library_version(void)
{
    return VERSION_TEXT(LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR, LLHTTP_VERSION_PATCH);
}

struct piece {
    uint16_t begin, end; /* in raw */
};

struct field {
    struct piece name, value;
    const char *joined; /* of a repeated field, in its first: all values, once somebody asked */
};

_Static_assert(WS_HEAD_MAX <= UINT16_MAX, "offsets are 16 bits");

struct ws_head {
    enum ws_role role;
    enum ws_head_result result;
    int status; /* to answer with, or the one that a server sent */
    const char *problem;
    unsigned informational;
    bool takes_1_0, is_1_0;

    /* the scanner */
    size_t used;        /* bytes in raw */
    size_t line_begin;  /* where the current line begins */
    size_t target_size; /* so far, and spaces met, in the request line */
    unsigned line_count, spaces;

    /* what llhttp found */
    llhttp_t parser;
    bool is_parsed;
    struct piece target;
    unsigned field_count;
    struct field fields[WS_FIELDS_MAX];

    char raw[WS_HEAD_MAX]; /* the head; after parsing each name and value is terminated in place */
    char joined[WS_HEAD_MAX]; /* values of repeated fields */
    size_t joined_used;
};

/* ---- llhttp ---- */

/* Spans may come in parts: each part lies right behind the one before it. */
static void extend(struct ws_head *head, struct piece *p, const char *at, size_t len)
{
    size_t begin = (size_t)(at - head->raw);
    if (p->end == 0)
        p->begin = (uint16_t)begin;
    p->end = (uint16_t)(begin + len);
}

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct ws_head *head = parser->data;
    extend(head, &head->target, at, len);
    return 0;
}

/* The scanner has counted the lines: there are never more fields than places. */
static struct field *current_field(struct ws_head *head)
{
    assert(head->field_count < WS_FIELDS_MAX);
    return &head->fields[head->field_count];
}

static int on_header_field(llhttp_t *parser, const char *at, size_t len)
{
    extend(parser->data, &current_field(parser->data)->name, at, len);
    return 0;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t len)
{
    extend(parser->data, &current_field(parser->data)->value, at, len);
    return 0;
}

static int on_header_value_complete(llhttp_t *parser)
{
    struct ws_head *head = parser->data;
    current_field(head);
    head->field_count++;
    return 0;
}

/* Nothing behind the head is llhttp's business. */
static int on_headers_complete(llhttp_t *parser)
{
    struct ws_head *head = parser->data;
    head->is_parsed = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_value_complete,
    .on_headers_complete = on_headers_complete,
};

/* ---- one head ---- */

static void head_reset(struct ws_head *head)
{
    head->result = WS_HEAD_MORE;
    head->used = head->line_begin = head->target_size = head->joined_used = 0;
    head->line_count = head->spaces = 0;
    head->is_parsed = false;
    head->target = (struct piece){0};
    head->field_count = 0;
    memset(head->fields, 0, sizeof(head->fields));
    llhttp_init(&head->parser, head->role == WS_SERVER ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    head->parser.data = head;
}

struct ws_head *ws_head_new(enum ws_role role)
{
    struct ws_head *head = malloc(sizeof(*head)); /* most of it is never touched: no calloc */
    if (head == NULL)
        return NULL;
    head->role = role;
    head->status = 0;
    head->problem = "";
    head->informational = 0;
    head->takes_1_0 = head->is_1_0 = false;
    head_reset(head);
    return head;
}

void ws_head_take_1_0(struct ws_head *head)
{
    head->takes_1_0 = true;
}

bool ws_head_is_1_0(const struct ws_head *head)
{
    return head->is_1_0;
}

void ws_head_free(struct ws_head *head)
{
    free(head);
}

static void fail(struct ws_head *head, int status, const char *problem)
{
    head->result = WS_HEAD_FAILED;
    head->status = head->role == WS_SERVER ? status : 0;
    head->problem = problem;
}

/* Trims and terminates a field in place: behind a name stands ':', behind a value CR. False if the
 * name is none; llhttp's idea of that differs between its versions. */
static bool finish_field(struct ws_head *head, struct field *f)
{
    char *raw = head->raw;
    size_t len = (size_t)f->name.end - f->name.begin;
    if (len == 0 || text_token_length(raw + f->name.begin) != len || raw[f->name.end] != ':')
        return false;
    for (size_t i = f->name.begin; i < f->name.end; i++)
        if (raw[i] >= 'A' && raw[i] <= 'Z')
            raw[i] = (char)(raw[i] - 'A' + 'a');
    if (f->value.begin == f->value.end) /* empty: llhttp 8.1 points at the next line */
        f->value.begin = f->value.end = (uint16_t)(f->name.end + 1);
    while (f->value.end > f->value.begin &&
           (raw[f->value.end - 1] == ' ' || raw[f->value.end - 1] == '\t'))
        f->value.end--;
    return true;
}

static void terminate(struct ws_head *head, struct piece p)
{
    head->raw[p.end] = '\0';
}

/* "HTTP/2.0" and the like at the end of the request line: not malformed, but 505 (RFC 9110 15.6.6).
 */
static bool is_other_major(const struct ws_head *head)
{
    const char *cr = memchr(head->raw, '\r', head->used);
    size_t len = (size_t)(cr - head->raw), tail = strlen(" HTTP/2.0");
    if (len < tail)
        return false;
    const char *version = cr - tail;
    return memcmp(version, " HTTP/", 6) == 0 && version[6] >= '2' && version[6] <= '9' &&
           version[7] == '.' && version[8] >= '0' && version[8] <= '9';
}

/* The scanner has seen the end of the head. */
static void parse(struct ws_head *head)
{
    if (head->role == WS_SERVER && is_other_major(head)) {
        fail(head, 505, "HTTP version not supported: HTTP/1.1 is");
        return;
    }
    llhttp_errno_t e = llhttp_execute(&head->parser, head->raw, head->used);
    if (e != HPE_PAUSED || !head->is_parsed) {
        fail(head, 400, "malformed HTTP");
        return;
    }
    for (unsigned i = 0; i < head->field_count; i++) {
        if (!finish_field(head, &head->fields[i])) {
            fail(head, 400, "malformed field name");
            return;
        }
    }
    for (unsigned i = 0; i < head->field_count; i++) {
        terminate(head, head->fields[i].name);
        terminate(head, head->fields[i].value);
    }
    bool is_1_1 =
        llhttp_get_http_major(&head->parser) == 1 && llhttp_get_http_minor(&head->parser) == 1;
    head->result = WS_HEAD_DONE;
    if (head->role == WS_SERVER) {
        terminate(head, head->target);
        head->is_1_0 =
            llhttp_get_http_major(&head->parser) == 1 && llhttp_get_http_minor(&head->parser) == 0;
        if (!is_1_1 && !(head->takes_1_0 && head->is_1_0))
            fail(head, 400, "WebSocket needs HTTP/1.1");
        return;
    }
    head->status = llhttp_get_status_code(&head->parser);
    if (head->status < 100) /* llhttp 8.1 takes fewer digits than three */
        fail(head, 0, "malformed HTTP");
    else if (head->status == 101 && !is_1_1)
        fail(head, 0, "101 without HTTP/1.1");
}

/* A client waits behind "100 Continue" and the like. */
static void skip_informational(struct ws_head *head)
{
    if (head->status < 100 || head->status > 199 || head->status == 101)
        return;
    if (++head->informational > INFORMATIONAL_MAX)
        fail(head, 0, "too many 1xx responses");
    else
        head_reset(head);
}

/* ---- the scanner ---- */

/* CR LF is there. */
static void end_line(struct ws_head *head)
{
    size_t size = head->used - 2 - head->line_begin;
    head->line_begin = head->used;
    if (size > 0) {
        head->line_count++;
        return;
    }
    if (head->line_count == 0) {
        fail(head, 400, "empty line before the request");
        return;
    }
    parse(head);
    if (head->result == WS_HEAD_DONE && head->role == WS_CLIENT)
        skip_informational(head);
}

/* Method, target, version: one space between them (RFC 9112 3), although llhttp takes more. */
static void scan_request_line(struct ws_head *head, char c)
{
    if (c == ' ')
        head->spaces++;
    if (c == '\t' || head->spaces > 2 || (head->spaces == 2 && head->target_size == 0))
        fail(head, 400, "malformed request line");
    else if (c != ' ' && head->spaces == 1 && ++head->target_size > WS_TARGET_MAX)
        fail(head, 414, "request target too long");
}

/* A server of another kind, which greets first, is not waited for. */
static void scan_status_line(struct ws_head *head, char c)
{
    static const char begin[] = "HTTP/";
    size_t at = head->used - 1;
    if (at < sizeof(begin) - 1 && c != begin[at])
        fail(head, 0, "malformed HTTP");
}

static void scan(struct ws_head *head, char c)
{
    bool is_after_cr = head->used > 0 && head->raw[head->used - 1] == '\r';
    bool is_line_begin = head->used == head->line_begin;
    if (head->used == WS_HEAD_MAX) {
        fail(head, 431, "request head too large");
        return;
    }
    head->raw[head->used++] = c;
    if (is_after_cr) {
        if (c != '\n')
            fail(head, 400, "CR without LF");
        else
            end_line(head);
        return;
    }
    if (c == '\r')
        return;
    if (c == '\n') {
        fail(head, 400, "LF without CR");
    } else if (((unsigned char)c < 0x20 && c != '\t') || c == 0x7F) {
        fail(head, 400, "control character in the head");
    } else if (is_line_begin && (c == ' ' || c == '\t')) {
        fail(head, 400, "folded header line");
    } else if (is_line_begin && c == ':') {
        fail(head, 400, "empty field name");
    } else if (is_line_begin && head->line_count > WS_FIELDS_MAX) {
        fail(head, 431, "too many header fields");
    } else if (head->line_count == 0 && head->role == WS_SERVER) {
        scan_request_line(head, c);
    } else if (head->line_count == 0) {
        scan_status_line(head, c);
    }
}

/* Takes what stands within a header line and may stand there, which is most of a head: nothing has
 * to be looked at but where it ends. */
static size_t take_plain(struct ws_head *head, struct span in)
{
    if (head->line_count == 0 || head->used == head->line_begin ||
        head->raw[head->used - 1] == '\r')
        return 0;
    size_t len = 0, room = WS_HEAD_MAX - head->used;
    size_t most = in.len < room ? in.len : room;
    while (len < most && in.data[len] >= 0x20 && in.data[len] != 0x7F)
        len++;
    memcpy(head->raw + head->used, in.data, len);
    head->used += len;
    return len;
}

enum ws_head_result ws_head_feed(struct ws_head *head, struct span *in)
{
    while (head->result == WS_HEAD_MORE && in->len > 0) {
        size_t taken = take_plain(head, *in);
        if (taken == 0) {
            scan(head, (char)in->data[0]);
            taken = 1;
        }
        in->data += taken;
        in->len -= taken;
    }
    return head->result;
}

/* ---- what was found ---- */

int ws_head_status(const struct ws_head *head)
{
    return head->status;
}

const char *ws_head_problem(const struct ws_head *head)
{
    return head->problem;
}

const char *ws_head_method(const struct ws_head *head)
{
    return llhttp_method_name((llhttp_method_t)head->parser.method);
}

const char *ws_head_target(const struct ws_head *head)
{
    return head->raw + head->target.begin;
}

/* Behind the scheme of an absolute target (RFC 9112 3.2.2), or NULL. */
static const char *behind_scheme(const char *target)
{
    static const char *const schemes[] = {"http://", "https://", "ws://", "wss://"};
    for (size_t i = 0; i < array_count(schemes); i++) {
        size_t len = strlen(schemes[i]);
        if (strlen(target) > len && text_equals_nocase(target, len, schemes[i]))
            return target + len;
    }
    return NULL;
}

const char *ws_head_path(const struct ws_head *head, size_t *len)
{
    const char *path = ws_head_target(head), *authority = behind_scheme(path);
    if (authority != NULL) {
        path = authority + strcspn(authority, "/?");
        if (*path != '/')
            path = "/";
    }
    *len = *path == '/' ? strcspn(path, "?") : 0;
    return path;
}

const char *ws_head_authority(const struct ws_head *head, size_t *len)
{
    const char *authority = behind_scheme(ws_head_target(head));
    *len = authority != NULL ? strcspn(authority, "/?") : 0;
    return authority;
}

static bool is_named(const struct ws_head *head, const struct field *f, const char *name)
{
    const char *own = head->raw + f->name.begin;
    return own[0] == name[0] && strcmp(own, name) == 0;
}

unsigned ws_head_field_count(const struct ws_head *head, const char *name)
{
    unsigned n = 0;
    for (unsigned i = 0; i < head->field_count; i++)
        if (is_named(head, &head->fields[i], name))
            n++;
    return n;
}

/* All fields of one name, once: what the lines spent on the name, ':' and CR LF pays for ", ". */
static const char *join(struct ws_head *head, unsigned first, const char *name)
{
    struct text t;
    text_init(&t, head->joined + head->joined_used, sizeof(head->joined) - head->joined_used);
    for (unsigned i = first; i < head->field_count; i++) {
        if (!is_named(head, &head->fields[i], name))
            continue;
        if (i > first)
            text_add(&t, ", ");
        text_add(&t, head->raw + head->fields[i].value.begin);
    }
    assert(!t.overflowed);
    head->joined_used += t.len + 1;
    return t.data;
}

const char *ws_head_field(struct ws_head *head, const char *name)
{
    for (unsigned i = 0; i < head->field_count; i++) {
        struct field *f = &head->fields[i];
        if (!is_named(head, f, name))
            continue;
        if (f->joined == NULL)
            f->joined = ws_head_field_count(head, name) == 1 ? head->raw + f->value.begin
                                                             : join(head, i, name);
        return f->joined;
    }
    return NULL;
}
