/* SPDX-License-Identifier: MIT */
/* The distribution as columns: ab's -e, and the text form of HdrHistogram. */
#include "loadgen/report.h"
#include <inttypes.h>

static double msec(int64_t usec) {
    return (double)usec / 1000;
}

/* Rows as in ab: 0 is the fastest, 100 the slowest. In between are percentiles as everywhere;
 * with --ab-strict the value of rank n * i / 100, rounded; unlike ab's, never one past the last. */
static int64_t percentage(const struct report *r, unsigned percent) {
    struct times t = r->summary->times[TIME_TOTAL];
    uint64_t n = hist_count(t.ended);
    if (!r->config->ab_strict)
        return times_quantile(t, percent / 100.0).usec;
    if (percent == 0 || percent == 100)
        return percent == 0 ? hist_min(t.ended) : hist_max(t.ended);
    uint64_t rank = (uint64_t)(0.5 + (double)n * percent / 100);
    return hist_quantile(t.ended, rank < n ? ((double)rank + 0.5) / (double)n : 1);
}

void report_percentages(FILE *out, const struct report *r) {
    bool any = times_count(r->summary->times[TIME_TOTAL]) > 0;
    fprintf(out, "Percentage served,Time in ms\n");
    for (unsigned i = 0; i <= 100 && any; i++)
        fprintf(out, "%u,%.3f\n", i, msec(percentage(r, i)));
}

static void print_row(FILE *out, struct times t, double quantile) {
    int64_t value = times_quantile(t, quantile).usec;
    double below = hist_share_below(t.ended, value) * (double)hist_count(t.ended);
    uint64_t count = quantile < 1 ? (uint64_t)(below + 0.5) : times_count(t);
    fprintf(out, "%12.3f %2.12f %10" PRIu64, msec(value), quantile, count);
    if (quantile < 1)
        fprintf(out, " %14.2f", 1 / (1 - quantile));
    fputc('\n', out);
}

/* Five steps for every halving of what is left, down to the last request. */
void report_spectrum(FILE *out, const struct report *r) {
    enum { STEPS = 5 };
    struct times t = r->summary->times[TIME_TOTAL];
    uint64_t count = times_count(t);
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
    fprintf(out, "#[Max     = %12.3f, Total count    = %12" PRIu64 "]\n", msec(times_max(t).usec),
            count);
}
