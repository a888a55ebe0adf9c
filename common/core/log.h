/* Log records: one line each on stderr, as logfmt ("text") or JSON, with typed fields.
 *
 * Control characters, quotes and bytes that are not UTF-8 in a value are escaped, so that what a
 * peer sent can never make a second line. Never pass a secret. Lines are written with one write(2).
 */
#ifndef TIDEGATE_LOG_H
#define TIDEGATE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

/* Process-wide; the other calls may be made by several threads at the same time. `fd` is not owned;
 * 2 in production. Under journald (JOURNAL_STREAM names stderr) a "<level>" prefix replaces the
 * time stamp in text format. */
void log_setup(enum log_level least, enum log_format format, int fd);

bool log_level_parse(const char *s, enum log_level *out);   /* debug info warn error */
bool log_format_parse(const char *s, enum log_format *out); /* text json */

/* One record under construction, on the stack. */
struct log_record {
    bool wanted;
    bool cut;     /* a field did not fit: the record says so */
    bool is_json; /* private */
    unsigned len;
    char line[4096];
};

/* ts, level and msg come first; `message` is a constant of ours. */
void log_begin(struct log_record *r, enum log_level level, const char *message);
void log_str(struct log_record *r, const char *key, const char *value); /* NULL: left out */
void log_bytes(struct log_record *r, const char *key, const char *value, unsigned len);
void log_num(struct log_record *r, const char *key, uint64_t value);
void log_int(struct log_record *r, const char *key, int64_t value);
void log_end(struct log_record *r); /* writes it */

/* A record with no fields but a formatted msg. */
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
