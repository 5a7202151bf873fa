/* SPDX-License-Identifier: MIT */
/* Prints samples for Prometheus, and keeps what could not be printed as an error. */
#include "base/prometheus.h"
#include <stdio.h>

static void put(struct prometheus *p, const char *text) {
    if (p->rc == 0)
        p->rc = buf_append(p->out, slice_str(text));
}

/* Neither a label's value nor a HELP line may hold a newline as it is, nor a value a quote. */
static void put_escaped(struct prometheus *p, const char *text, const char *escaped) {
    for (size_t plain; *text != '\0' && p->rc == 0; text += plain) {
        plain = strcspn(text, escaped);
        p->rc = buf_append(p->out, slice_of(text, plain));
        if (text[plain] == '\0')
            continue;
        put(p, text[plain] == '\n' ? "\\n" : text[plain] == '"' ? "\\\"" : "\\\\");
        plain++;
    }
}

static void put_name(struct prometheus *p, const char *suffix) {
    put(p, p->prefix);
    put(p, "_");
    put(p, p->name);
    put(p, suffix);
}

/* `le`: the bound of a histogram's bucket; NULL: none. */
static void put_labels(struct prometheus *p, const struct prometheus_label *labels, size_t count,
                       const char *le) {
    const struct prometheus_label bound = { "le", le };

    for (size_t i = 0; i < count + (le != NULL); i++) {
        const struct prometheus_label *label = i < count ? &labels[i] : &bound;

        put(p, i == 0 ? "{" : ",");
        put(p, label->name);
        put(p, "=\"");
        put_escaped(p, label->value, "\\\"\n");
        put(p, "\"");
    }
    if (count > 0 || le != NULL)
        put(p, "}");
}

static void put_count(struct prometheus *p, int64_t value) {
    if (p->rc == 0)
        p->rc = buf_printf(p->out, " %lld\n", (long long)value);
}

static void put_seconds(struct prometheus *p, double value) {
    if (p->rc == 0)
        p->rc = buf_printf(p->out, " %.6f\n", value);
}

void prometheus_family(struct prometheus *p, const char *name, enum prometheus_kind kind,
                       const char *help) {
    static const char *const kinds[] = { [PROMETHEUS_COUNTER] = " counter\n",
                                         [PROMETHEUS_GAUGE] = " gauge\n",
                                         [PROMETHEUS_HISTOGRAM] = " histogram\n" };

    p->name = name;
    p->suffix = kind == PROMETHEUS_COUNTER ? "_total" : "";
    put(p, "# HELP ");
    put_name(p, p->suffix);
    put(p, " ");
    put_escaped(p, help, "\\\n");
    put(p, "\n# TYPE ");
    put_name(p, p->suffix);
    put(p, kinds[kind]);
}

void prometheus_count(struct prometheus *p, const struct prometheus_label *labels,
                      size_t label_count, int64_t value) {
    put_name(p, p->suffix);
    put_labels(p, labels, label_count, NULL);
    put_count(p, value);
}

void prometheus_seconds(struct prometheus *p, const struct prometheus_label *labels,
                        size_t label_count, double value) {
    put_name(p, p->suffix);
    put_labels(p, labels, label_count, NULL);
    put_seconds(p, value);
}

/* The count comes last, and is that of the bucket without bound: values that are recorded meanwhile
 * make no bucket smaller than the one before. */
/* The line of a bucket: how many values are at most the bound in microseconds. */
static void put_bucket(struct prometheus *p, const struct prometheus_label *labels,
                       size_t label_count, uint64_t bound, uint64_t below) {
    char le[32];

    snprintf(le, sizeof(le), "%g", (double)bound / 1e6);
    put_name(p, "_bucket");
    put_labels(p, labels, label_count, le);
    put_count(p, (int64_t)below);
}

static void put_whole(struct prometheus *p, const struct prometheus_label *labels,
                      size_t label_count, uint64_t count, double sum_usec) {
    put_name(p, "_bucket");
    put_labels(p, labels, label_count, "+Inf");
    put_count(p, (int64_t)count);
    put_name(p, "_sum");
    put_labels(p, labels, label_count, NULL);
    put_seconds(p, sum_usec / 1e6);
    put_name(p, "_count");
    put_labels(p, labels, label_count, NULL);
    put_count(p, (int64_t)count);
}

void prometheus_hist(struct prometheus *p, const struct prometheus_label *labels,
                     size_t label_count, const struct hist_shared *h, const uint64_t *bounds,
                     size_t bound_count) {
    for (size_t i = 0; i < bound_count; i++)
        put_bucket(p, labels, label_count, bounds[i], hist_shared_below(h, bounds[i]));
    put_whole(p, labels, label_count, hist_shared_count(h), (double)hist_shared_sum(h));
}

void prometheus_hist_alone(struct prometheus *p, const struct prometheus_label *labels,
                           size_t label_count, const struct hist *h, const uint64_t *bounds,
                           size_t bound_count) {
    uint32_t cursor = 0;
    int64_t usec;
    uint64_t count, below = 0;
    size_t i = 0;

    while (hist_next(h, &cursor, &usec, &count)) {
        for (; i < bound_count && (uint64_t)usec > bounds[i]; i++)
            put_bucket(p, labels, label_count, bounds[i], below);
        below += count;
    }
    for (; i < bound_count; i++)
        put_bucket(p, labels, label_count, bounds[i], below);
    put_whole(p, labels, label_count, below, hist_mean(h) * (double)below);
}
