#include "option_value.h"

#include "cidr.h"
#include "option_path.h"
#include "serve/access/origin.h"
#include "serve/access/target_rule.h"
#include "serve/access/token_file.h"

#include <errno.h>
#include <string.h>

#define DURATION_MAX (UINT64_C(3650) * 24 * 3600 * 1000) /* far from any overflow of the clock */

static bool parse_choice(const char *words, const char *text, unsigned *out)
{
    size_t len = strlen(text);
    unsigned index = 0;

    for (const char *word = words;; index++) {
        size_t word_len = strcspn(word, "|");
        if (word_len == len && memcmp(word, text, len) == 0) {
            *out = index;
            return true;
        }
        if (word[word_len] == '\0')
            return false;
        word += word_len + 1;
    }
}

/* `text` may hold several, separated by commas or blanks. */
static bool parse_addresses(const char *text, struct listen_list *out, const char **why)
{
    const char *separators = ", \t";
    char one[LISTEN_ADDRESS_TEXT_MAX];

    for (text += strspn(text, separators); *text != '\0'; text += strspn(text, separators)) {
        size_t len = strcspn(text, separators);
        if (out->count == SERVICE_LISTEN_MAX) {
            *why = "too many addresses";
            return false;
        }
        if (len >= sizeof(one)) {
            *why = "address is too long";
            return false;
        }
        memcpy(one, text, len);
        one[len] = '\0';
        if (listen_address_parse(one, &out->items[out->count], why) < 0)
            return false;
        out->count++;
        text += len;
    }
    if (out->count == 0)
        *why = "no address given";
    return out->count > 0;
}

static bool parse_backend(const char *text, struct backend_address *out, const char **why)
{
    static const char scheme[] = "tls://";

    out->is_tls = strncmp(text, scheme, strlen(scheme)) == 0;
    if (address_parse(out->is_tls ? text + strlen(scheme) : text, &out->address, why) != 0)
        return false;
    *why = "TLS needs a host and a port";
    return !out->is_tls || out->address.kind == ADDRESS_TCP;
}

static bool add_backends(const char *text, struct backend_list *list, struct arena *arena,
                         const char **why)
{
    struct word_list words = {0};

    *why = "no address given";
    int status = word_list_split(&words, text, ", \t", arena);
    for (size_t i = 0; status == 0 && i < words.count; i++) {
        void *items = list->items;
        if (list->count == BACKENDS_MAX) {
            *why = "too many backends";
            return false;
        }
        if (!arena_grow(arena, &items, list->count, sizeof(*list->items))) {
            status = -ENOMEM;
            break;
        }
        list->items = items;
        if (!parse_backend(words.items[i], &list->items[list->count], why))
            return false;
        list->count++;
    }
    if (status == -ENOMEM)
        *why = "out of memory";
    return status == 0;
}

static bool is_added(int status, const char **why)
{
    *why = status == -ENOMEM ? "out of memory" : status == -ENOSPC ? "too many" : "is empty";
    return status == 0;
}

_Static_assert(TARGET_RULE_WHY_MAX <= CIDR_WHY_MAX, "one buffer for both");

/* Whether a word can be one of a list of that kind. */
static bool is_word(enum option_kind kind, const char *word, const char **why)
{
    static char why_long[CIDR_WHY_MAX];
    struct origin origin;
    struct cidr network;
    struct target_rule rule;

    if (kind == OPTION_ORIGINS)
        return origin_parse(word, &origin, why) == 0;
    *why = why_long;
    if (kind == OPTION_NETWORKS)
        return cidr_parse(word, &network, why_long) == 0;
    return kind != OPTION_TARGETS || target_rule_parse(word, &rule, why_long) == 0;
}

static bool add_words(enum option_kind kind, const char *text, struct word_list *list,
                      struct arena *arena, const char **why)
{
    const char *separators = kind == OPTION_PATHS ? "," : kind == OPTION_TARGETS ? " \t" : ", \t";
    size_t before = list->count;

    if (!is_added(word_list_split(list, text, separators, arena), why))
        return false;
    for (size_t i = before; i < list->count; i++)
        if (!is_word(kind, list->items[i], why) ||
            (kind == OPTION_PATHS &&
             !option_path_resolve(list->items[i], arena, &list->items[i], why)))
            return false;
    return true;
}

void *option_base(const struct option *o, struct settings *s)
{
    return o->scope == OPTION_SCOPE_ROUTE ? (void *)&s->server.defaults : (void *)s;
}

bool option_value_set(const struct option *o, const char *text, void *base, struct arena *arena,
                      const char **why)
{
    void *at = (char *)base + o->offset;

    switch (o->kind) {
    case OPTION_FLAG:
        *(bool *)at = strcmp(text, "1") == 0 || strcmp(text, "true") == 0;
        *why = "must be true or false";
        return *(bool *)at || strcmp(text, "0") == 0 || strcmp(text, "false") == 0;
    case OPTION_NUMBER:
        *why = "must be a whole number from 1 to 1000000";
        return text_parse_number(text, strlen(text), 1000000, at) && *(uint64_t *)at >= o->least;
    case OPTION_DURATION:
        *why = "must be a time like 250ms, 10s, 5m, 1h";
        if (!text_parse_duration(text, at))
            return false;
        *why = *(uint64_t *)at > DURATION_MAX ? "is longer than ten years" : "must not be 0";
        return *(uint64_t *)at >= o->least && *(uint64_t *)at <= DURATION_MAX;
    case OPTION_ADDRESS:
        return address_parse_listen(text, at, why) == 0;
    case OPTION_BACKENDS:
        return add_backends(text, at, arena, why);
    case OPTION_ADDRESSES:
        return parse_addresses(text, at, why);
    case OPTION_CHOICE:
        *why = o->value;
        return parse_choice(o->value, text, at);
    case OPTION_URL:
        return url_parse(text, at, why) == 0;
    case OPTION_NAME:
        *(const char **)at = text;
        *why = "must be 1 to 64 letters, digits, '.', '_', '@', and '-' behind the first";
        return token_file_is_name(text, strlen(text));
    case OPTION_TEXT:
        *(const char **)at = text;
        *why = "is empty";
        return *text != '\0';
    case OPTION_PATH:
        return option_path_resolve(text, arena, at, why);
    case OPTION_PATHS:
    case OPTION_WORDS:
    case OPTION_ORIGINS:
    case OPTION_NETWORKS:
    case OPTION_TARGETS:
        return add_words(o->kind, text, at, arena, why);
    case OPTION_PIN:
        *(const char **)at = text;
        *why = "must be the base64 of a SHA-256 digest";
        return tls_config_is_pin(text);
    case OPTION_HEADER:
        return request_fields_add(at, text, why) == 0;
    case OPTION_PROXY:
        return http_proxy_parse(text, at, why) == 0;
    case OPTION_RETRY:
        *why = "must be a number of retries, or a time like 30s";
        return redial_parse_retry(text, &((struct redial_config *)at)->retry_count,
                                  &((struct redial_config *)at)->retry_ms);
    }
    return false;
}

static bool is_words(const struct option *o)
{
    return o->kind == OPTION_PATHS || o->kind == OPTION_WORDS || o->kind == OPTION_ORIGINS ||
           o->kind == OPTION_NETWORKS || o->kind == OPTION_TARGETS;
}

bool option_is_list(const struct option *o)
{
    return o->kind == OPTION_ADDRESSES || o->kind == OPTION_BACKENDS || is_words(o) ||
           o->kind == OPTION_HEADER;
}

void option_value_forget(const struct option *o, void *base)
{
    void *at = (char *)base + o->offset;

    if (o->kind == OPTION_ADDRESSES)
        ((struct listen_list *)at)->count = 0;
    else if (o->kind == OPTION_BACKENDS)
        *(struct backend_list *)at = (struct backend_list){0};
    else if (is_words(o))
        *(struct word_list *)at = (struct word_list){0};
    else if (o->kind == OPTION_HEADER)
        *(struct request_fields *)at = (struct request_fields){0};
}

void option_value_describe(const struct option *o, const char *where, const char *text,
                           const char *why, struct text *problem)
{
    if (o->kind == OPTION_HEADER || o->kind == OPTION_PROXY) {
        text_addf(problem, "%s: %s", where, why); /* the value may hold a password */
        return;
    }
    text_addf(problem, "%s: \"%.100s\"%s%s", where, text,
              o->kind == OPTION_CHOICE ? " is not one of " : ": ", why);
    if (o->kind == OPTION_ADDRESS || o->kind == OPTION_ADDRESSES)
        text_add(problem, " (HOST:PORT, :PORT, [V6]:PORT, unix:PATH or systemd:NAME)");
    if (o->kind == OPTION_BACKENDS)
        text_add(problem, " (HOST:PORT, tls://HOST:PORT, :PORT, [V6]:PORT or unix:PATH)");
}
