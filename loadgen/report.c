/* SPDX-License-Identifier: MIT */
/* What several forms of the report share. */
#include "loadgen/report.h"

bool report_fails(const struct report *r) {
    for (size_t i = 0; i < r->config->fail_if.count; i++) {
        const struct threshold *t = &r->config->fail_if.items[i];
        if (threshold_holds(t, threshold_fact(t, &r->summary->facts)))
            return true;
    }
    return false;
}
