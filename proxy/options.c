#include "option_table.h"

#include "text.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define DURATION_MAX (UINT64_C(3650) * 24 * 3600 * 1000) /* far from any overflow of the clock */

/* ---- one value ---- */

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
static bool parse_addresses(const char *text, struct address_list *out, const char **why)
{
    const char *separators = ", \t";
    char one[ADDRESS_TEXT_MAX];

    for (text += strspn(text, separators); *text != '\0'; text += strspn(text, separators)) {
        size_t len = strcspn(text, separators);
        if (out->count == SERVER_LISTEN_MAX) {
            *why = "too many addresses";
            return false;
        }
        if (len >= sizeof(one)) {
            *why = "address is too long";
            return false;
        }
        memcpy(one, text, len);
        one[len] = '\0';
        if (address_parse(one, &out->items[out->count], why) < 0)
            return false;
        out->count++;
        text += len;
    }
    if (out->count == 0)
        *why = "no address given";
    return out->count > 0;
}

/* Stores the value of `text` in `s`. False with `*why` if it is none. */
static bool set_value(const struct option *o, const char *text, struct settings *s,
                      const char **why)
{
    void *at = (char *)s + o->offset;

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
        return address_parse(text, at, why) == 0;
    case OPTION_ADDRESSES:
        return parse_addresses(text, at, why);
    case OPTION_CHOICE:
        *why = o->value;
        return parse_choice(o->value, text, at);
    }
    return false;
}

static void describe_bad_value(const struct option *o, const char *where, const char *text,
                               const char *why, struct text *problem)
{
    text_addf(problem, "%s: \"%.100s\"%s%s", where, text,
              o->kind == OPTION_CHOICE ? " is not one of " : ": ", why);
    if (o->kind == OPTION_ADDRESS || o->kind == OPTION_ADDRESSES)
        text_add(problem, " (HOST:PORT, :PORT, [V6]:PORT or unix:PATH)");
}

/* ---- finding a flag ---- */

static const struct option *find(enum command command, const char *name, size_t len)
{
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option *o = &option_table[i];
        if ((o->commands & command) && strlen(o->name) == len && memcmp(o->name, name, len) == 0)
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
        if (!(o->commands & command))
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

static void set_defaults(enum command command, struct settings *s)
{
    const char *why;

    for (size_t i = 0; i < option_table_count; i++) {
        if (!(option_table[i].commands & command) || option_table[i].fallback == NULL)
            continue;
        bool is_good = set_value(&option_table[i], option_table[i].fallback, s, &why);
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

/* A list given here replaces what a weaker source said. */
static void forget_list(const struct option *o, struct settings *s)
{
    if (o->kind == OPTION_ADDRESSES)
        ((struct address_list *)(void *)((char *)s + o->offset))->count = 0;
}

static bool set_from_environment(enum command command, struct settings *s, uint64_t *given,
                                 struct text *problem)
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
        forget_list(o, s);
        if (!set_value(o, value, s, &why)) {
            describe_bad_value(o, name, value, why, problem);
            return false;
        }
        *given |= UINT64_C(1) << i;
    }
    return true;
}

/* One flag at argv[*i]; moves *i behind what it used up. */
static enum options_result set_flag(enum command command, int argc, char **argv, int *i,
                                    struct settings *s, uint64_t *on_line, struct text *problem)
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
    uint64_t bit = UINT64_C(1) << (o - option_table);
    if (!(*on_line & bit))
        forget_list(o, s);
    *on_line |= bit;
    (*i)++;
    if (o->kind == OPTION_FLAG) {
        *(bool *)((char *)s + o->offset) = true;
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
        if (!set_value(o, value, s, &why)) {
            describe_bad_value(o, where, value, why, problem);
            return OPTIONS_BAD;
        }
        /* A list goes on to the next flag. */
        if (o->kind != OPTION_ADDRESSES || *i == argc || argv[*i][0] == '-')
            return OPTIONS_OK;
        value = argv[(*i)++];
    }
}

enum options_result options_parse(enum command command, int argc, char **argv, struct settings *out,
                                  char problem[OPTIONS_PROBLEM_MAX])
{
    struct text text;
    uint64_t in_environment = 0, on_line = 0;

    text_init(&text, problem, OPTIONS_PROBLEM_MAX);
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return OPTIONS_HELP;
    }
    *out = (struct settings){0};
    set_defaults(command, out);
    if (!set_from_environment(command, out, &in_environment, &text))
        return OPTIONS_BAD;
    for (int i = 0; i < argc;) {
        if (strncmp(argv[i], "--", 2) != 0 || argv[i][2] == '\0') {
            text_addf(&text, "\"%.100s\": unexpected argument (flags begin with --)", argv[i]);
            return OPTIONS_BAD;
        }
        if (set_flag(command, argc, argv, &i, out, &on_line, &text) != OPTIONS_OK)
            return OPTIONS_BAD;
    }
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option *o = &option_table[i];
        if ((o->commands & command) && o->is_required && !((in_environment | on_line) >> i & 1)) {
            text_addf(&text, "--%s %s: missing (HOST:PORT, :PORT, [V6]:PORT or unix:PATH)", o->name,
                      o->value);
            return OPTIONS_BAD;
        }
    }
    out->server.ws.linger_ms = out->server.stream.linger_ms;
    out->server.ws.close_timeout_ms = 5000; /* docs/protocol.md section 5 */
    return OPTIONS_OK;
}

void options_print(enum command command, FILE *out)
{
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option *o = &option_table[i];
        char left[64];
        struct text t;
        if (!(o->commands & command))
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
