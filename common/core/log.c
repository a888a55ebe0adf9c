#include "log.h"

#include "span.h"
#include "text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Kept free behind the fields for what ends a record: a closing quote, the mark of a cut, "}\n". */
#define TAIL_MAX 24

/* Up to PIPE_BUF a write to a pipe is atomic: records of several processes do not mix. */
_Static_assert(sizeof(((struct log_record *)0)->line) <= 4096, "one write must be atomic");

/* Atomic: a reload may change it while other threads write. A record is of the format that it
 * began in. */
static struct {
    _Atomic enum log_level least;
    _Atomic enum log_format format;
    _Atomic int fd;
    _Atomic bool is_journal;
} sink = {LOG_INFO, LOG_TEXT, STDERR_FILENO, false};

/* `syslog` is what journald reads between "<" and ">". */
static const struct {
    const char *name;
    int syslog;
} levels[] = {
    [LOG_DEBUG] = {"debug", 7},
    [LOG_INFO] = {"info", 6},
    [LOG_WARN] = {"warn", 4},
    [LOG_ERROR] = {"error", 3},
};

/* ---- set-up ---- */

/* systemd names the stream as "device:inode", so that a child whose stderr was redirected can tell.
 */
static bool is_journal(int fd)
{
    const char *named = getenv("JOURNAL_STREAM");
    struct stat st;
    if (named == NULL || fstat(fd, &st) < 0)
        return false;
    char ours[48];
    struct text t;
    text_init(&t, ours, sizeof(ours));
    text_addf(&t, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(named, ours) == 0;
}

void log_setup(enum log_level least, enum log_format format, int fd)
{
    sink.least = least;
    sink.format = format;
    sink.fd = fd;
    sink.is_journal = is_journal(fd);
}

bool log_level_parse(const char *s, enum log_level *out)
{
    for (size_t i = 0; i < array_count(levels); i++) {
        if (strcmp(s, levels[i].name) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

bool log_format_parse(const char *s, enum log_format *out)
{
    bool is_json = strcmp(s, "json") == 0;
    if (!is_json && strcmp(s, "text") != 0)
        return false;
    *out = is_json ? LOG_JSON : LOG_TEXT;
    return true;
}

/* ---- writing values ---- */

/* What fields may still take. A closing quote may stand in the tail already. */
static size_t room(const struct log_record *r)
{
    size_t used = r->len + TAIL_MAX;
    return used < sizeof(r->line) ? sizeof(r->line) - used : 0;
}

/* False, and the record is marked as cut, if it does not fit. */
static bool put(struct log_record *r, const char *s, size_t len)
{
    if (len > room(r)) {
        r->cut = true;
        return false;
    }
    memcpy(r->line + r->len, s, len);
    r->len += (unsigned)len;
    return true;
}

/* Length of the UTF-8 character at `s`, or 0 if none of RFC 3629 begins there. */
static size_t utf8_character(const uint8_t *s, size_t len)
{
    size_t size = s[0] < 0x80 ? 1 : s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (size == 1)
        return 1;
    if (s[0] < 0xC2 || s[0] > 0xF4 || size > len)
        return 0;
    uint8_t low = s[0] == 0xE0 ? 0xA0 : s[0] == 0xF0 ? 0x90 : 0x80;
    uint8_t high = s[0] == 0xED ? 0x9F : s[0] == 0xF4 ? 0x8F : 0xBF;
    for (size_t i = 1; i < size; i++) {
        if (s[i] < low || s[i] > high)
            return 0;
        low = 0x80;
        high = 0xBF;
    }
    return size;
}

/* Control characters beyond ASCII that a terminal or a log reader acts on: C1, and the two Unicode
 * line ends. */
static bool is_wide_control(const uint8_t *s, size_t size)
{
    return (size == 2 && s[0] == 0xC2 && s[1] < 0xA0) ||
           (size == 3 && s[0] == 0xE2 && s[1] == 0x80 && (s[2] == 0xA8 || s[2] == 0xA9));
}

/* One character, escaped where it must be. Text spells unfit bytes as \xNN; JSON has no bytes, so
 * what is not UTF-8 becomes U+FFFD there. */
static bool put_character(struct log_record *r, const uint8_t *s, size_t size)
{
    bool is_json = r->is_json;
    char escaped[24];
    struct text t;
    text_init(&t, escaped, sizeof(escaped));
    if (size == 0) {
        text_addf(&t, is_json ? "\\ufffd" : "\\x%02x", s[0]);
    } else if (size > 1 && is_wide_control(s, size)) {
        if (is_json)
            text_addf(&t, "\\u%s%02x", size == 2 ? "00" : "20", size == 2 ? s[1] : s[2] - 0x80);
        else
            for (size_t i = 0; i < size; i++)
                text_addf(&t, "\\x%02x", s[i]);
    } else if (size > 1) {
        return put(r, (const char *)s, size);
    } else if (s[0] == '"' || s[0] == '\\') {
        text_addf(&t, "\\%c", s[0]);
    } else if (s[0] == '\n' || s[0] == '\r' || s[0] == '\t') {
        text_add(&t, s[0] == '\n' ? "\\n" : s[0] == '\r' ? "\\r" : "\\t");
    } else if (s[0] < 0x20 || s[0] == 0x7F) {
        text_addf(&t, is_json ? "\\u%04x" : "\\x%02x", s[0]);
    } else {
        return put(r, (const char *)s, 1);
    }
    return put(r, escaped, t.len);
}

/* How many characters stand for themselves in either format, and within quotes. */
static size_t plain_run(const uint8_t *s, size_t len)
{
    size_t n = 0;
    while (n < len && s[n] >= ' ' && s[n] < 0x7F && s[n] != '"' && s[n] != '\\')
        n++;
    return n;
}

/* logfmt needs no quotes around a plain word. */
static bool needs_quotes(const uint8_t *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (s[i] <= ' ' || s[i] >= 0x7F || s[i] == '"' || s[i] == '\\' || s[i] == '=')
            return true;
    return len == 0;
}

static void put_value(struct log_record *r, const uint8_t *s, size_t len)
{
    bool is_quoted = r->is_json || needs_quotes(s, len);
    if (is_quoted && !put(r, "\"", 1))
        return;
    for (size_t i = 0; i < len;) {
        size_t plain = plain_run(s + i, len - i), fits = room(r);
        if (plain > fits) {
            put(r, (const char *)s + i, fits);
            r->cut = true;
            break;
        }
        put(r, (const char *)s + i, plain);
        i += plain;
        if (i == len)
            break;
        size_t size = utf8_character(s + i, len - i);
        if (!put_character(r, s + i, size))
            break;
        i += size > 0 ? size : 1;
    }
    if (is_quoted)
        r->line[r->len++] = '"'; /* TAIL_MAX has room for it */
}

/* Everything up to the value. A key is ours: nothing in it needs escaping. */
static bool put_key(struct log_record *r, const char *key)
{
    if (!r->wanted || r->cut)
        return false;
    bool is_first = r->len == 0 || r->line[r->len - 1] == '>';
    size_t len = strlen(key);
    /* with room for all around it, and both quotes of a value: a key without one is no JSON */
    if (strlen(",\"\":") + len + 2 > room(r)) {
        r->cut = true;
        return false;
    }
    if (r->is_json)
        put(r, is_first ? "{\"" : ",\"", 2);
    else if (!is_first)
        put(r, " ", 1);
    put(r, key, len);
    return r->is_json ? put(r, "\":", 2) : put(r, "=", 1);
}

/* ---- records ---- */

/* A date is made once a second: it costs more than the rest of a record. */
static _Thread_local struct {
    time_t second;
    char date[64]; /* empty: none yet */
} last;

static void put_time(struct log_record *r)
{
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec != last.second || last.date[0] == '\0') {
        gmtime_r(&now.tv_sec, &tm);
        strftime(last.date, sizeof(last.date), "%Y-%m-%dT%H:%M:%S", &tm);
        last.second = now.tv_sec;
    }
    unsigned ms = (unsigned)(now.tv_nsec / 1000000);
    const char digits[] = {(char)('0' + ms / 100), (char)('0' + ms / 10 % 10),
                           (char)('0' + ms % 10)};
    char text[sizeof(last.date) + 8];
    struct text t;
    text_init(&t, text, sizeof(text));
    text_add(&t, last.date);
    text_add(&t, ".");
    text_add_bytes(&t, digits, sizeof(digits));
    text_add(&t, "Z");
    log_str(r, "ts", text);
}

void log_begin(struct log_record *r, enum log_level level, const char *message)
{
    r->wanted = level >= sink.least;
    r->cut = false;
    r->is_json = sink.format == LOG_JSON;
    r->len = 0;
    if (!r->wanted)
        return;
    if (sink.is_journal && !r->is_json) {
        char prefix[8];
        struct text t;
        text_init(&t, prefix, sizeof(prefix));
        text_addf(&t, "<%d>", levels[level].syslog);
        put(r, prefix, t.len);
    } else {
        put_time(r);
    }
    log_str(r, "level", levels[level].name);
    log_str(r, "msg", message);
}

void log_str(struct log_record *r, const char *key, const char *value)
{
    if (value != NULL && put_key(r, key))
        put_value(r, (const uint8_t *)value, strlen(value));
}

void log_bytes(struct log_record *r, const char *key, const char *value, unsigned len)
{
    if (value != NULL && put_key(r, key))
        put_value(r, (const uint8_t *)value, len);
}

/* A number is whole or left out: a cut one would be a wrong one. */
static void put_number(struct log_record *r, const char *key, const struct text *number)
{
    unsigned before = r->len;
    if (put_key(r, key) && !put(r, number->data, number->len))
        r->len = before;
}

void log_num(struct log_record *r, const char *key, uint64_t value)
{
    char number[24];
    struct text t;
    text_init(&t, number, sizeof(number));
    text_add_number(&t, value);
    put_number(r, key, &t);
}

void log_int(struct log_record *r, const char *key, int64_t value)
{
    char number[24];
    struct text t;
    text_init(&t, number, sizeof(number));
    text_addf(&t, "%" PRId64, value);
    put_number(r, key, &t);
}

void log_end(struct log_record *r)
{
    if (!r->wanted)
        return;
    struct text t;
    text_init(&t, r->line + r->len, sizeof(r->line) - r->len);
    if (r->cut)
        text_add(&t, r->is_json ? ",\"cut\":true" : " cut=true");
    text_add(&t, r->is_json ? "}\n" : "\n");
    ssize_t n;
    do
        n = write(sink.fd, r->line, r->len + t.len);
    while (n < 0 && errno == EINTR);
    /* nowhere to say that the log could not be written */
}

void log_line(enum log_level level, const char *format, ...)
{
    struct log_record r;
    if (level < sink.least)
        return;
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    log_begin(&r, level, message);
    log_end(&r);
}
