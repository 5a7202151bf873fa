/* SPDX-License-Identifier: MIT */
/* Derives the figures of a run from its counts. */
#include "bench/summary.h"
#include "loadgen/streams.h"
#include <errno.h>

/* Counts of `whole` less those of `part`, bucket by bucket: to a histogram's three digits. */
static void subtract(struct hist *to, const struct hist *whole, const struct hist *part) {
    uint32_t cursor = 0, part_cursor = 0;
    int64_t usec, part_usec;
    uint64_t count, less;
    bool more = hist_next(part, &part_cursor, &part_usec, &less);
    while (hist_next(whole, &cursor, &usec, &count)) {
        bool same = more && part_cursor == cursor;
        hist_record_n(to, usec, same ? count - less : count);
        if (same)
            more = hist_next(part, &part_cursor, &part_usec, &less);
    }
}

static int set_undisturbed(struct summary *s) {
    struct times all = s->times[TIME_TOTAL], part = s->times[TIME_DISTURBED];
    s->apart[0] = hist_new();
    s->apart[1] = hist_new();
    if (s->apart[0] == NULL || s->apart[1] == NULL)
        return -ENOMEM;
    subtract(s->apart[0], all.ended, part.ended);
    subtract(s->apart[1], all.ages, part.ages);
    s->undisturbed = (struct times){ s->apart[0], s->apart[1] };
    return 0;
}

/* In a closed loop all connections are busy all the time, so that the mean follows from the span
 * (Little's law), as in ab. Otherwise it has to be measured. */
static void set_rates(struct summary *s, const struct loadgen_config *c, const struct counters *t) {
    bool open_model = t->planned > 0;
    bool all_are_busy = !open_model && c->think_text == NULL && t->stages == NULL;
    nsec_t span = t->last_end - t->first_start;
    s->seconds = span > 0 ? (double)span / (double)NSEC_PER_SEC : 0;
    s->rate = counters_rate(t->succeeded, span);
    s->received_rate = counters_rate(t->bytes_received, span);
    s->sent_rate = counters_rate(t->bytes_sent, span);
    s->concurrency = open_model ? t->busy_max : (uint64_t)c->concurrency;
    if (s->rate <= 0)
        return;
    s->time_across_ms = 1000 / s->rate;
    s->time_each_ms = all_are_busy ? (double)s->concurrency * s->time_across_ms
                                   : hist_mean(t->ended[TIME_TOTAL]) / 1000;
}

int summary_init(struct summary *s, const struct loadgen_config *c, const struct counters *t,
                 const struct selfcheck *check) {
    *s = (struct summary){
        .ended = counters_ended(t),
        .failed = counters_failures(t),
    };
    s->errors = loadgen_config_errors(c, s->failed, t->unwelcome);
    for (int i = 0; i < TIME_COUNT; i++)
        s->times[i] = (struct times){ t->ended[i], t->ages[i] };
    set_rates(s, c, t);
    s->facts = (struct threshold_facts){
        .latency = s->times[TIME_TOTAL],
        .ended = s->ended,
        .planned = t->planned,
        .errors = s->errors,
        .non_2xx = t->non_2xx,
        .dropped = t->dropped,
        .late = t->late,
        .rate = s->rate,
    };
    if (t->streams != NULL) {
        const struct streams *all = t->streams;
        s->facts.first_event = (struct times){ all->first, all->first_ages };
        s->facts.gap = (struct times){ all->gaps, all->gap_ages };
        s->facts.stalls = all->stalls;
    }
    int rc = set_undisturbed(s);
    if (rc != 0)
        summary_free(s);
    else if (check != NULL)
        s->is_limited =
            selfcheck_verdict(check, s->times[TIME_TOTAL], &t->pauses, s->seconds, s->limit);
    return rc;
}

void summary_free(struct summary *s) {
    hist_free(s->apart[0]);
    hist_free(s->apart[1]);
    s->apart[0] = s->apart[1] = NULL;
}
