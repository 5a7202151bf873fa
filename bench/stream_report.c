/* SPDX-License-Identifier: MIT */
/* Tells what came of streams and their events, and adds up what files tell. */
#include "bench/stream_report.h"
#include "base/alloc.h"
#include "base/escape.h"
#include "base/units.h"
#include "loadgen/counters.h"
#include "loadgen/streams.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define RATE_UNIT 1000.0 /* struct streams counts rates in thousandths */
#define END_BYTES 64     /* shown of the end marker */

static const char *format_of(const struct streams *all) {
    if (all->wishes.is_auto)
        return "auto";
    return all->wishes.format == EVENT_FORMAT_SSE ? "sse" : "json-lines";
}

static double rate_of(const struct report *r) {
    const struct counters *t = r->counters;
    return counters_rate(t->streams->events, t->last_end - t->first_start);
}

/* --- in text ---------------------------------------------------------------------------------- */

static void print_ends(FILE *out, const struct streams *all) {
    char end[END_BYTES], spelled[SECTION_SPELLED_BYTES];
    section_label(out, "streams");
    fprintf(out, "%" PRIu64 " begun, %" PRIu64 " complete", all->begun, all->complete);
    if (all->wishes.needs_end || all->with_end > 0) {
        escape_text(end, sizeof(end), all->wishes.end);
        fprintf(out, ", %" PRIu64 " of them with %s", all->with_end, section_spell(end, spelled));
    }
    if (all->cut > 0)
        fprintf(out, ", %" PRIu64 " of them cut within an event", all->cut);
    if (all->broken > 0)
        fprintf(out, ", %" PRIu64 " broken", all->broken);
    if (all->in_flight > 0)
        fprintf(out, ", %" PRIu64 " in flight", all->in_flight);
    fputc('\n', out);
    if (all->others == 0)
        return;
    section_label(out, "");
    fprintf(out, "%" PRIu64 " answers were no streams\n", all->others);
}

static void print_events(FILE *out, const struct report *r) {
    const struct streams *all = r->counters->streams;
    char span[UNITS_TEXT_BYTES];
    section_label(out, "events");
    fprintf(out, "%" PRIu64 ", %.*f/s, in %" PRIu64 " bytes\n", all->events,
            rate_of(r) < 100 ? 2 : 0, rate_of(r), all->bytes);
    if (all->crowded > 0) {
        section_label(out, "");
        fprintf(out, "%" PRIu64 " reads had several at once: %" PRIu64 " gaps were not seen\n",
                all->crowded, all->unseen);
    }
    section_label(out, "stalls");
    fprintf(out, "%" PRIu64 " gaps over %s, in %" PRIu64 " streams\n", all->stalls,
            units_format_duration(all->wishes.stall, span), all->stalled);
}

static void print_numbers(FILE *out, const char *label, const struct hist *h, double unit) {
    static const double shares[] = { 0.5, 0.9, 0.99, 0.999, 1 };
    int decimals = unit > 1 ? 2 : 0;
    if (hist_count(h) == 0)
        return;
    section_label(out, label);
    for (size_t i = 0; i < ARRAY_LEN(shares); i++)
        fprintf(out, " %10.*f", decimals, (double)hist_quantile(h, shares[i]) / unit);
    fprintf(out, " %10.2f %10.*f\n", hist_mean(h) / unit, decimals, (double)hist_min(h) / unit);
}

static void print_streams(FILE *out, const struct report *r) {
    const struct streams *all = r->counters->streams;
    if (all == NULL)
        return;
    fputc('\n', out);
    print_ends(out, all);
    print_events(out, r);
    section_columns(out, "in a stream");
    section_row(out, "  first event", (struct times){ all->first, all->first_ages });
    section_row(out, "  gap", (struct times){ all->gaps, all->gap_ages });
    print_numbers(out, "  events", all->counts, 1);
    print_numbers(out, "  events/s", all->rates, RATE_UNIT);
}

/* --- in JSON ---------------------------------------------------------------------------------- */

/* The counts that --merge adds up. */
static const struct {
    const char *key;
    size_t at;
} counts[] = {
    { "begun", offsetof(struct streams, begun) },
    { "complete", offsetof(struct streams, complete) },
    { "with_end", offsetof(struct streams, with_end) },
    { "cut", offsetof(struct streams, cut) },
    { "broken", offsetof(struct streams, broken) },
    { "in_flight", offsetof(struct streams, in_flight) },
    { "others", offsetof(struct streams, others) },
    { "events", offsetof(struct streams, events) },
    { "bytes", offsetof(struct streams, bytes) },
    { "crowded_reads", offsetof(struct streams, crowded) },
    { "unseen_gaps", offsetof(struct streams, unseen) },
    { "stalls", offsetof(struct streams, stalls) },
    { "stalled", offsetof(struct streams, stalled) },
};

static uint64_t *count_at(struct streams *all, size_t i) {
    return (uint64_t *)((char *)all + counts[i].at);
}

static const struct {
    const char *key;
    size_t at;
} hists[] = {
    { "first_event_us", offsetof(struct streams, first) },
    { "first_event_age_us", offsetof(struct streams, first_ages) },
    { "gap_us", offsetof(struct streams, gaps) },
    { "gap_age_us", offsetof(struct streams, gap_ages) },
    { "events_per_stream", offsetof(struct streams, counts) },
    { "events_per_1000_s", offsetof(struct streams, rates) },
};

static struct hist *hist_at(const struct streams *all, size_t i) {
    struct hist *hist;
    memcpy(&hist, (const char *)all + hists[i].at, sizeof(hist));
    return hist;
}

static void put_numbers(struct json_draft root, const char *key, const struct hist *h,
                        double unit) {
    static const struct {
        const char *key;
        double q;
    } points[] = { { "min", 0 },    { "p1", 0.01 },  { "p10", 0.1 }, { "p50", 0.5 },
                   { "p90", 0.90 }, { "p99", 0.99 }, { "max", 1 } };
    struct json_draft o = json_put_object(root, key);
    json_put_count(o, "count", hist_count(h));
    json_put(o, "mean", hist_count(h) > 0 ? json_real(hist_mean(h) / unit) : json_null());
    for (size_t i = 0; i < ARRAY_LEN(points); i++)
        json_put(o, points[i].key,
                 hist_count(h) > 0 ? json_real((double)hist_quantile(h, points[i].q) / unit)
                                   : json_null());
}

static void put_streams(struct json_draft root, const struct report *r) {
    struct streams *all = r->counters->streams;
    if (all == NULL) {
        json_put(root, "streams", json_null());
        return;
    }
    struct json_draft o = json_put_object(root, "streams");
    json_put_text(o, "format", slice_str(format_of(all)));
    json_put_text(o, "end", all->wishes.end);
    json_put(o, "end_is_needed", json_boolean(all->wishes.needs_end));
    json_put_real(o, "stall_s", (double)all->wishes.stall / (double)NSEC_PER_SEC);
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        json_put_count(o, counts[i].key, *count_at(all, i));
    json_put_real(o, "events_per_s", rate_of(r));
    section_put_times(o, "first_event_us", (struct times){ all->first, all->first_ages });
    section_put_times(o, "gap_us", (struct times){ all->gaps, all->gap_ages });
    put_numbers(o, "events_per_stream", all->counts, 1);
    put_numbers(o, "events_per_s_of_stream", all->rates, RATE_UNIT);
    struct json_draft histograms = json_put_object(o, "histograms");
    for (size_t i = 0; i < ARRAY_LEN(hists); i++)
        section_put_histogram(histograms, hists[i].key, hist_at(all, i));
}

/* --- a file's, for --merge -------------------------------------------------------------------- */

/* The wishes of a sum are those of the first file. */
static int adopt_streams(struct counters *sum, const json_t *o, struct error *err) {
    const char *format = json_string_value(json_object_get(o, "format"));
    const json_t *end = json_object_get(o, "end");
    double stall = json_number_value(json_object_get(o, "stall_s"));
    struct stream_wishes wishes = {
        .is_auto = format != NULL && strcmp(format, "auto") == 0,
        .format = format != NULL && strcmp(format, "json-lines") == 0 ? EVENT_FORMAT_JSON_LINES
                                                                      : EVENT_FORMAT_SSE,
        .needs_end = json_is_true(json_object_get(o, "end_is_needed")),
        .stall = stall > 0 && stall < 1e9 ? (nsec_t)(stall * (double)NSEC_PER_SEC) : 0,
    };
    sum->streams = streams_new(&wishes);
    if (sum->streams == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    sum->streams->words = slice_dup(slice_of(json_string_value(end), json_string_length(end)));
    sum->streams->wishes.end = slice_str(sum->streams->words);
    return 0;
}

static int add_streams(struct counters *sum, const json_t *root, struct error *err) {
    const json_t *o = json_object_get(root, "streams");
    const json_t *histograms = json_object_get(o, "histograms");
    if (!json_is_object(o))
        return 0;
    int rc = sum->streams == NULL ? adopt_streams(sum, o, err) : 0;
    for (size_t i = 0; i < ARRAY_LEN(counts) && rc == 0; i++) {
        *count_at(sum->streams, i) += section_count(o, counts[i].key);
    }
    for (size_t i = 0; i < ARRAY_LEN(hists) && rc == 0; i++)
        section_add_histogram(hist_at(sum->streams, i), json_object_get(histograms, hists[i].key));
    return rc;
}

const struct section streams_section = { .print = print_streams,
                                         .put = put_streams,
                                         .add = add_streams };
