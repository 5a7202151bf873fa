/* SPDX-License-Identifier: MIT */
/* Counts requests by name, and tells of them in the report. */
#include "loadgen/names.h"
#include "base/alloc.h"
#include <errno.h>
#include <inttypes.h>

enum { LABEL_WIDTH_MAX = 40 };

static struct names_row *row_new(const char *text) {
    struct names_row *row = mem_calloc(1, sizeof(*row));
    if (row == NULL)
        return NULL;
    row->text = text;
    row->latency = hist_new();
    row->ages = hist_new();
    if (row->latency != NULL && row->ages != NULL)
        return row;
    hist_free(row->latency);
    hist_free(row->ages);
    mem_free(row);
    return NULL;
}

static void row_free(struct names_row *row, bool owns_text) {
    if (row == NULL)
        return;
    if (owns_text)
        mem_free((void *)(uintptr_t)row->text);
    hist_free(row->latency);
    hist_free(row->ages);
    mem_free(row);
}

int names_new(struct names **ret, char *const *texts, size_t count) {
    *ret = NULL;
    if (count == 0)
        return 0;
    struct names *n = mem_calloc(1, sizeof(*n));
    if (n == NULL)
        return -ENOMEM;
    for (; n->count < count; n->count++) {
        n->rows[n->count] = row_new(texts[n->count]);
        if (n->rows[n->count] == NULL) {
            names_free(n);
            return -ENOMEM;
        }
    }
    *ret = n;
    return 0;
}

void names_free(struct names *n) {
    if (n == NULL)
        return;
    for (size_t i = 0; i < n->count; i++)
        row_free(n->rows[i], n->owns_texts);
    mem_free(n);
}

void names_record(struct names *n, size_t name, int outcome, uint16_t status,
                  const struct timing *timing) {
    struct names_row *row = n->rows[name];
    int64_t total = timing->queue + timing->total;
    if (outcome == OUTCOME_UNFINISHED) {
        hist_record(row->ages, total);
        return;
    }
    row->ended++;
    row->failed += outcome != OUTCOME_OK;
    if (status > 0) {
        row->statuses[status <= NAME_STATUS_MAX ? status : 0]++;
        hist_record(row->latency, total);
    } else if (failure_is_timeout((enum failure)outcome)) {
        hist_record(row->ages, total);
    }
}

static void row_add(struct names_row *to, const struct names_row *from) {
    to->ended += from->ended;
    to->failed += from->failed;
    for (size_t i = 0; i <= NAME_STATUS_MAX; i++)
        to->statuses[i] += from->statuses[i];
    hist_merge(to->latency, from->latency);
    hist_merge(to->ages, from->ages);
}

void names_restart(struct names *n) {
    for (size_t i = 0; n != NULL && i < n->count; i++) {
        struct names_row *row = n->rows[i];
        hist_reset(row->latency);
        hist_reset(row->ages);
        row->ended = row->failed = 0;
        memset(row->statuses, 0, sizeof(row->statuses));
    }
}

void names_merge(struct names *to, const struct names *from) {
    for (size_t i = 0; to != NULL && i < to->count; i++)
        row_add(to->rows[i], from->rows[i]);
}

/* --- in text ---------------------------------------------------------------------------------- */

static int width_of(const struct names *n) {
    size_t width = sizeof("By name") - 1;
    for (size_t i = 0; i < n->count; i++)
        if (strlen(n->rows[i]->text) > width)
            width = strlen(n->rows[i]->text);
    return width < LABEL_WIDTH_MAX ? (int)width : LABEL_WIDTH_MAX;
}

static void print_statuses(FILE *out, const struct names_row *row) {
    const char *comma = " ";
    for (size_t i = 0; i <= NAME_STATUS_MAX; i++) {
        if (row->statuses[i] == 0)
            continue;
        fprintf(out, "%s %zu: %" PRIu64, comma, i, row->statuses[i]);
        comma = ",";
    }
    fputc('\n', out);
}

static void print_row(FILE *out, const struct names_row *row, int width) {
    static const double shares[] = { 0.5, 0.9, 0.99 };
    struct times t = { row->latency, row->ages };
    char text[PERCENTILE_TEXT_BYTES], label[SECTION_SPELLED_BYTES];
    fprintf(out, "%-*s %10" PRIu64 " %8" PRIu64, width, section_spell(row->text, label), row->ended,
            row->failed);
    for (size_t i = 0; i < ARRAY_LEN(shares); i++)
        fprintf(out, " %10s",
                percentile_count(t) > 0 ? percentile_format(percentile_of(t, shares[i]), text)
                                        : "-");
    fprintf(out, " %10s",
            percentile_count(t) > 0 ? percentile_format(percentile_max(t), text) : "-");
    print_statuses(out, row);
}

static void print_names(FILE *out, const struct report *r) {
    const struct names *n = r->counters->names;
    if (n == NULL)
        return;
    int width = width_of(n);
    fprintf(out, "\n%-*s %10s %8s %10s %10s %10s %10s  %s\n", width, "By name", "requests",
            "failed", "p50", "p90", "p99", "slowest", "statuses");
    for (size_t i = 0; i < n->count; i++)
        print_row(out, n->rows[i], width);
}

/* --- in JSON ---------------------------------------------------------------------------------- */

static void put_row(struct json_draft root, json_t *list, const struct names_row *row) {
    struct json_draft item = { json_object(), root.ok };
    json_put_text(item, "name", slice_str(row->text));
    json_put_count(item, "requests", row->ended);
    json_put_count(item, "failed", row->failed);
    struct json_draft statuses = json_put_object(item, "statuses");
    for (size_t i = 0; i <= NAME_STATUS_MAX; i++) {
        char key[8];
        snprintf(key, sizeof(key), "%zu", i);
        if (row->statuses[i] > 0)
            json_put_count(statuses, key, row->statuses[i]);
    }
    section_put_times(item, "latency_us", (struct times){ row->latency, row->ages });
    section_put_histogram(item, "histogram", row->latency);
    section_put_histogram(item, "ages", row->ages);
    json_append(root, list, item.json);
}

static void put_names(struct json_draft root, const struct report *r) {
    const struct names *n = r->counters->names;
    json_t *list = json_array();
    json_put(root, "names", list);
    for (size_t i = 0; n != NULL && i < n->count; i++)
        put_row(root, list, n->rows[i]);
}

/* --- from other machines ---------------------------------------------------------------------- */

/* The row of a name, which is added when it is new; NULL when there is no room for it. */
static struct names_row *row_of(struct names *n, const char *text) {
    for (size_t i = 0; i < n->count; i++)
        if (strcmp(n->rows[i]->text, text) == 0)
            return n->rows[i];
    char *copy = n->count < NAMES_MAX ? slice_dup(slice_str(text)) : NULL;
    struct names_row *row = copy != NULL ? row_new(copy) : NULL;
    if (row == NULL)
        mem_free(copy);
    else
        n->rows[n->count++] = row;
    return row;
}

static int add_row(struct names *n, json_t *item, struct error *err) {
    const char *text = json_string_value(json_object_get(item, "name"));
    struct names_row *row = text != NULL ? row_of(n, text) : NULL;
    if (row == NULL)
        return error_set(err, -EINVAL, "it has a name that is none, or there are more than %d",
                         NAMES_MAX);
    row->ended += section_count(item, "requests");
    row->failed += section_count(item, "failed");
    json_t *statuses = json_object_get(item, "statuses");
    for (size_t i = 0; i <= NAME_STATUS_MAX; i++) {
        char key[8];
        snprintf(key, sizeof(key), "%zu", i);
        row->statuses[i] += section_count(statuses, key);
    }
    section_add_histogram(row->latency, json_object_get(item, "histogram"));
    section_add_histogram(row->ages, json_object_get(item, "ages"));
    return 0;
}

static int add_names(struct counters *sum, const json_t *root, struct error *err) {
    json_t *list = json_object_get(root, "names"), *item;
    size_t i;
    if (json_array_size(list) == 0)
        return 0;
    if (sum->names == NULL) {
        sum->names = mem_calloc(1, sizeof(*sum->names));
        if (sum->names == NULL)
            return error_set(err, -ENOMEM, "out of memory for the names");
        sum->names->owns_texts = true;
    }
    json_array_foreach(list, i, item) {
        int rc = add_row(sum->names, item, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

const struct section names_section = { .print = print_names, .put = put_names, .add = add_names };
