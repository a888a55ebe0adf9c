/* Why a connection, or one side of it, came to its end. A value: no allocation, copied freely.
 *
 * The one list below is the log text, the metric label, the Close code and the Close reason. To add
 * a cause, add a line here and a row to docs/half-close.md. */
#ifndef TIDEGATE_CAUSE_H
#define TIDEGATE_CAUSE_H

#include <stdint.h>

/* X(identifier, name in logs and metrics, WebSocket Close code, Close reason and log text)
 * Close codes: docs/protocol.md section 5; 0 where no WebSocket can be open. */
#define CAUSE_LIST(X)                                                                              \
    X(NONE, "none", 0, "")                                                                         \
    X(OK, "ok", 1000, "both streams complete")                                                     \
    X(RESET, "reset", 4000, "connection reset")                                                    \
    X(LOST, "lost", 4000, "connection lost before the end")                                        \
    X(CLOSED, "closed", 4000, "closed before the end")                                             \
    X(PING_TIMEOUT, "ping-timeout", 4000, "ping unanswered")                                       \
    X(TCP_TIMEOUT, "tcp-timeout", 4000, "connection timed out")                                    \
    X(IO_ERROR, "io-error", 4000, "connection failed")                                             \
    X(SHUTDOWN, "shutdown", 1001, "going away")                                                    \
    X(LIFETIME, "lifetime", 1012, "open long enough: please connect again")                        \
    X(WS_VIOLATION, "ws-violation", 1002, "WebSocket protocol error")                              \
    X(NOT_UTF8, "not-utf8", 1007, "text is not UTF-8")                                             \
    X(NO_MEMORY, "no-memory", 1011, "out of memory")                                               \
    X(INTERNAL, "internal", 1011, "internal error")                                                \
    X(VIOLATION, "half-close-violation", 4001, "half-close protocol violated")                     \
    X(TRUNCATED, "truncated", 4002, "truncated: bytes were lost on the way")                       \
    X(DENIED, "denied", 1008, "not allowed")                                                       \
    X(UNREACHABLE, "unreachable", 4003, "backend unreachable")                                     \
    X(CONNECT_TIMEOUT, "connect-timeout", 4004, "backend did not accept in time")                  \
    X(TLS, "tls-failed", 4008, "TLS failed")                                                       \
    X(IDLE, "idle", 4005, "idle too long")                                                         \
    X(HALF_CLOSED, "half-closed-timeout", 4006, "half-closed and idle too long")                   \
    X(HALF_CLOSED_LIMIT, "half-closed-limit", 1013, "too many half-closed connections")            \
    X(BAD_HANDSHAKE, "bad-handshake", 0, "handshake refused")                                      \
    X(HANDSHAKE_TIMEOUT, "handshake-timeout", 0, "handshake too slow")                             \
    X(LIMIT, "limit", 0, "too many connections")

enum cause_what {
#define X(id, name, code, text) CAUSE_##id,
    CAUSE_LIST(X)
#undef X
        CAUSE_COUNT
};

/* The side at which it was seen: the one that connected to us (a WebSocket client of `serve`, the
 * local program of `tunnel`), the one we connected to, or neither (our timers, our shutdown). */
enum cause_where { CAUSE_AT_PROXY, CAUSE_AT_CLIENT, CAUSE_AT_BACKEND };

struct cause {
    enum cause_what what;
    enum cause_where where;
    int native; /* negative errno, Close code or HTTP status that came with it; 0 if none */
};

/* The name in logs and metrics: lower case, words joined by '-'. Static. */
const char *cause_name(enum cause_what what);

/* The Close reason, and what a log says in words. ASCII, 123 bytes at most. Static. */
const char *cause_text(enum cause_what what);

/* The Close code that tells it to a WebSocket peer, or 0. */
uint16_t cause_close_code(enum cause_what what);

/* "proxy", "client" or "backend". Static. */
const char *cause_where_name(enum cause_where where);

/* The cause for a failed read, write or connect: `native` is a negative errno. */
struct cause cause_from_errno(int native);

#endif
