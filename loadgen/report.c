/* SPDX-License-Identifier: MIT */
/* Figures that several forms of the report share. */
#include "loadgen/report.h"

double report_seconds(const struct report *r) {
    nsec_t span = r->tally->last_end - r->tally->first_start;
    return span > 0 ? (double)span / (double)NSEC_PER_SEC : 0;
}

double report_rate(const struct report *r) {
    double seconds = report_seconds(r);
    return seconds > 0 ? (double)r->tally->succeeded / seconds : 0;
}

struct threshold_facts report_facts(const struct report *r) {
    const struct tally *t = r->tally;
    return (struct threshold_facts){
        .latency = t->total,
        .requests = tally_ended(t) + t->dropped,
        .errors = tally_failures(t),
        .non_2xx = t->non_2xx,
        .dropped = t->dropped,
        .late = t->late,
        .rate = report_rate(r),
    };
}

bool report_fails(const struct report *r) {
    struct threshold_facts facts = report_facts(r);
    for (size_t i = 0; i < r->config->fail_if.count; i++)
        if (threshold_holds(&r->config->fail_if.items[i], &facts))
            return true;
    return false;
}

/* Half a rank down keeps the division from rounding up to the next one. */
int64_t report_ranked(const struct hist *h, uint64_t k) {
    uint64_t n = hist_count(h);
    return k >= n ? hist_max(h) : hist_quantile(h, ((double)k - 0.5) / (double)n);
}

/* Without interpolation. */
int64_t report_percentile(const struct hist *h, unsigned percent) {
    return report_ranked(h, hist_count(h) * percent / 100 + 1);
}
