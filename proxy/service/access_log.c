#include "access_log.h"

#include "tls_config.h"
#include "tls_identity.h"

#include <errno.h>
#include <stdlib.h>

const struct access_names access_log_serve = {
    .client = "client",
    .backend = "backend",
    .bytes_to_backend = "bytes_to_backend",
    .bytes_to_client = "bytes_to_client",
    .refused = "refused",
    .refused_level = LOG_INFO,
};

const struct access_names access_log_tunnel = {
    .client = "local",
    .backend = "server",
    .bytes_to_backend = "bytes_to_server",
    .bytes_to_client = "bytes_to_local",
    .lost_half_close = "half_close",
    .refused = "failed",
    .refused_level = LOG_WARN,
};

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

static const char *where_name(const struct access_names *names, enum cause_where where)
{
    switch (where) {
    case CAUSE_AT_CLIENT:
        return names->client;
    case CAUSE_AT_BACKEND:
        return names->backend;
    case CAUSE_AT_PROXY:
        break;
    }
    return "proxy";
}

int access_log_identify(const struct duplex *client, struct access_identity **out)
{
    struct access_identity *i;
    struct text t;

    *out = NULL;
    if (!tls_identity_is_known(client))
        return 0;
    i = malloc(sizeof(*i));
    if (i == NULL)
        return -ENOMEM;
    text_init(&t, i->subject, sizeof(i->subject));
    tls_identity_subject(client, &t);
    text_init(&t, i->names, sizeof(i->names));
    tls_identity_names(client, &t);
    *out = i;
    return 0;
}

/* Who the client was, and where it went. */
static void add_sides(struct log_record *r, const struct access_entry *e)
{
    log_num(r, "conn", e->conn);
    log_str(r, e->names->client, e->client);
    log_str(r, "client_doubt", e->client_doubt);
    log_str(r, "peer", e->peer);
    log_str(r, "unique_id", e->unique_id);
    if (e->identity != NULL) {
        log_str(r, "client_subject", e->identity->subject);
        log_str(r, "client_names", e->identity->names);
    }
    log_str(r, "token", e->bearer);
    log_str(r, "route", e->route);
    log_str(r, e->names->backend, e->backend);
}

static void add_cause(struct log_record *r, const struct access_names *names, struct cause cause)
{
    log_str(r, "cause", cause_name(cause.what));
    log_str(r, "at", where_name(names, cause.where));
    if (cause.native != 0)
        log_int(r, "native", cause.native);
}

const char *access_log_detail(struct cause cause, char buffer[ACCESS_LOG_DETAIL_MAX])
{
    struct text t;

    if (cause.what != CAUSE_TLS || cause.native == 0)
        return cause_text(cause.what);
    text_init(&t, buffer, ACCESS_LOG_DETAIL_MAX);
    text_add(&t, "TLS failed: ");
    tls_config_describe(cause.native, &t);
    return buffer;
}

void access_log_closed(const struct access_entry *e, enum ws_carrier carrier,
                       const struct relay_report *report)
{
    const struct access_names *names = e->names;
    char detail[ACCESS_LOG_DETAIL_MAX];
    struct log_record r;

    log_begin(&r, LOG_INFO, "closed");
    add_sides(&r, e);
    log_str(&r, "carrier", carrier_name(carrier));
    log_num(&r, names->bytes_to_backend, report->bytes[RELAY_CLIENT]);
    log_num(&r, names->bytes_to_client, report->bytes[RELAY_BACKEND]);
    if (report->has_first_end) {
        log_str(&r, "first_end",
                report->first_end == RELAY_CLIENT ? names->client : names->backend);
        log_num(&r, "half_closed_ms", report->half_closed_ms);
        if (carrier == WS_PLAIN && names->lost_half_close != NULL)
            log_str(&r, names->lost_half_close, "lost");
    }
    log_num(&r, "duration_ms", e->duration_ms);
    add_cause(&r, names, report->cause);
    log_str(&r, "detail", access_log_detail(report->cause, detail));
    log_str(&r, "trace_id", e->trace_id);
    log_end(&r);
}

void access_log_refused(const struct access_entry *e, int status, struct cause cause,
                        const char *detail)
{
    const struct access_names *names = e->names;
    struct log_record r;

    log_begin(&r, names->refused_level, names->refused);
    add_sides(&r, e);
    if (status != 0)
        log_int(&r, "status", status);
    log_num(&r, "duration_ms", e->duration_ms);
    add_cause(&r, names, cause);
    log_str(&r, "detail", detail);
    log_str(&r, "trace_id", e->trace_id);
    log_end(&r);
}
