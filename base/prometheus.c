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
void prometheus_hist(struct prometheus *p, const struct prometheus_label *labels,
                     size_t label_count, const struct hist_shared *h, const uint64_t *bounds,
                     size_t bound_count) {
    char le[32];

    for (size_t i = 0; i < bound_count; i++) {
        snprintf(le, sizeof(le), "%g", (double)bounds[i] / 1e6);
        put_name(p, "_bucket");
        put_labels(p, labels, label_count, le);
        put_count(p, (int64_t)hist_shared_below(h, bounds[i]));
    }
    int64_t count = (int64_t)hist_shared_count(h);
    put_name(p, "_bucket");
    put_labels(p, labels, label_count, "+Inf");
    put_count(p, count);
    put_name(p, "_sum");
    put_labels(p, labels, label_count, NULL);
    put_seconds(p, (double)hist_shared_sum(h) / 1e6);
    put_name(p, "_count");
    put_labels(p, labels, label_count, NULL);
    put_count(p, count);
}
