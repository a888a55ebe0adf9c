#include "gate.h"

#include "access/credentials.h"
#include "tls_identity.h"

#include <errno.h>
#include <string.h>

/* True: goes on. False: `out` says why not. */
static bool say(struct gate_verdict *out, int status, const char *problem)
{
    out->status = status;
    out->problem = problem;
    out->cause = (struct cause){
        .what = status == 400   ? CAUSE_BAD_HANDSHAKE
                : status == 503 ? CAUSE_NO_MEMORY
                                : CAUSE_DENIED,
        .where = status == 503 ? CAUSE_AT_PROXY : CAUSE_AT_CLIENT,
    };
    return false;
}

static bool find_route(const struct site *site, struct ws_head *head, struct gate_verdict *out)
{
    char host[ADDRESS_HOST_MAX + 1];
    size_t len;
    const char *problem, *path = ws_head_path(head, &len);

    if (!route_match_host(ws_head_field(head, "host"), host))
        return say(out, 400, "the Host is no host");
    if (!route_match_can_path(path, len, &problem))
        return say(out, 400, problem);
    out->route = site_find_route(site, host, path, len);
    return out->route != NULL || say(out, 404, "no route for this host and path");
}

static bool check_source(const struct gate_request *request, struct gate_verdict *out)
{
    const struct route *r = out->route;

    const struct client_address *from = request->from;

    if (r->source_count == 0 || (from->has_endpoint && from->doubt == NULL &&
                                 cidr_list_has(r->sources, r->source_count, &from->endpoint.ip)))
        return true;
    return say(out, 403, "not from this address");
}

static bool check_origin(const struct gate_request *request, struct gate_verdict *out)
{
    const struct route *r = out->route;
    struct ws_head *head = request->head;

    return origin_is_allowed(r->origins, r->origin_count, ws_head_field(head, "origin"),
                             ws_head_field_count(head, "origin"), ws_head_field(head, "host")) ||
           say(out, 403, "not from a page of this origin");
}

static bool check_token(const struct gate_request *request, struct gate_verdict *out)
{
    uint8_t digest[CRYPTO_SHA256_SIZE];
    const char *problem = NULL;

    if (out->route->tokens == NULL)
        return true;
    switch (credentials_read(request->head, digest, &problem)) {
    case CREDENTIALS_GIVEN:
        out->bearer = token_file_find(out->route->tokens, digest);
        return out->bearer != NULL || say(out, 401, "not a token that is known");
    case CREDENTIALS_NONE:
        return say(out, 401, "a token is needed");
    case CREDENTIALS_MALFORMED:
        return say(out, 400, problem);
    case CREDENTIALS_NO_MEMORY:
        break;
    }
    return say(out, 503, "out of memory");
}

static bool check_name(const struct gate_request *request, struct gate_verdict *out)
{
    const struct word_list *names = &out->route->settings->allow_client_name;

    if (names->count == 0)
        return true;
    for (size_t i = 0; request->client != NULL && i < names->count; i++)
        if (tls_identity_has_name(request->client, names->items[i]))
            return true;
    return say(out, 403, "a client certificate with another name is needed");
}

static bool check_carrier(const struct gate_request *request, struct gate_verdict *out)
{
    return out->route->settings->plain == PLAIN_ALLOW || request->offer->carrier != WS_PLAIN ||
           say(out, 426, "half-close is needed: tidegate-half-close or v1.tidegate");
}

/* What stands behind the route's own part of the path. */
static const char *path_behind(const struct route *r, struct ws_head *head, size_t *len)
{
    const char *path = ws_head_path(head, len), *pattern = r->pattern.path;
    size_t prefix = pattern == NULL ? 0 : strlen(pattern);

    if (prefix < 2 || pattern[prefix - 1] != '*')
        return path;
    *len -= prefix - 2;
    return path + prefix - 2;
}

static bool check_target(const struct gate_request *request, struct gate_verdict *out)
{
    const struct route *r = out->route;
    const char *problem = NULL, *path;
    size_t len;

    if (r->target_count == 0)
        return true;
    path = path_behind(r, request->head, &len);
    int status = target_parse(path, len, &out->target, &problem);
    if (status == -ENOENT)
        return r->settings->backends.count > 0 || say(out, 404, "no route for this host and path");
    if (status != 0)
        return say(out, 400, problem);
    out->has_target = true;
    return target_rule_may_ask(r->targets, r->target_count, &out->target) ||
           say(out, 403, "not to this target");
}

void gate_judge(const struct site *site, const struct gate_request *request,
                struct gate_verdict *out)
{
    *out = (struct gate_verdict){.status = 101};
    (void)(find_route(site, request->head, out) && check_source(request, out) &&
           check_origin(request, out) && check_token(request, out) && check_name(request, out) &&
           check_carrier(request, out) && check_target(request, out));
}
