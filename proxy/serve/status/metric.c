#include "metric.h"

#include "span.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

/* A help text has no quotes around it, and needs them not escaped. */
static void add_escaped(struct text *t, const char *s, bool is_quoted)
{
    for (; *s != '\0'; s++) {
        if (*s == '\\')
            text_add(t, "\\\\");
        else if (*s == '\n')
            text_add(t, "\\n");
        else if (*s == '"' && is_quoted)
            text_add(t, "\\\"");
        else
            text_add_bytes(t, s, 1);
    }
}

void metric_head(struct text *t, const char *name, enum metric_type type, const char *help)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};

    text_addf(t, "# HELP %s ", name);
    add_escaped(t, help, false);
    text_addf(t, "\n# TYPE %s %s\n", name, types[type]);
}

static void add_name(struct text *t, const char *name, const char *suffix,
                     const struct metric_label *labels)
{
    const char *before = "{";

    text_addf(t, "%s%s", name, suffix);
    for (; labels != NULL && labels->name != NULL; labels++) {
        text_addf(t, "%s%s=\"", before, labels->name);
        add_escaped(t, labels->value, true);
        text_add(t, "\"");
        before = ",";
    }
    text_add(t, *before == ',' ? "} " : " ");
}

static void add_seconds(struct text *t, uint64_t ms)
{
    text_addf(t, "%" PRIu64, ms / 1000);
    if (ms % 1000 == 0)
        return;
    text_addf(t, ".%03u", (unsigned)(ms % 1000));
    while (t->data[t->len - 1] == '0')
        t->data[--t->len] = '\0';
}

void metric_number(struct text *t, const char *name, const struct metric_label *labels,
                   uint64_t value)
{
    add_name(t, name, "", labels);
    text_addf(t, "%" PRIu64 "\n", value);
}

void metric_seconds(struct text *t, const char *name, const struct metric_label *labels,
                    uint64_t ms)
{
    add_name(t, name, "", labels);
    add_seconds(t, ms);
    text_add(t, "\n");
}

void metric_histogram(struct text *t, const char *name, const struct metric_label *labels,
                      const struct histogram_scale *scale, const struct histogram *h)
{
    struct metric_label all[METRIC_LABELS_MAX + 2] = {{NULL, NULL}};
    unsigned count = 0;
    uint64_t sum = 0;

    for (; labels != NULL && labels[count].name != NULL; count++) {
        assert(count < METRIC_LABELS_MAX);
        all[count] = labels[count];
    }
    for (unsigned i = 0; i <= scale->count; i++) {
        char bound[32];
        struct text b;
        text_init(&b, bound, sizeof(bound));
        if (i < scale->count)
            add_seconds(&b, scale->upper_ms[i]);
        else
            text_add(&b, "+Inf");
        all[count] = (struct metric_label){"le", bound};
        sum += h->buckets[i];
        add_name(t, name, "_bucket", all);
        text_addf(t, "%" PRIu64 "\n", sum);
    }
    add_name(t, name, "_sum", labels);
    add_seconds(t, h->sum_ms);
    text_add(t, "\n");
    add_name(t, name, "_count", labels);
    text_addf(t, "%" PRIu64 "\n", sum);
}
