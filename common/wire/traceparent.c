#include "traceparent.h"

#include <stddef.h>
#include <string.h>

#define DIGITS "0123456789abcdef"

/* "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" */
enum { VERSION_LEN = 2, TRACE_LEN = 32, PARENT_LEN = 16, FLAGS_LEN = 2 };
enum {
    TRACE_AT = VERSION_LEN + 1,
    PARENT_AT = TRACE_AT + TRACE_LEN + 1,
    FLAGS_AT = PARENT_AT + PARENT_LEN + 1,
    WHOLE_LEN = FLAGS_AT + FLAGS_LEN
};

static bool is_hex(const char *s, size_t len)
{
    return strspn(s, DIGITS) == len; /* '-' or the end is behind it */
}

/* All zeros mean none. */
static bool is_id(const char *s, size_t len)
{
    return is_hex(s, len) && strspn(s, "0") < len;
}

bool traceparent_parse(const char *value, char out[TRACEPARENT_ID_SIZE])
{
    out[0] = '\0';
    if (value == NULL || strlen(value) < WHOLE_LEN)
        return false;
    if (!is_hex(value, VERSION_LEN) || value[TRACE_AT - 1] != '-' ||
        !is_id(value + TRACE_AT, TRACE_LEN) || value[PARENT_AT - 1] != '-' ||
        !is_id(value + PARENT_AT, PARENT_LEN) || value[FLAGS_AT - 1] != '-' ||
        !is_hex(value + FLAGS_AT, FLAGS_LEN))
        return false;
    bool is_version_00 = strncmp(value, "00-", TRACE_AT) == 0;
    char next = value[WHOLE_LEN];
    if (strncmp(value, "ff-", TRACE_AT) == 0 || (next != '\0' && (is_version_00 || next != '-')))
        return false;
    memcpy(out, value + TRACE_AT, TRACE_LEN);
    out[TRACE_LEN] = '\0';
    return true;
}
