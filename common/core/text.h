/* Small text work that libc does not do safely: bounded building, numbers, durations, escaping. */
#ifndef TIDEGATE_TEXT_H
#define TIDEGATE_TEXT_H

#include "span.h"

#include <stdbool.h>

/* A bounded string under construction in a buffer of the caller's. Always terminated; what does not
 * fit is dropped and `overflowed` latches. */
struct text {
    char *data;
    size_t len, size;
    bool overflowed;
};

void text_init(struct text *t, char *buffer, size_t size);
void text_add(struct text *t, const char *s);
void text_add_bytes(struct text *t, const char *s, size_t len);
void text_add_number(struct text *t, uint64_t value); /* in decimal digits */
void text_addf(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Decimal digits only, no sign, no leading zero (but "0"), nothing behind, at most `max`. */
bool text_parse_number(const char *s, size_t len, uint64_t max, uint64_t *out);

/* "0", "250ms", "10s", "5m", "1h", "7d"; a bare number but 0 is refused. Milliseconds out. */
bool text_parse_duration(const char *s, uint64_t *out_ms);

/* The shortest such form of `ms`, into `buffer` (24 bytes do). Returns `buffer`. */
char *text_format_duration(uint64_t ms, char *buffer, size_t size);

/* ASCII case-insensitive comparison of a run of bytes with a terminated string. */
bool text_equals_nocase(const char *s, size_t len, const char *other);

/* How many bytes at the front of `s` a token (RFC 9110 5.6.2) may consist of; 0 if none. */
size_t text_token_length(const char *s);

/* True if `token` (RFC 9110 5.6.2) is one of the comma-separated tokens of `list`, ASCII
 * case-insensitively. Linear time. */
bool text_list_has(const char *list, const char *token);

#endif
