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

/* The true one; ab has the parity the wrong way round. */
static int64_t median(const struct hist *h) {
    uint64_t n = hist_count(h);
    if (n % 2 == 1)
        return report_ranked(h, n / 2 + 1);
    return (report_ranked(h, n / 2) + report_ranked(h, n / 2 + 1)) / 2;
}

static int64_t mean(const struct hist *h) {
    return (int64_t)hist_mean(h);
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

static void print_server(FILE *out, const struct report *r) {
    struct slice path = r->target->url.target;
    if (r->merged == 0)
        fprintf(out, "%s\n\n", loadgen_config_shows_progress(r->config) ? "" : "..done\n");
    fprintf(out, "Server Software:        %s\n", r->tally->server_software);
    fprintf(out, "Server Hostname:        %s\n", r->target->host);
    fprintf(out, "Server Port:            %u\n\n", r->target->url.port);
    fprintf(out, "Document Path:          %.*s\n", (int)path.len, path.ptr);
    if (r->config->variable_length)
        fprintf(out, "Document Length:        Variable\n\n");
    else
        fprintf(out, "Document Length:        %" PRIu64 " bytes\n\n", r->tally->document_bytes);
}

static void print_totals(FILE *out, const struct report *r) {
    const struct tally *t = r->tally;
    uint64_t failed = tally_failures(t);
    fprintf(out, "Concurrency Level:      %" PRId64 "\n", r->config->concurrency);
    if (r->config->workers > 1)
        fprintf(out, "Number of workers:      %" PRId64 "\n", r->config->workers);
    fprintf(out, "Time taken for tests:   %.3f seconds\n", report_seconds(r));
    fprintf(out, "Complete requests:      %" PRIu64 "\n", tally_ended(t));
    fprintf(out, "Failed requests:        %" PRIu64 "\n", failed);
    if (failed > 0)
        fprintf(out,
                "   (Connect: %" PRIu64 ", Receive: %" PRIu64 ", Length: %" PRIu64
                ", Exceptions: %" PRIu64 ")\n",
                tally_column(t, FAILURE_COLUMN_CONNECT), tally_column(t, FAILURE_COLUMN_RECEIVE),
                tally_column(t, FAILURE_COLUMN_LENGTH), tally_column(t, FAILURE_COLUMN_EXCEPTIONS));
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
    double seconds = report_seconds(r), done = (double)r->tally->succeeded;
    if (done <= 0 || seconds <= 0)
        return;
    double received = (double)r->tally->bytes_received / 1024 / seconds;
    double sent = (double)r->tally->bytes_sent / 1024 / seconds;
    fprintf(out, "Requests per second:    %.2f [#/sec] (mean)\n", done / seconds);
    fprintf(out, "Time per request:       %.3f [ms] (mean)\n",
            (double)r->config->concurrency * seconds * 1000 / done);
    fprintf(out, "Time per request:       %.3f [ms] (mean, across all concurrent requests)\n",
            seconds * 1000 / done);
    fprintf(out, "Transfer rate:          %.2f [Kbytes/sec] received\n", received);
    if (!r->request->has_body)
        return;
    fprintf(out, "                        %.2f kb/s sent\n", sent);
    fprintf(out, "                        %.2f kb/s total\n", received + sent);
}

static void print_times_row(FILE *out, const char *label, const struct hist *h) {
    fprintf(out, "%-12s%5" PRId64 " %4" PRId64 " %5.1f %6" PRId64 " %7" PRId64 "\n", label,
            msec(hist_min(h)), msec(mean(h)), hist_stddev(h) / 1000, msec(median(h)),
            msec(hist_max(h)));
}

/* ab's judgement on a skewed distribution; it compares rounded milliseconds. */
static void print_doubt(FILE *out, const char *what, const struct hist *h) {
    double off = fabs((double)(msec(mean(h)) - msec(median(h))));
    double stddev = hist_stddev(h) / 1000;
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

static void print_brief_row(FILE *out, const char *label, const struct hist *h) {
    fprintf(out, "%-12s%5" PRId64 " %5" PRId64 "%5" PRId64 "\n", label, msec(hist_min(h)),
            msec(mean(h)), msec(hist_max(h)));
}

static void print_times(FILE *out, const struct report *r) {
    const struct tally *t = r->tally;
    const struct {
        const char *label, *name;
        const struct hist *hist;
    } rows[] = {
        { "Connect:", "the initial connection time", t->connect },
        { "Processing:", "the processing time", t->processing },
        { "Waiting:", "the waiting time", t->waiting },
        { "Total:", "the total time", t->total },
    };
    fprintf(out, "\nConnection Times (ms)\n");
    if (r->config->no_confidence) {
        fprintf(out, "              min   avg   max\n");
        for (size_t i = 0; i < ARRAY_LEN(rows); i++)
            print_brief_row(out, rows[i].label, rows[i].hist);
        return;
    }
    fprintf(out, "              min  mean[+/-sd] median   max\n");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        print_times_row(out, rows[i].label, rows[i].hist);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        print_doubt(out, rows[i].name, rows[i].hist);
}

static void print_percentiles(FILE *out, const struct hist *total) {
    static const unsigned percents[] = { 50, 66, 75, 80, 90, 95, 98, 99 };
    fprintf(out, "\nPercentage of the requests served within a certain time (ms)\n");
    for (size_t i = 0; i < ARRAY_LEN(percents); i++)
        fprintf(out, " %3u%%  %5" PRId64 "\n", percents[i],
                msec(report_percentile(total, percents[i])));
    fprintf(out, " 100%%  %5" PRId64 " (longest request)\n", msec(hist_max(total)));
}

void report_text(FILE *out, const struct report *r) {
    uint64_t recorded = hist_count(r->tally->total);
    print_server(out, r);
    print_totals(out, r);
    print_rates(out, r);
    if (recorded > 0)
        print_times(out, r);
    if (recorded > 1 && !r->config->no_percentiles)
        print_percentiles(out, r->tally->total);
}
