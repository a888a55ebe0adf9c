#include "option_table.h"

#include "log.h"

#define AT(member) offsetof(struct settings, member)

const struct option option_table[] = {
    {"listen", OPTION_ADDRESSES, COMMAND_SERVE, AT(server.listen), "ADDR", NULL, 0, true,
     "where to accept WebSocket clients; may be repeated"},
    {"backend", OPTION_ADDRESS, COMMAND_SERVE, AT(server.backend), "ADDR", NULL, 0, true,
     "where to connect each of them"},
    {"listen", OPTION_ADDRESSES, COMMAND_DEMO, AT(server.listen), "ADDR", "127.0.0.1:0", 0, false,
     "where the demo's proxy accepts clients"},
    {"once", OPTION_FLAG, COMMAND_DEMO, AT(is_once), NULL, NULL, 0, false,
     "exit after the show: with 0 if the answer was right"},
    {"connect-timeout", OPTION_DURATION, COMMAND_SERVE | COMMAND_DEMO,
     AT(server.connect_timeout_ms), "TIME", "10s", 1, false, "for the backend to accept"},
    {"handshake-timeout", OPTION_DURATION, COMMAND_SERVE | COMMAND_DEMO,
     AT(server.handshake_timeout_ms), "TIME", "10s", 1, false,
     "for a client to send its whole request"},
    {"idle-timeout", OPTION_DURATION, COMMAND_SERVE | COMMAND_DEMO, AT(server.relay.idle_ms),
     "TIME", "0", 0, false, "without a byte either way while both directions are open; 0: none"},
    {"half-closed-timeout", OPTION_DURATION, COMMAND_SERVE | COMMAND_DEMO,
     AT(server.relay.half_closed_ms), "TIME", "1h", 0, false,
     "without a byte after one direction has ended; 0: none"},
    {"ping-interval", OPTION_DURATION, COMMAND_SERVE | COMMAND_DEMO, AT(server.ws.ping_interval_ms),
     "TIME", "25s", 0, false, "between pings to a quiet client; 0: no pings"},
    {"ping-timeout", OPTION_DURATION, COMMAND_SERVE | COMMAND_DEMO, AT(server.ws.ping_timeout_ms),
     "TIME", "20s", 1, false, "after a ping, for any sign of life"},
    {"linger", OPTION_DURATION, COMMAND_SERVE | COMMAND_DEMO, AT(server.stream.linger_ms), "TIME",
     "5s", 0, false, "for what is still under way when a connection ends or fails"},
    {"drain-timeout", OPTION_DURATION, COMMAND_SERVE | COMMAND_DEMO, AT(server.drain_timeout_ms),
     "TIME", "20s", 0, false, "for open connections to end after SIGTERM"},
    {"max-connections", OPTION_NUMBER, COMMAND_SERVE | COMMAND_DEMO, AT(server.max_connections),
     "N", NULL, 1, false, "at a time (default: what the descriptor limit allows)"},
    {"log-level", OPTION_CHOICE, COMMAND_SERVE | COMMAND_DEMO, AT(log_level),
     "debug|info|warn|error", "info", 0, false, "the least level that is logged"},
    {"log-format", OPTION_CHOICE, COMMAND_SERVE | COMMAND_DEMO, AT(log_format), "text|json", "text",
     0, false, "of the records on stderr"},
};

const size_t option_table_count = array_count(option_table);

_Static_assert(array_count(option_table) <= OPTION_MAX, "options.c has a bit for each");
_Static_assert(LOG_DEBUG == 0 && LOG_ERROR == 3, "--log-level stores the index of its word");
_Static_assert(LOG_TEXT == 0 && LOG_JSON == 1, "--log-format stores the index of its word");
