/* Metrics in the text format of Prometheus, version 0.0.4: a head for each name, then its samples.
 * Appends to a text; whoever calls sees to it that there is room (METRIC_LINE_MAX a line). */
#ifndef TIDEGATE_METRIC_H
#define TIDEGATE_METRIC_H

#include "counters.h"
#include "text.h"

#define METRIC_TYPE     "text/plain; version=0.0.4; charset=utf-8"
#define METRIC_LINE_MAX 512 /* as long as the values of its labels are 256 bytes together */

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric_label {
    const char *name, *value; /* the value is escaped */
};

#define METRIC_LABELS_MAX 4

/* HELP and TYPE. */
void metric_head(struct text *t, const char *name, enum metric_type type, const char *help);

/* One sample; `labels` ends with a name NULL, or is NULL. */
void metric_number(struct text *t, const char *name, const struct metric_label *labels,
                   uint64_t value);
void metric_seconds(struct text *t, const char *name, const struct metric_label *labels,
                    uint64_t ms);

/* All samples of a histogram: its buckets, added up and in seconds, sum and count. */
void metric_histogram(struct text *t, const char *name, const struct metric_label *labels,
                      const struct histogram_scale *scale, const struct histogram *h);

#endif
