#include "option_value.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- finding a flag ---- */

static bool is_flag(const struct option *o, enum command command)
{
    return (o->commands & command) && o->kind != OPTION_URL;
}

static const struct option *find(enum command command, const char *name, size_t len)
{
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option *o = &option_table[i];
        if (is_flag(o, command) && strlen(o->name) == len && memcmp(o->name, name, len) == 0)
            return o;
    }
    return NULL;
}

/* Levenshtein's distance, for words of at most 31 characters. */
static size_t edit_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t row[32];

    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[b_len];
}

/* The flag that was probably meant: a slip of up to two letters, else the same beginning. */
static const struct option *find_nearest(enum command command, const char *name, size_t len)
{
    const struct option *nearest = NULL, *alike = NULL;
    size_t least = 3, longest = 2;

    if (len > 31)
        return NULL;
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option *o = &option_table[i];
        size_t common = 0, name_len = strlen(o->name);
        if (!is_flag(o, command))
            continue;
        size_t distance = edit_distance(name, len, o->name, name_len);
        if (distance < least) {
            least = distance;
            nearest = o;
        }
        while (common < len && common < name_len && name[common] == o->name[common])
            common++;
        if (common > longest) {
            longest = common;
            alike = o;
        }
    }
    return nearest != NULL ? nearest : alike;
}

/* ---- the three sources ---- */

static bool set(const struct option *o, const char *text, struct settings *s, const char **why)
{
    return option_value_set(o, text, option_base(o, s), &s->arena, why);
}

static struct option_origin *origin_of(const struct option *o, struct settings *s)
{
    return &s->origins[o - option_table];
}

static void set_defaults(enum command command, struct settings *s)
{
    const char *why;

    for (size_t i = 0; i < option_table_count; i++) {
        if (!(option_table[i].commands & command) || option_table[i].fallback == NULL)
            continue;
        bool is_good = set(&option_table[i], option_table[i].fallback, s, &why);
        assert(is_good);
        (void)is_good;
    }
}

static void environment_name(const struct option *o, char *out, size_t size)
{
    struct text t;

    text_init(&t, out, size);
    text_add(&t, "TIDEGATE_");
    for (const char *c = o->name; *c != '\0'; c++)
        text_addf(&t, "%c", *c == '-' ? '_' : *c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
}

static bool set_from_environment(enum command command, struct settings *s, struct text *problem)
{
    char name[64];
    const char *why = NULL;

    for (size_t i = 0; i < option_table_count; i++) {
        const struct option *o = &option_table[i];
        if (!(o->commands & command))
            continue;
        environment_name(o, name, sizeof(name));
        const char *value = getenv(name);
        if (value == NULL || *value == '\0')
            continue;
        option_value_forget(o, option_base(o, s));
        if (!set(o, value, s, &why)) {
            option_value_describe(o, name, value, why, problem);
            return false;
        }
        origin_of(o, s)->source = OPTION_IN_ENVIRONMENT;
    }
    return true;
}

/* One flag at argv[*i]; moves *i behind what it used up. */
static enum options_result set_flag(enum command command, int argc, char **argv, int *i,
                                    struct settings *s, struct text *problem)
{
    char where[64];
    const char *why = NULL, *name = argv[*i] + 2, *value;
    size_t len = strcspn(name, "=");
    const struct option *o = find(command, name, len);
    bool has_value = name[len] == '=';

    if (o == NULL) {
        const struct option *near = find_nearest(command, name, len);
        text_addf(problem, "--%.*s: unknown flag", (int)(len < 100 ? len : 100), name);
        if (near != NULL)
            text_addf(problem, " (did you mean --%s?)", near->name);
        else
            text_add(problem, " (--help lists them)");
        return OPTIONS_BAD;
    }
    if (origin_of(o, s)->source != OPTION_ON_LINE)
        option_value_forget(o, option_base(o, s));
    origin_of(o, s)->source = OPTION_ON_LINE;
    (*i)++;
    if (o->kind == OPTION_FLAG) {
        (void)set(o, "true", s, &why);
        if (has_value)
            text_addf(problem, "--%s: takes no value", o->name);
        return has_value ? OPTIONS_BAD : OPTIONS_OK;
    }
    if (!has_value && *i == argc) {
        text_addf(problem, "--%s: needs a value (%s)", o->name, o->value);
        return OPTIONS_BAD;
    }
    value = has_value ? name + len + 1 : argv[(*i)++];
    struct text t;
    text_init(&t, where, sizeof(where));
    text_addf(&t, "--%s", o->name);
    for (;;) {
        if (!set(o, value, s, &why)) {
            option_value_describe(o, where, value, why, problem);
            return OPTIONS_BAD;
        }
        /* A list goes on to the next flag, or to the URL. */
        if (o->kind != OPTION_ADDRESSES || *i == argc || argv[*i][0] == '-' ||
            strstr(argv[*i], "://") != NULL)
            return OPTIONS_OK;
        value = argv[(*i)++];
    }
}

/* What stands where a flag would: the URL, once. */
static enum options_result set_argument(enum command command, const char *text, struct settings *s,
                                        struct text *problem)
{
    const struct option *o = &option_table[0];
    const char *why = NULL;

    assert(o->kind == OPTION_URL);
    if (!(o->commands & command) || origin_of(o, s)->source == OPTION_ON_LINE) {
        text_addf(problem, "\"%.100s\": unexpected argument (flags begin with --)", text);
        return OPTIONS_BAD;
    }
    origin_of(o, s)->source = OPTION_ON_LINE;
    if (!set(o, text, s, &why)) {
        option_value_describe(o, "URL", text, why, problem);
        return OPTIONS_BAD;
    }
    return OPTIONS_OK;
}

/* ---- what the values say together ---- */

static void finish_ws(struct ws_duplex_config *ws, const struct relay_limits *relay,
                      const struct settings *s)
{
    ws->linger_ms = s->service.stream.linger_ms;
    ws->close_timeout_ms = 5000; /* docs/protocol.md section 5 */
    ws->stall_ms = relay->half_closed_ms;
}

static bool is_given(const struct settings *s, const char *name)
{
    for (size_t i = 0; i < option_table_count; i++)
        if (s->origins[i].source != OPTION_DEFAULT && strcmp(option_table[i].name, name) == 0)
            return true;
    return false;
}

/* A certificate of ours for where we are the client. */
static bool is_pair(const struct tls_pair_files *pair, const char *names, struct text *problem)
{
    bool is_good = (pair->cert_file == NULL) == (pair->key_file == NULL);

    if (!is_good)
        text_addf(problem, "%s: give both or none", names);
    return is_good;
}

static enum options_result finish_server(struct settings *s, struct text *problem)
{
    struct tls_server_options *tls = &s->server.tls;

    s->server.service = &s->service;
    if (!is_pair(&s->server.defaults.backend_tls.pair, "--backend-cert and --backend-key", problem))
        return OPTIONS_BAD;
    finish_ws(&s->server.defaults.ws, &s->server.defaults.relay, s);
    if (s->tls_certs.count != s->tls_keys.count || s->tls_certs.count > TLS_PAIRS_MAX) {
        text_addf(problem,
                  "--tls-cert and --tls-key: %zu of one and %zu of the other (each "
                  "certificate needs its key, %d of them at most)",
                  s->tls_certs.count, s->tls_keys.count, TLS_PAIRS_MAX);
        return OPTIONS_BAD;
    }
    if (tls->client_ca_file == NULL && is_given(s, "client-verify")) {
        text_add(problem, "--client-verify: needs --client-ca, by which certificates are verified");
        return OPTIONS_BAD;
    }
    if (tls->client_ca_file != NULL && s->tls_certs.count == 0) {
        text_add(problem, "--client-ca: needs --tls-cert and --tls-key (without TLS no client has "
                          "a certificate)");
        return OPTIONS_BAD;
    }
    tls->pair_count = s->tls_certs.count;
    for (size_t i = 0; i < tls->pair_count; i++)
        tls->pairs[i] = (struct tls_pair_files){s->tls_certs.items[i], s->tls_keys.items[i]};
    return OPTIONS_OK;
}

static enum options_result finish_tunnel(struct settings *s, struct text *problem)
{
    struct dialer_config *d = &s->tunnel.dial.dialer;
    char token[REQUEST_TOKEN_MAX + 1];
    const char *name, *why;

    s->tunnel.service = &s->service;
    d->timeout_ms = s->service.connect_timeout_ms;
    d->ws = &s->service.ws;
    d->stream = &s->service.stream;
    d->tls_options.speaks_http = true;
    if (!is_pair(&d->tls_options.pair, "--client-cert and --client-key", problem))
        return OPTIONS_BAD;
    if (!d->proxy.is_set && http_proxy_from_environment(&d->url, &d->proxy, &name, &why) != 0) {
        text_addf(problem, "%s in the environment: %s", name, why);
        return OPTIONS_BAD;
    }
    if (d->token_file == NULL)
        return OPTIONS_OK;
    if (request_fields_have(&d->fields, "authorization")) {
        text_add(problem,
                 "--token-file: there is a --header Authorization, too (give one of them)");
        return OPTIONS_BAD;
    }
    /* Each connection reads it anew, but a mistake is told at once. */
    if (request_token_read(d->token_file, token, &why) != 0) {
        text_addf(problem, "--token-file: %.200s: %s", d->token_file, why);
        return OPTIONS_BAD;
    }
    return OPTIONS_OK;
}

enum options_result options_parse(enum command command, int argc, char **argv, struct settings *out,
                                  char problem[OPTIONS_PROBLEM_MAX])
{
    struct text text;

    text_init(&text, problem, OPTIONS_PROBLEM_MAX);
    *out = (struct settings){0};
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return OPTIONS_HELP;
    }
    set_defaults(command, out);
    if (!set_from_environment(command, out, &text))
        return OPTIONS_BAD;
    for (int i = 0; i < argc;) {
        if (strncmp(argv[i], "--", 2) != 0 || argv[i][2] == '\0') {
            if (set_argument(command, argv[i++], out, &text) != OPTIONS_OK)
                return OPTIONS_BAD;
            continue;
        }
        if (set_flag(command, argc, argv, &i, out, &text) != OPTIONS_OK)
            return OPTIONS_BAD;
    }
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option *o = &option_table[i];
        if ((o->commands & command) && o->is_required &&
            origin_of(o, out)->source == OPTION_DEFAULT) {
            if (o->kind == OPTION_URL)
                text_add(&text, "URL: missing (ws:// or wss://HOST[:PORT][/PATH])");
            else
                text_addf(&text, "--%s %s: missing (HOST:PORT, :PORT, [V6]:PORT or unix:PATH)",
                          o->name, o->value);
            return OPTIONS_BAD;
        }
    }
    finish_ws(&out->service.ws, &out->service.relay, out);
    return command & (COMMAND_TUNNEL | COMMAND_STDIO | COMMAND_PROBE) ? finish_tunnel(out, &text)
                                                                      : finish_server(out, &text);
}

void options_forget(struct settings *s)
{
    arena_clear(&s->arena);
}

void options_print(enum command command, FILE *out)
{
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option *o = &option_table[i];
        char left[64];
        struct text t;
        if (!is_flag(o, command))
            continue;
        text_init(&t, left, sizeof(left));
        text_addf(&t, "--%s", o->name);
        if (o->value != NULL)
            text_addf(&t, " %s", o->value);
        if (t.len <= 27)
            fprintf(out, "  %-27s %s", left, o->help);
        else
            fprintf(out, "  %s\n  %-27s %s", left, "", o->help);
        if (o->fallback != NULL)
            fprintf(out, " (default %s)", o->fallback);
        fputs("\n", out);
    }
    fputs("  --help                      show this\n", out);
}
