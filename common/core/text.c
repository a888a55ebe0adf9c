#include "text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Durations end here (285,000 years), so that adding one to a clock cannot wrap. */
#define DURATION_MAX_MS (UINT64_C(1) << 53)

/* ---- building ---- */

void text_init(struct text *t, char *buffer, size_t size)
{
    assert(size > 0);
    *t = (struct text){.data = buffer, .size = size};
    buffer[0] = '\0';
}

void text_add_bytes(struct text *t, const char *s, size_t len)
{
    size_t room = t->size - t->len - 1;
    if (len > room) {
        t->overflowed = true;
        len = room;
    }
    if (len > 0)
        memcpy(t->data + t->len, s, len);
    t->len += len;
    t->data[t->len] = '\0';
}

void text_add(struct text *t, const char *s)
{
    text_add_bytes(t, s, strlen(s));
}

void text_add_number(struct text *t, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    text_add_bytes(t, digits + at, sizeof(digits) - at);
}

void text_addf(struct text *t, const char *format, ...)
{
    size_t room = t->size - t->len;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->data + t->len, room, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= room) {
        t->overflowed = true;
        t->data[t->size - 1] = '\0';
        t->len = strlen(t->data);
        return;
    }
    t->len += (size_t)n;
}

/* ---- numbers and durations ---- */

bool text_parse_number(const char *s, size_t len, uint64_t max, uint64_t *out)
{
    if (len == 0 || (len > 1 && s[0] == '0'))
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        uint64_t digit = (uint64_t)(s[i] - '0');
        if (digit > max || value > (max - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

static const struct {
    const char *name;
    uint64_t ms;
} units[] = {
    {"d", UINT64_C(86400000)}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};

bool text_parse_duration(const char *s, uint64_t *out_ms)
{
    size_t digits = strspn(s, "0123456789");
    const char *unit = s + digits;
    uint64_t n;
    if (*unit == '\0') {
        if (!text_parse_number(s, digits, 0, &n))
            return false;
        *out_ms = 0;
        return true;
    }
    for (size_t i = 0; i < array_count(units); i++) {
        if (strcmp(unit, units[i].name) == 0) {
            if (!text_parse_number(s, digits, DURATION_MAX_MS / units[i].ms, &n))
                return false;
            *out_ms = n * units[i].ms;
            return true;
        }
    }
    return false;
}

char *text_format_duration(uint64_t ms, char *buffer, size_t size)
{
    struct text t;
    text_init(&t, buffer, size);
    if (ms == 0) {
        text_add(&t, "0");
        return buffer;
    }
    size_t i = 0;
    while (ms % units[i].ms != 0)
        i++;
    text_add_number(&t, ms / units[i].ms);
    text_add(&t, units[i].name);
    return buffer;
}

/* ---- comparing ---- */

/* Not tolower(): that one follows the locale. */
static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool text_equals_nocase(const char *s, size_t len, const char *other)
{
    size_t i = 0;
    while (i < len && other[i] != '\0' && lower(s[i]) == lower(other[i]))
        i++;
    return i == len && other[i] == '\0';
}

static bool is_of_token(char c)
{
    return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-_.!#$%&'*+^`|~", c) != NULL);
}

size_t text_token_length(const char *s)
{
    size_t len = 0;
    while (is_of_token(s[len]))
        len++;
    return len;
}

bool text_list_has(const char *list, const char *token)
{
    const char *p = list;
    while (*p != '\0') {
        p += strspn(p, " \t,");
        size_t len = strcspn(p, ",");
        const char *next = p + len;
        while (len > 0 && (p[len - 1] == ' ' || p[len - 1] == '\t'))
            len--;
        if (len > 0 && text_equals_nocase(p, len, token))
            return true;
        p = next;
    }
    return false;
}
