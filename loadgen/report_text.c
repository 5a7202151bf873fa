/* SPDX-License-Identifier: MIT */
/* ApacheBench's report, label by label, so that scripts that read it go on working. */
#include "loadgen/report.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* --- milliseconds as ab rounds them -------------------------------------------------------- */

static int64_t msec(int64_t usec) {
    return (usec + 500) / 1000;
}

static int64_t mean(struct times t) {
    return (int64_t)hist_mean(t.ended);
}

/* ab knows of answers only, and its percentile is the one above: of 20 the 95th is the longest.
 * --ab-strict keeps that; otherwise the report has one definition (loadgen/times.h). */

/* The k-th smallest, from 1. Half a rank down keeps the division from rounding up to the next. */
static int64_t ranked(const struct hist *h, uint64_t k) {
    uint64_t n = hist_count(h);
    return k >= n ? hist_max(h) : hist_quantile(h, ((double)k - 0.5) / (double)n);
}

static int64_t percentile(const struct report *r, struct times t, unsigned percent) {
    if (r->config->ab_strict)
        return ranked(t.ended, hist_count(t.ended) * percent / 100 + 1);
    return times_quantile(t, percent / 100.0).usec;
}

/* In --ab-strict the true one; ab has the parity the wrong way round. */
static int64_t median(const struct report *r, struct times t) {
    uint64_t n = hist_count(t.ended);
    if (!r->config->ab_strict)
        return times_quantile(t, 0.5).usec;
    if (n % 2 == 1)
        return ranked(t.ended, n / 2 + 1);
    return (ranked(t.ended, n / 2) + ranked(t.ended, n / 2 + 1)) / 2;
}

static int64_t longest(const struct report *r, struct times t) {
    return r->config->ab_strict ? hist_max(t.ended) : times_max(t).usec;
}

/* --- ab's lines ---------------------------------------------------------------------------- */

void report_text_start(FILE *out, const struct loadgen_config *c, const struct target *t) {
    if (!c->no_banner)
        fprintf(out, "This is srv bench, Version %s\n\n", SRV_VERSION);
    fprintf(out, "Benchmarking %s ", t->host);
    if (t->peer[0] != '\0')
        fprintf(out, "[through %s] ", t->peer);
    fprintf(out, "(be patient)%s", loadgen_config_shows_progress(c) ? "\n" : "...");
    fflush(out);
}

void report_text_done(FILE *out, const struct report *r) {
    if (r->merged == 0 && !loadgen_config_shows_progress(r->config))
        fprintf(out, "..done\n");
}

static void print_server(FILE *out, const struct report *r) {
    struct slice path = r->target->url.target;
    fprintf(out, "Server Software:        %s\n", r->counters->server_software);
    fprintf(out, "Server Hostname:        %s\n", r->target->host);
    fprintf(out, "Server Port:            %u\n\n", r->target->url.port);
    fprintf(out, "Document Path:          %.*s\n", (int)path.len, path.ptr);
    if (r->config->variable_length)
        fprintf(out, "Document Length:        Variable\n\n");
    else
        fprintf(out, "Document Length:        %" PRIu64 " bytes\n\n", r->counters->document_bytes);
}

static void print_totals(FILE *out, const struct report *r) {
    const struct counters *t = r->counters;
    const struct summary *s = r->summary;
    fprintf(out, "Concurrency Level:      %" PRIu64 "\n", s->concurrency);
    if (r->config->workers > 1)
        fprintf(out, "Number of workers:      %" PRId64 "\n", r->config->workers);
    fprintf(out, "Time taken for tests:   %.3f seconds\n", s->seconds);
    fprintf(out, "Complete requests:      %" PRIu64 "\n", s->ended);
    fprintf(out, "Failed requests:        %" PRIu64 "\n", s->failed);
    if (s->failed > 0)
        fprintf(out,
                "   (Connect: %" PRIu64 ", Receive: %" PRIu64 ", Length: %" PRIu64
                ", Exceptions: %" PRIu64 ")\n",
                counters_column(t, FAILURE_COLUMN_CONNECT),
                counters_column(t, FAILURE_COLUMN_RECEIVE),
                counters_column(t, FAILURE_COLUMN_LENGTH),
                counters_column(t, FAILURE_COLUMN_EXCEPTIONS));
    if (t->non_2xx > 0)
        fprintf(out, "Non-2xx responses:      %" PRIu64 "\n", t->non_2xx);
    if (r->config->keep_alive)
        fprintf(out, "Keep-Alive requests:    %" PRIu64 "\n", t->kept_alive);
    fprintf(out, "Total transferred:      %" PRIu64 " bytes\n", t->bytes_received);
    if (r->request->has_body)
        fprintf(out, "Total body sent:        %" PRIu64 "\n", t->bytes_sent);
    fprintf(out, "HTML transferred:       %" PRIu64 " bytes\n", t->body_bytes);
}

/* Failed requests are not work done: unlike in ab they do not raise the rate. */
static void print_rates(FILE *out, const struct report *r) {
    const struct summary *s = r->summary;
    if (s->rate <= 0)
        return;
    fprintf(out, "Requests per second:    %.2f [#/sec] (mean)\n", s->rate);
    fprintf(out, "Time per request:       %.3f [ms] (mean)\n", s->time_each_ms);
    fprintf(out, "Time per request:       %.3f [ms] (mean, across all concurrent requests)\n",
            s->time_across_ms);
    fprintf(out, "Transfer rate:          %.2f [Kbytes/sec] received\n", s->received_rate / 1024);
    if (!r->request->has_body)
        return;
    fprintf(out, "                        %.2f kb/s sent\n", s->sent_rate / 1024);
    fprintf(out, "                        %.2f kb/s total\n",
            (s->received_rate + s->sent_rate) / 1024);
}

static void print_times_row(FILE *out, const struct report *r, const char *label, struct times t) {
    fprintf(out, "%-12s%5" PRId64 " %4" PRId64 " %5.1f %6" PRId64 " %7" PRId64 "\n", label,
            msec(hist_min(t.ended)), msec(mean(t)), hist_stddev(t.ended) / 1000, msec(median(r, t)),
            msec(longest(r, t)));
}

/* ab's judgement on a skewed distribution; it compares rounded milliseconds. */
static void print_doubt(FILE *out, const struct report *r, const char *what, struct times t) {
    double off = fabs((double)(msec(mean(t)) - msec(median(r, t))));
    double stddev = hist_stddev(t.ended) / 1000;
    if (off > 2 * stddev)
        fprintf(out,
                "ERROR: The median and mean for %s are more than twice the standard\n"
                "       deviation apart. These results are NOT reliable.\n",
                what);
    else if (off > stddev)
        fprintf(out,
                "WARNING: The median and mean for %s are not within a normal deviation\n"
                "        These results are probably not that reliable.\n",
                what);
}

static void print_brief_row(FILE *out, const struct report *r, const char *label, struct times t) {
    fprintf(out, "%-12s%5" PRId64 " %5" PRId64 "%5" PRId64 "\n", label, msec(hist_min(t.ended)),
            msec(mean(t)), msec(longest(r, t)));
}

static void print_times(FILE *out, const struct report *r) {
    static const struct {
        const char *label, *name;
        enum counters_time time;
    } rows[] = {
        { "Connect:", "the initial connection time", TIME_CONNECT },
        { "Processing:", "the processing time", TIME_PROCESSING },
        { "Waiting:", "the waiting time", TIME_WAIT },
        { "Total:", "the total time", TIME_TOTAL },
    };
    const struct times *times = r->summary->times;
    fprintf(out, "\nConnection Times (ms)\n");
    if (r->config->no_confidence) {
        fprintf(out, "              min   avg   max\n");
        for (size_t i = 0; i < ARRAY_LEN(rows); i++)
            print_brief_row(out, r, rows[i].label, times[rows[i].time]);
        return;
    }
    fprintf(out, "              min  mean[+/-sd] median   max\n");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        print_times_row(out, r, rows[i].label, times[rows[i].time]);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        print_doubt(out, r, rows[i].name, times[rows[i].time]);
}

static void print_percentiles(FILE *out, const struct report *r) {
    static const unsigned percents[] = { 50, 66, 75, 80, 90, 95, 98, 99 };
    struct times total = r->summary->times[TIME_TOTAL];
    fprintf(out, "\nPercentage of the requests served within a certain time (ms)\n");
    for (size_t i = 0; i < ARRAY_LEN(percents); i++)
        fprintf(out, " %3u%%  %5" PRId64 "\n", percents[i],
                msec(percentile(r, total, percents[i])));
    fprintf(out, " 100%%  %5" PRId64 " (longest request)\n", msec(longest(r, total)));
}

void report_text(FILE *out, const struct report *r) {
    uint64_t answered = hist_count(r->counters->ended[TIME_TOTAL]);
    fprintf(out, "\n\n");
    print_server(out, r);
    print_totals(out, r);
    print_rates(out, r);
    if (answered > 0)
        print_times(out, r);
    if (answered > 1 && !r->config->no_percentiles)
        print_percentiles(out, r);
}
