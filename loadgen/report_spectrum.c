/* SPDX-License-Identifier: MIT */
/* The distribution as columns: ab's -e, and the text form of HdrHistogram. */
#include "loadgen/report.h"
#include <inttypes.h>
#include <math.h>

static double msec(int64_t usec) {
    return (double)usec / 1000;
}

/* Rows as in ab: 0 is the fastest, 100 the slowest, in between the value of rank n * i / 100,
 * rounded; unlike ab's, never one past the last. */
void report_percentages(FILE *out, const struct report *r) {
    const struct hist *h = r->tally->total;
    uint64_t n = hist_count(h);
    fprintf(out, "Percentage served,Time in ms\n");
    for (unsigned i = 0; i <= 100 && n > 0; i++) {
        uint64_t rank = (uint64_t)(0.5 + (double)n * i / 100);
        int64_t usec = i == 0     ? hist_min(h)
                       : i == 100 ? hist_max(h)
                                  : report_ranked(h, rank < n ? rank + 1 : n);
        fprintf(out, "%u,%.3f\n", i, msec(usec));
    }
}

static void print_row(FILE *out, const struct hist *h, double quantile) {
    int64_t value = quantile < 1 ? hist_quantile(h, quantile) : hist_max(h);
    uint64_t count = (uint64_t)(hist_share_below(h, value) * (double)hist_count(h) + 0.5);
    fprintf(out, "%12.3f %2.12f %10" PRIu64, msec(value), quantile, count);
    if (quantile < 1)
        fprintf(out, " %14.2f", 1 / (1 - quantile));
    fputc('\n', out);
}

/* Five steps for every halving of what is left, down to the last request. */
void report_spectrum(FILE *out, const struct report *r) {
    enum { STEPS = 5 };
    const struct hist *h = r->tally->total;
    double left = 1, least = hist_count(h) > 0 ? 1 / (double)hist_count(h) : 1;
    fprintf(out, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount",
            "1/(1-Percentile)");
    for (; hist_count(h) > 0 && left > least; left /= 2)
        for (int step = 0; step < STEPS; step++)
            print_row(out, h, 1 - left + left / 2 * step / STEPS);
    if (hist_count(h) > 0)
        print_row(out, h, 1);
    fprintf(out, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", hist_mean(h) / 1000,
            hist_stddev(h) / 1000);
    fprintf(out, "#[Max     = %12.3f, Total count    = %12" PRIu64 "]\n", msec(hist_max(h)),
            hist_count(h));
}
