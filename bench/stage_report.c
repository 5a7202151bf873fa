/* SPDX-License-Identifier: MIT */
/* Tells what came of each stage, and adds up what files tell. */
#include "bench/stage_report.h"
#include "base/alloc.h"
#include "loadgen/config.h"
#include "loadgen/counters.h"
#include "loadgen/stages.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* The part of a stage that the run has seen: it may have been ended before its plan. */
static nsec_t seen_of(const struct report *r, const struct stages *s, size_t i) {
    nsec_t left = r->counters->last_end - r->counters->first_start;
    for (size_t k = 0; k < i; k++)
        left -= s->shape.stages[k].span;
    return left <= 0 ? 0 : nsec_min(left, s->shape.stages[i].span);
}

static void print_rate(FILE *out, bool any, uint64_t count, nsec_t span) {
    if (any && span > 0)
        fprintf(out, " %10.2f", counters_rate(count, span));
    else
        fprintf(out, " %10s", "-");
}

static void print_stage(FILE *out, const struct report *r, size_t i, int width) {
    const struct stages *s = r->counters->stages;
    const struct stage_counts *one = &s->items[i];
    struct slice words = s->shape.stages[i].text;
    struct times times = { one->latency, one->ages };
    nsec_t seen = seen_of(r, s, i);
    char p50[PERCENTILE_TEXT_BYTES], p99[PERCENTILE_TEXT_BYTES];
    fprintf(out, "  %-*.*s", width, (int)words.len, words.ptr);
    print_rate(out, !s->shape.is_of_connections, one->planned, seen);
    print_rate(out, true, one->begun, seen);
    print_rate(out, true, one->ended, seen);
    fprintf(out, " %9" PRIu64 " %9" PRIu64 " %10s %10s\n",
            loadgen_config_errors(r->config, one->failed, one->unwelcome), one->dropped,
            percentile_format(percentile_of(times, 0.5), p50),
            percentile_format(percentile_of(times, 0.99), p99));
}

static void print_stages(FILE *out, const struct report *r) {
    const struct stages *s = r->counters->stages;
    size_t width = 0;
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->shape.count; i++)
        width = s->shape.stages[i].text.len > width ? s->shape.stages[i].text.len : width;
    fprintf(out, "\n%-*s %10s %10s %10s %9s %9s %10s %10s\n", (int)width + 2, "stages", "planned/s",
            "begun/s", "ended/s", "errors", "dropped", "p50", "p99");
    for (size_t i = 0; i < s->shape.count; i++)
        print_stage(out, r, i, (int)width);
}

static void put_counted(struct json_draft o, const char *key, const char *rate_key, uint64_t count,
                        nsec_t span) {
    json_put_count(o, key, count);
    json_put(o, rate_key, span > 0 ? json_real(counters_rate(count, span)) : json_null());
}

static void put_stage(struct json_draft item, const struct report *r, size_t i) {
    const struct stages *s = r->counters->stages;
    const struct load_stage *stage = &s->shape.stages[i];
    const struct stage_counts *one = &s->items[i];
    nsec_t seen = seen_of(r, s, i);
    json_put_text(item, "stage", stage->text);
    json_put_text(item, "of", s->shape.is_of_connections ? SLICE("connections") : SLICE("rate"));
    json_put_real(item, "from", stage->from);
    json_put_real(item, "to", stage->to);
    json_put_real(item, "seconds", (double)seen / (double)NSEC_PER_SEC);
    put_counted(item, "planned", "planned_per_s", one->planned, seen);
    put_counted(item, "begun", "begun_per_s", one->begun, seen);
    put_counted(item, "ended", "ended_per_s", one->ended, seen);
    json_put_count(item, "succeeded", one->succeeded);
    json_put_count(item, "failed", one->failed);
    json_put_count(item, "unwelcome", one->unwelcome);
    json_put_count(item, "in_flight", one->in_flight);
    json_put_count(item, "dropped", one->dropped);
    section_put_times(item, "latency_us", (struct times){ one->latency, one->ages });
    section_put_histogram(item, "histogram", one->latency);
    section_put_histogram(item, "ages", one->ages);
}

static void put_stages(struct json_draft root, const struct report *r) {
    const struct stages *s = r->counters->stages;
    json_t *list = json_array();
    json_put(root, "stages", list);
    for (size_t i = 0; s != NULL && i < s->shape.count; i++) {
        struct json_draft item = { json_object(), root.ok };
        put_stage(item, r, i);
        json_append(root, list, item.json);
    }
}

/* --- a file's, for --merge -------------------------------------------------------------------- */

/* The stages of a sum are those of the first file that has any. */
static int adopt_stages(struct counters *sum, const char *words, struct error *err) {
    struct load_shape shape;
    size_t size = strlen(words) + 1;
    char *kept = mem_alloc(size);
    if (kept == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    memcpy(kept, words, size);
    int rc = loadgen_parse_stages(kept, &shape, err);
    if (rc == 0) {
        sum->stages = stages_new(&shape);
        rc = sum->stages != NULL ? 0 : error_set(err, -ENOMEM, "out of memory");
    }
    if (rc == 0)
        sum->stages->words = kept;
    else
        mem_free(kept);
    return rc;
}

static void add_stage(struct stage_counts *sum, const json_t *one) {
    sum->planned += section_count(one, "planned");
    sum->begun += section_count(one, "begun");
    sum->ended += section_count(one, "ended");
    sum->succeeded += section_count(one, "succeeded");
    sum->failed += section_count(one, "failed");
    sum->unwelcome += section_count(one, "unwelcome");
    sum->in_flight += section_count(one, "in_flight");
    sum->dropped += section_count(one, "dropped");
    section_add_histogram(sum->latency, json_object_get(one, "histogram"));
    section_add_histogram(sum->ages, json_object_get(one, "ages"));
}

/* Levels may differ, lengths may not: a row is of one time. */
static bool is_same_time(const struct stages *s, const struct load_shape *other) {
    bool same =
        s->shape.count == other->count && s->shape.is_of_connections == other->is_of_connections;
    for (size_t i = 0; i < other->count && same; i++)
        same = s->shape.stages[i].span == other->stages[i].span;
    return same;
}

static int add_stages(struct counters *sum, const json_t *root, struct error *err) {
    const char *words =
        json_string_value(json_object_get(json_object_get(root, "config"), "stages"));
    const json_t *list = json_object_get(root, "stages");
    struct load_shape shape;
    if (words == NULL || json_array_size(list) == 0)
        return 0;
    int rc = sum->stages == NULL ? adopt_stages(sum, words, err) : 0;
    if (rc == 0)
        rc = loadgen_parse_stages(words, &shape, err);
    if (rc != 0)
        return rc;
    if (!is_same_time(sum->stages, &shape) || json_array_size(list) != shape.count)
        return error_set(err, -EINVAL, "its stages are not as long as those of the first file");
    for (size_t i = 0; i < shape.count; i++)
        add_stage(&sum->stages->items[i], json_array_get(list, i));
    return 0;
}

const struct section stages_section = { .print = print_stages,
                                        .put = put_stages,
                                        .add = add_stages };
