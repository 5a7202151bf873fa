/* SPDX-License-Identifier: MIT */
/* What several forms of the report share. */
#include "loadgen/report.h"

const struct threshold *report_condition(const struct report *r, size_t i) {
    const struct thresholds *fail_if = &r->config->fail_if, *abort_if = &r->config->abort_if;
    if (i < fail_if->count)
        return &fail_if->items[i];
    i -= fail_if->count;
    return i < abort_if->count ? &abort_if->items[i] : NULL;
}

bool report_fails(const struct report *r) {
    const struct threshold *t;
    for (size_t i = 0; (t = report_condition(r, i)) != NULL; i++)
        if (threshold_holds(t, threshold_fact(t, &r->summary->facts)))
            return true;
    return false;
}
