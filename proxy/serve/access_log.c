#include "access_log.h"

#include "log.h"

static const char *carrier_name(enum ws_carrier carrier)
{
    switch (carrier) {
    case WS_PLAIN:
        return "plain";
    case WS_EXTENSION:
        return "extension";
    case WS_SUBPROTOCOL:
        return "subprotocol";
    }
    return "unknown";
}

static void add_cause(struct log_record *r, struct cause cause)
{
    log_str(r, "cause", cause_name(cause.what));
    log_str(r, "at", cause_where_name(cause.where));
    if (cause.native != 0)
        log_int(r, "native", cause.native);
}

void access_log_closed(const struct access_entry *e, enum ws_carrier carrier,
                       const struct relay_report *report)
{
    struct log_record r;

    log_begin(&r, LOG_INFO, "closed");
    log_num(&r, "conn", e->conn);
    log_str(&r, "client", e->client);
    log_str(&r, "backend", e->backend);
    log_str(&r, "carrier", carrier_name(carrier));
    log_num(&r, "bytes_to_backend", report->bytes[RELAY_CLIENT]);
    log_num(&r, "bytes_to_client", report->bytes[RELAY_BACKEND]);
    if (report->has_first_end) {
        log_str(&r, "first_end", report->first_end == RELAY_CLIENT ? "client" : "backend");
        log_num(&r, "half_closed_ms", report->half_closed_ms);
    }
    log_num(&r, "duration_ms", e->duration_ms);
    add_cause(&r, report->cause);
    log_str(&r, "detail", cause_text(report->cause.what));
    log_end(&r);
}

void access_log_refused(const struct access_entry *e, int status, struct cause cause,
                        const char *detail)
{
    struct log_record r;

    log_begin(&r, LOG_INFO, "refused");
    log_num(&r, "conn", e->conn);
    log_str(&r, "client", e->client);
    if (status != 0)
        log_int(&r, "status", status);
    log_num(&r, "duration_ms", e->duration_ms);
    add_cause(&r, cause);
    log_str(&r, "detail", detail);
    log_end(&r);
}
