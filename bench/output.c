/* SPDX-License-Identifier: MIT */
/* Opens the files of a report and writes its forms for programs: a line per request, the
 * distribution. */
#include "bench/output.h"
#include "base/attr.h"
#include "base/stream.h"
#include "bench/conditions.h"
#include "bench/counted.h"
#include "bench/document.h"
#include "bench/machines.h"
#include "bench/page.h"
#include "bench/stage_report.h"
#include "bench/stream_report.h"
#include "bench/summary.h"
#include "bench/text.h"
#include "bench/where.h"
#include "loadgen/config.h"
#include "loadgen/counters.h"
#include "loadgen/live.h"
#include "loadgen/mix.h"
#include "loadgen/names.h"
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

const struct section *const output_sections[] = {
    &mix_section,     &names_section,    &where_section,
    &counted_section, &streams_section,  &conditions_section,
    &stages_section,  &machines_section, NULL,
};

/* --- a line per request ----------------------------------------------------------------------- */

static int64_t usec_of(const struct report *r, const struct sample *s) {
    return (s->start - r->started_mono) / NSEC_PER_USEC;
}

static const char *outcome_text(const struct sample *s) {
    if (s->outcome == OUTCOME_OK)
        return "ok";
    if (s->outcome == OUTCOME_DROPPED)
        return "dropped";
    return s->outcome == OUTCOME_UNFINISHED ? "in_flight" : failure_infos[s->outcome].key;
}

static uint32_t whole_msec(uint32_t usec) {
    return (usec + 500) / 1000;
}

/* ab records complete responses only. */
static int write_gnuplot(FILE *out, const struct report *r, struct load_output *o UNUSED) {
    counters_sort_samples(r->samples, r->config->ab_strict); /* ab sorts by duration */
    fprintf(out, "starttime\tseconds\tctime\tdtime\tttime\twait\n");
    for (size_t i = 0; i < r->samples->count; i++) {
        const struct sample *s = &r->samples->items[i];
        if (s->status == 0)
            continue;
        nsec_t wall = r->started_wall + (s->start - r->started_mono);
        time_t seconds = (time_t)(wall / NSEC_PER_SEC);
        struct tm parts;
        char text[64] = "";
        if (localtime_r(&seconds, &parts) != NULL)
            strftime(text, sizeof(text), "%a %b %e %H:%M:%S %Y", &parts);
        uint32_t total = whole_msec(s->total_us), connect = whole_msec(s->connect_us);
        fprintf(out, "%s\t%lld\t%" PRIu32 "\t%" PRIu32 "\t%" PRIu32 "\t%" PRIu32 "\n", text,
                (long long)seconds, connect, total - connect, total, whole_msec(s->wait_us));
    }
    return 0;
}

static int write_csv(FILE *out, const struct report *r, struct load_output *o UNUSED) {
    counters_sort_samples(r->samples, false);
    fprintf(out, "start_us,outcome,status,total_us,queue_us,connect_us,send_us,wait_us,receive_us,"
                 "reused,body_bytes,disturbed,tls_us\n");
    for (size_t i = 0; i < r->samples->count; i++) {
        const struct sample *s = &r->samples->items[i];
        fprintf(out,
                "%" PRId64 ",%s,%u,%" PRIu32 ",%" PRIu32 ",%" PRIu32 ",%" PRIu32 ",%" PRIu32
                ",%" PRIu32 ",%d,%" PRIu64 ",%d,%" PRIu32 "\n",
                usec_of(r, s), outcome_text(s), s->status, s->total_us, s->queue_us, s->connect_us,
                s->send_us, s->wait_us, s->receive_us, s->reused, s->body_bytes, s->disturbed,
                s->tls_us);
    }
    return 0;
}

static int write_ndjson(FILE *out, const struct report *r, struct load_output *o UNUSED) {
    counters_sort_samples(r->samples, false);
    for (size_t i = 0; i < r->samples->count; i++) {
        const struct sample *s = &r->samples->items[i];
        fprintf(out,
                "{\"start_us\":%" PRId64 ",\"outcome\":\"%s\",\"status\":%u,\"total_us\":%" PRIu32
                ",\"queue_us\":%" PRIu32 ",\"connect_us\":%" PRIu32 ",\"send_us\":%" PRIu32
                ",\"wait_us\":%" PRIu32 ",\"receive_us\":%" PRIu32
                ",\"reused\":%s,\"body_bytes\":%" PRIu64 ",\"disturbed\":%s,\"tls_us\":%" PRIu32
                "}\n",
                usec_of(r, s), outcome_text(s), s->status, s->total_us, s->queue_us, s->connect_us,
                s->send_us, s->wait_us, s->receive_us, s->reused ? "true" : "false", s->body_bytes,
                s->disturbed ? "true" : "false", s->tls_us);
    }
    return 0;
}

/* --- the distribution as columns -------------------------------------------------------------- */

static double msec(int64_t usec) {
    return (double)usec / 1000;
}

/* Rows as in ab: 0 is the fastest, 100 the slowest. In between are percentiles as everywhere;
 * with --ab-strict the value of rank n * i / 100, rounded; unlike ab's, never one past the last. */
static int64_t percentage(const struct report *r, unsigned percent) {
    struct times t = r->summary->times[TIME_TOTAL];
    uint64_t n = hist_count(t.ended);
    if (!r->config->ab_strict)
        return percentile_of(t, percent / 100.0).usec;
    if (percent == 0 || percent == 100)
        return percent == 0 ? hist_min(t.ended) : hist_max(t.ended);
    uint64_t rank = (uint64_t)(0.5 + (double)n * percent / 100);
    return hist_quantile(t.ended, rank < n ? ((double)rank + 0.5) / (double)n : 1);
}

static int write_percentages(FILE *out, const struct report *r, struct load_output *o UNUSED) {
    bool any = percentile_count(r->summary->times[TIME_TOTAL]) > 0;
    fprintf(out, "Percentage served,Time in ms\n");
    for (unsigned i = 0; i <= 100 && any; i++)
        fprintf(out, "%u,%.3f\n", i, msec(percentage(r, i)));
    return 0;
}

static void print_row(FILE *out, struct times t, double quantile) {
    int64_t value = percentile_of(t, quantile).usec;
    double below = hist_share_below(t.ended, value) * (double)hist_count(t.ended);
    uint64_t count = quantile < 1 ? (uint64_t)(below + 0.5) : percentile_count(t);
    fprintf(out, "%12.3f %2.12f %10" PRIu64, msec(value), quantile, count);
    if (quantile < 1)
        fprintf(out, " %14.2f", 1 / (1 - quantile));
    fputc('\n', out);
}

/* Five steps for every halving of what is left, down to the last request. */
static int write_spectrum(FILE *out, const struct report *r, struct load_output *o UNUSED) {
    enum { STEPS = 5 };
    struct times t = r->summary->times[TIME_TOTAL];
    uint64_t count = percentile_count(t);
    double left = 1, least = count > 0 ? 1 / (double)count : 1;
    fprintf(out, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount",
            "1/(1-Percentile)");
    for (; count > 0 && left > least; left /= 2)
        for (int step = 0; step < STEPS; step++)
            print_row(out, t, 1 - left + left / 2 * step / STEPS);
    if (count > 0)
        print_row(out, t, 1);
    fprintf(out, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", hist_mean(t.ended) / 1000,
            hist_stddev(t.ended) / 1000);
    fprintf(out, "#[Max     = %12.3f, Total count    = %12" PRIu64 "]\n",
            msec(percentile_max(t).usec), count);
    return 0;
}

/* --- a line per second ------------------------------------------------------------------------ */

static void put_usec(FILE *out, const struct live_row *row, int64_t usec) {
    if (row->answers > 0)
        fprintf(out, ",%" PRId64, usec);
    else
        fputc(',', out);
}

static int write_series(FILE *out, const struct report *r, struct load_output *o UNUSED) {
    fprintf(out, "second,seconds,requests,failed,rps,in_flight,p50_us,p99_us,max_us\n");
    for (size_t i = 0; r->live != NULL && i < r->live->row_count; i++) {
        const struct live_row *row = &r->live->rows[i];
        fprintf(out, "%.6f,%.6f,%" PRIu64 ",%" PRIu64 ",%.3f,%" PRIu64, row->second, row->length,
                row->requests, row->failed, row->rate, row->in_flight);
        put_usec(out, row, row->p50_us);
        put_usec(out, row, row->p99_us);
        put_usec(out, row, row->max_us);
        fputc('\n', out);
    }
    return 0;
}

/* Everything is there but the word about what could not be. */
static int end_hlog(FILE *out UNUSED, const struct report *r UNUSED, struct load_output *o) {
    return o->hlog.rc;
}

static int end_ticks(FILE *out UNUSED, const struct report *r UNUSED, struct load_output *o) {
    return o->ticks.rc;
}

/* --- as a whole ----------------------------------------------------------------------------- */

static int write_json(FILE *out, const struct report *r, struct load_output *o UNUSED) {
    return document_write(out, r);
}

static int write_page(FILE *out, const struct report *r, struct load_output *o) {
    json_t *json = document_make(r);
    int rc = json != NULL ? page_write(out, json, o->against) : -ENOMEM;
    json_decref(json);
    return rc;
}

/* --- where they go ---------------------------------------------------------------------------- */

enum { OUTPUT_HLOG = OUTPUT_FILES - 2, OUTPUT_TICKS };

static const struct output_form {
    size_t path; /* offset in the configuration */
    int (*write)(FILE *, const struct report *, struct load_output *);
    bool needs_samples;
} forms[OUTPUT_FILES] = {
    { offsetof(struct loadgen_config, json_path), write_json, false },
    { offsetof(struct loadgen_config, percentiles_path), write_percentages, false },
    { offsetof(struct loadgen_config, spectrum_path), write_spectrum, false },
    { offsetof(struct loadgen_config, gnuplot_path), write_gnuplot, true },
    { offsetof(struct loadgen_config, csv_path), write_csv, true },
    { offsetof(struct loadgen_config, ndjson_path), write_ndjson, true },
    { offsetof(struct loadgen_config, look.page_path), write_page, false },
    { offsetof(struct loadgen_config, look.series_path), write_series, false },
    [OUTPUT_HLOG] = { offsetof(struct loadgen_config, look.hlog_path), end_hlog, false },
    [OUTPUT_TICKS] = { offsetof(struct loadgen_config, look.ticks_path), end_ticks, false },
};

static const char *path_of(const struct loadgen_config *c, int form) {
    const char *path;
    memcpy(&path, (const char *)c + forms[form].path, sizeof(path));
    return path;
}

int output_open(struct load_output *o, const struct loadgen_config *c, struct error *err) {
    *o = (struct load_output){ .files = { NULL } };
    if (c->look.against_path != NULL) {
        int rc = document_read(&o->against, c->look.against_path, false, err);
        if (rc != 0)
            return rc;
    }
    for (int i = 0; i < OUTPUT_FILES; i++) {
        const char *path = path_of(c, i);
        if (path == NULL)
            continue;
        int rc = stream_create(&o->files[i], path, err);
        if (rc == 0)
            continue;
        output_close(o);
        return rc;
    }
    return 0;
}

void output_close(struct load_output *o) {
    for (int i = 0; i < OUTPUT_FILES; i++) {
        (void)stream_close(o->files[i]);
        o->files[i] = NULL;
    }
    json_decref(o->against);
    o->against = NULL;
    ticks_free(&o->ticks);
}

static int write_file(struct load_output *o, int form, const struct report *r, struct error *err) {
    int rc = forms[form].write(o->files[form], r, o);
    int closed = stream_close(o->files[form]);
    o->files[form] = NULL;
    rc = rc != 0 ? rc : closed;
    if (rc == 0)
        return 0;
    return error_set(err, rc, "cannot write %s: %s", path_of(r->config, form),
                     strerrordesc_np(-rc));
}

static FILE *text_stream(const struct loadgen_config *c) {
    return loadgen_config_takes_stdout(c) ? stderr : stdout;
}

void output_watch(struct load_output *o, struct live *l) {
    if (o->files[OUTPUT_HLOG] != NULL) {
        hlog_init(&o->hlog, o->files[OUTPUT_HLOG]);
        live_watch(l, &o->hlog.watcher);
    }
    if (o->files[OUTPUT_TICKS] != NULL)
        ticks_start(&o->ticks, l, o->files[OUTPUT_TICKS]);
}

void output_start(const struct loadgen_config *c, const struct target *t) {
    if (!c->html)
        text_start(text_stream(c), c, t);
}

int output_report(struct load_output *o, const struct report *r, struct error *err) {
    int rc = 0;
    text_print(text_stream(r->config), r);
    for (int i = 0; i < OUTPUT_FILES; i++) {
        if (o->files[i] == NULL || (forms[i].needs_samples && r->samples == NULL))
            continue;
        int failed = write_file(o, i, r, err);
        rc = rc != 0 ? rc : failed;
    }
    output_close(o);
    if (rc == 0 && r->samples != NULL && r->samples->incomplete)
        rc = error_set(err, -ENOMEM,
                       "out of memory for the record of every request: the files "
                       "lack some");
    return rc;
}

static int make_page(const struct loadgen_config *c, json_t *from, json_t *against,
                     struct error *err) {
    FILE *out;
    int rc = stream_create(&out, c->look.page_path, err);
    if (rc != 0)
        return rc;
    rc = page_write(out, from, against);
    int closed = stream_close(out);
    rc = rc != 0 ? rc : closed;
    return rc == 0
               ? 0
               : error_set(err, rc, "cannot write %s: %s", c->look.page_path, strerrordesc_np(-rc));
}

int output_page(const struct loadgen_config *c, struct error *err) {
    json_t *from = NULL, *against = NULL;
    int rc = document_read(&from, c->look.page_from, c->look.against_path == NULL, err);
    if (rc == 0 && c->look.against_path != NULL)
        rc = document_read(&against, c->look.against_path, false, err);
    if (rc == 0)
        rc = make_page(c, from, against, err);
    json_decref(from);
    json_decref(against);
    return rc == 0 ? 0 : EXIT_CANNOT;
}
