#include "status.h"

#include "../server.h"
#include "../site.h"
#include "../worker.h"
#include "connections_body.h"
#include "crypto.h"
#include "log.h"
#include "metric.h"
#include "metrics_body.h"
#include "process_usage.h"
#include "status_http.h"
#include "ws_head.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct status {
    struct loop *loop;
    struct server *server;
    struct status_http *http; /* NULL once closed */
    uint64_t process_started_ms;
};

/* ---- what the metrics ask for ---- */

static void look(void *owner, struct exposition_state *out)
{
    const struct status *s = owner;
    const struct site *site = server_site(s->server);
    const struct server_reading *reading = server_reading(s->server);

    *out = (struct exposition_state){
        .version = TIDEGATE_VERSION,
        .libuv = loop_library_version(),
        .mbedtls = crypto_library_version(),
        .llhttp = ws_head_library_version(),
        .is_draining = service_is_draining(server_service(s->server)),
        .max_connections = site->settings->service.max_connections,
        .is_reload_good = reading->is_good,
        .reloaded_ms = reading->good_ms,
        .started_ms = s->process_started_ms,
        .tls = site->tls,
        .pairs = site->settings->server.tls.pairs,
    };
}

/* ---- the pages ---- */

static bool is_path(const char *path, size_t len, const char *which)
{
    return strlen(which) == len && memcmp(path, which, len) == 0;
}

static void say_text(struct status_answer *out, int status, const char *text)
{
    *out = (struct status_answer){.status = status, .type = "text/plain", .text = text};
}

static void say_body(struct status_answer *out, struct status_body *body, const char *type)
{
    if (body == NULL)
        say_text(out, 503, "out of memory\n");
    else
        *out = (struct status_answer){.status = 200, .type = type, .body = body};
}

static void answer(void *owner, const char *path, size_t len, struct status_answer *out)
{
    struct status *s = owner;
    bool asks_ready = is_path(path, len, "/readyz");

    if (asks_ready && !service_is_ready(server_service(s->server)))
        say_text(out, 503, "draining\n");
    else if (asks_ready || is_path(path, len, "/livez") || is_path(path, len, "/healthz"))
        say_text(out, 200, "ok\n");
    else if (is_path(path, len, "/metrics"))
        say_body(out, metrics_body_new(s->server, look, s), METRIC_TYPE);
    else if (is_path(path, len, "/connections"))
        say_body(out, connections_body_new(s->server), "application/json");
    else
        say_text(out, 404, "/livez, /readyz, /metrics or /connections\n");
}

/* ---- its life ---- */

static void close_http(struct status *s)
{
    lag_end(&server_worker(s->server, 0)->lag);
    status_http_close(s->http);
    s->http = NULL;
}

static void on_drained(void *arg)
{
    close_http(arg);
}

int status_open(struct loop *l, struct server *server, const struct address *where,
                struct status **out, char *problem, size_t problem_size)
{
    static const struct status_http_handler handler = {answer};
    struct status *s = calloc(1, sizeof(*s));
    struct log_record r;
    struct text t;

    text_init(&t, problem, problem_size);
    if (s == NULL) {
        text_add(&t, "out of memory");
        return -ENOMEM;
    }
    s->loop = l;
    s->server = server;
    s->process_started_ms = process_usage_started_ms();
    int status = status_http_open(l, where, &handler, s, &s->http, problem, problem_size);
    if (status < 0) {
        free(s);
        return status;
    }
    for (unsigned i = 0; i < server_worker_count(server); i++) {
        struct worker *w = server_worker(server, i);
        lag_begin(&w->lag, loop_scheduler(w->host.loop), w->host.counters);
    }
    service_on_drained(server_service(server), on_drained, s);
    log_begin(&r, LOG_INFO, "status");
    log_str(&r, "address", status_http_name(s->http));
    log_end(&r);
    *out = s;
    return 0;
}

void status_free(struct status *s)
{
    if (s == NULL)
        return;
    close_http(s);
    free(s);
}
