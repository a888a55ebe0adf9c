#include "cause.h"

#include <assert.h>
#include <errno.h>

static const struct {
    const char *name, *text;
    uint16_t close_code;
} causes[CAUSE_COUNT] = {
#define X(id, name, code, text) [CAUSE_##id] = {name, text, code},
    CAUSE_LIST(X)
#undef X
};

/* A control frame holds 125 bytes, two of which are the code. */
#define X(id, name, code, text) static_assert(sizeof(text) - 1 <= 123, "Close reason too long");
CAUSE_LIST(X)
#undef X

const char *cause_name(enum cause_what what)
{
    assert(what < CAUSE_COUNT);
    return causes[what].name;
}

const char *cause_text(enum cause_what what)
{
    assert(what < CAUSE_COUNT);
    return causes[what].text;
}

uint16_t cause_close_code(enum cause_what what)
{
    assert(what < CAUSE_COUNT);
    return causes[what].close_code;
}

const char *cause_where_name(enum cause_where where)
{
    switch (where) {
    case CAUSE_AT_CLIENT:
        return "client";
    case CAUSE_AT_BACKEND:
        return "backend";
    case CAUSE_AT_PROXY:
        break;
    }
    return "proxy";
}

static enum cause_what what_from_errno(int native)
{
    switch (native) {
    case -ECONNRESET:
    case -ECONNABORTED:
    case -EPIPE:
        return CAUSE_RESET;
    case -ETIMEDOUT:
    case -EHOSTUNREACH:
    case -ENETUNREACH:
        return CAUSE_TCP_TIMEOUT;
    case -ENOMEM:
    case -ENOBUFS:
        return CAUSE_NO_MEMORY;
    case -ECONNREFUSED:
    case -EADDRNOTAVAIL:
    case -ENOENT: /* a unix socket that is not there */
        return CAUSE_UNREACHABLE;
    default:
        return CAUSE_IO_ERROR;
    }
}

struct cause cause_from_errno(int native)
{
    return (struct cause){what_from_errno(native), CAUSE_AT_PROXY, native};
}
