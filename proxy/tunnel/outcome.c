#include "outcome.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

static const struct {
    int status;
    const char *what;
} dials[] = {
    [DIALER_OK] = {EX_OK, ""},
    [DIALER_NO_NAME] = {EX_NOHOST, "name not found"},
    [DIALER_UNREACHABLE] = {EX_UNAVAILABLE, "cannot be reached"},
    [DIALER_DENIED] = {EX_NOPERM, "denied"},
    [DIALER_REFUSED] = {EX_PROTOCOL, "refused"},
    [DIALER_PROTOCOL] = {EX_PROTOCOL, "handshake failed"},
    [DIALER_TLS] = {EX_PROTOCOL, "TLS failed"},
    [DIALER_SYSTEM] = {EX_OSERR, "system error"},
    [DIALER_GIVEN_UP] = {EX_IOERR, "given up"},
};

struct outcome outcome_of_dial(const struct dialer_result *result)
{
    struct outcome o = {.status = dials[result->failure].status};

    if (result->failure == DIALER_REFUSED && (result->status == 404 || result->status >= 500))
        o.status = EX_UNAVAILABLE;
    if (o.status != EX_OK)
        snprintf(o.text, sizeof(o.text), "%s: %s", dials[result->failure].what, result->problem);
    return o;
}

/* What a Close code of the server says (docs/protocol.md section 5). */
static int status_of_code(int code)
{
    switch (code) {
    case 1002:
    case 1003:
    case 1007:
    case 1009:
        return EX_PROTOCOL;
    case 1008:
        return EX_NOPERM;
    case 1013:
    case 4003:
    case 4004:
    case 4008:
        return EX_UNAVAILABLE;
    default:
        return EX_IOERR;
    }
}

static const char *text_of_code(int code)
{
    for (unsigned what = CAUSE_OK; what < CAUSE_COUNT; what++)
        if (code != 4000 && cause_close_code((enum cause_what)what) == code)
            return cause_text((enum cause_what)what);
    return code == 4000 ? "connection reset behind the server" : "for no reason that we know";
}

static int status_of_cause(struct cause cause)
{
    switch (cause.what) {
    case CAUSE_NONE:
    case CAUSE_OK:
        return EX_OK;
    case CAUSE_WS_VIOLATION:
    case CAUSE_NOT_UTF8:
    case CAUSE_VIOLATION:
    case CAUSE_BAD_HANDSHAKE:
    case CAUSE_TLS:
        return EX_PROTOCOL;
    case CAUSE_NO_MEMORY:
    case CAUSE_INTERNAL:
        return EX_OSERR;
    case CAUSE_UNREACHABLE:
    case CAUSE_CONNECT_TIMEOUT:
    case CAUSE_HANDSHAKE_TIMEOUT:
    case CAUSE_LIMIT:
    case CAUSE_HALF_CLOSED_LIMIT:
        return EX_UNAVAILABLE;
    case CAUSE_DENIED:
        return EX_NOPERM;
    case CAUSE_CLOSED:
        return status_of_code(cause.native);
    case CAUSE_RESET:
    case CAUSE_LOST:
    case CAUSE_PING_TIMEOUT:
    case CAUSE_TCP_TIMEOUT:
    case CAUSE_IO_ERROR:
    case CAUSE_SHUTDOWN:
    case CAUSE_LIFETIME:
    case CAUSE_TRUNCATED:
    case CAUSE_IDLE:
    case CAUSE_HALF_CLOSED:
    case CAUSE_COUNT:
        break;
    }
    return EX_IOERR;
}

struct outcome outcome_of_cause(struct cause cause)
{
    struct outcome o = {.status = status_of_cause(cause)};

    if (o.status == EX_OK)
        return o;
    if (cause.where == CAUSE_AT_CLIENT && cause.native == -EPIPE)
        snprintf(o.text, sizeof(o.text), "output: nobody reads it any more");
    else if (cause.where == CAUSE_AT_CLIENT)
        snprintf(o.text, sizeof(o.text), "input or output: %s",
                 cause.native < 0 ? strerror(-cause.native) : cause_text(cause.what));
    else if (cause.what == CAUSE_CLOSED && cause.native > 0)
        snprintf(o.text, sizeof(o.text), "closed by the server: %d, %s", cause.native,
                 text_of_code(cause.native));
    else
        snprintf(o.text, sizeof(o.text), "%s: %s", "connection failed", cause_text(cause.what));
    return o;
}

void outcome_print(const struct outcome *o, const char *subcommand, const char *url)
{
    if (o->text[0] != '\0')
        fprintf(stderr, "tidegate: %s: %s: %s\n", subcommand, url, o->text);
}
