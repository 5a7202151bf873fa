/* SPDX-License-Identifier: MIT */
/* Goes through the sections of a report, and prints and puts what they have in common. */
#include "loadgen/section.h"
#include <inttypes.h>
#include <string.h>

enum { LABEL_WIDTH = 13 };

void sections_print(FILE *out, const struct report *r) {
    for (size_t i = 0; r->sections != NULL && r->sections[i] != NULL; i++)
        r->sections[i]->print(out, r);
}

void sections_put(struct json_draft root, const struct report *r) {
    for (size_t i = 0; r->sections != NULL && r->sections[i] != NULL; i++)
        r->sections[i]->put(root, r);
}

int sections_add(const struct report *r, struct counters *sum, const json_t *root,
                 struct error *err) {
    int rc = 0;
    for (size_t i = 0; r->sections != NULL && r->sections[i] != NULL && rc == 0; i++)
        if (r->sections[i]->add != NULL)
            rc = r->sections[i]->add(sum, root, err);
    return rc;
}

/* --- in text ---------------------------------------------------------------------------------- */

void section_label(FILE *out, const char *label) {
    fprintf(out, "%-*s", LABEL_WIDTH, label);
}

void section_columns(FILE *out, const char *label) {
    fputc('\n', out);
    section_label(out, label);
    fprintf(out, " %10s %10s %10s %10s %10s %10s %10s\n", "p50", "p90", "p99", "p99.9", "slowest",
            "average", "fastest");
}

void section_row(FILE *out, const char *label, struct times t) {
    static const double shares[] = { 0.5, 0.9, 0.99, 0.999 };
    char text[PERCENTILE_TEXT_BYTES];
    section_label(out, label);
    for (size_t i = 0; i < ARRAY_LEN(shares); i++)
        fprintf(out, " %10s", percentile_format(percentile_of(t, shares[i]), text));
    fprintf(out, " %10s", percentile_format(percentile_max(t), text));
    if (hist_count(t.ended) == 0) {
        fprintf(out, " %10s %10s\n", "-", "-");
        return;
    }
    struct percentile_value mean = { .usec = (int64_t)(hist_mean(t.ended) + 0.5) };
    fprintf(out, " %10s", percentile_format(mean, text));
    fprintf(out, " %10s\n",
            percentile_format((struct percentile_value){ .usec = hist_min(t.ended) }, text));
}

void section_phase(FILE *out, const char *label, struct times t) {
    if (percentile_max(t).usec > 0)
        section_row(out, label, t);
}

const char *section_spell(const char *written, char *text) {
    size_t len = 0;
    for (; *written != '\0' && len < SECTION_SPELLED_BYTES / 2; written++) {
        if (*written == '%')
            text[len++] = ' ';
        text[len++] = *written;
    }
    text[len] = '\0';
    return text;
}

/* --- in JSON ---------------------------------------------------------------------------------- */

json_t *section_usec(bool any, int64_t usec) {
    return any ? json_integer(usec) : json_null();
}

void section_put_times(struct json_draft root, const char *key, struct times t) {
    static const struct {
        const char *key;
        double q;
    } points[] = {
        { "p50", 0.50 }, { "p66", 0.66 }, { "p75", 0.75 }, { "p80", 0.80 },    { "p90", 0.90 },
        { "p95", 0.95 }, { "p98", 0.98 }, { "p99", 0.99 }, { "p99_9", 0.999 },
    };
    struct json_draft o = json_put_object(root, key);
    bool any = percentile_count(t) > 0, ended = hist_count(t.ended) > 0;
    json_put_count(o, "count", percentile_count(t));
    json_put_count(o, "censored", percentile_censored(t));
    json_put(o, "known_share", any ? json_real(percentile_known(t)) : json_null());
    json_put(o, "min", section_usec(ended, hist_min(t.ended)));
    json_put(o, "mean", ended ? json_real(hist_mean(t.ended)) : json_null());
    json_put(o, "stddev", ended ? json_real(hist_stddev(t.ended)) : json_null());
    for (size_t i = 0; i < ARRAY_LEN(points); i++)
        json_put(o, points[i].key, section_usec(any, percentile_of(t, points[i].q).usec));
    json_put(o, "max", section_usec(any, percentile_max(t).usec));
}

void section_put_histogram(struct json_draft o, const char *key, const struct hist *h) {
    json_t *buckets = json_array();
    uint32_t cursor = 0;
    int64_t usec;
    uint64_t count;
    json_put(o, key, buckets);
    while (hist_next(h, &cursor, &usec, &count)) {
        json_t *pair = json_pack("[I,I]", (json_int_t)usec, (json_int_t)count);
        json_append(o, buckets, pair);
    }
}

uint64_t section_count_of(const json_t *number) {
    json_int_t value = json_integer_value(number);
    return value <= 0 ? 0 : value < SECTION_COUNT_MAX ? (uint64_t)value : SECTION_COUNT_MAX;
}

uint64_t section_count(const json_t *object, const char *key) {
    return section_count_of(json_object_get(object, key));
}

void section_add_histogram(struct hist *to, const json_t *buckets) {
    size_t i;
    const json_t *pair;
    json_array_foreach(buckets, i, pair) {
        json_int_t usec = json_integer_value(json_array_get(pair, 0));
        uint64_t count = section_count_of(json_array_get(pair, 1));
        if (count > 0)
            hist_record_n(to, usec, count);
    }
}
