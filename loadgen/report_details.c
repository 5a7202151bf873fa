/* SPDX-License-Identifier: MIT */
/* The sections below ab's report: what it does not tell. */
#include "loadgen/report.h"
#include <inttypes.h>
#include <string.h>

static void print_fine_row(FILE *out, const char *label, const struct hist *h) {
    fprintf(out,
            "%-12s%10" PRId64 " %10.0f %10" PRId64 " %10" PRId64 " %10" PRId64 " %10" PRId64
            " %10" PRId64 "\n",
            label, hist_min(h), hist_mean(h), hist_quantile(h, 0.5), hist_quantile(h, 0.9),
            hist_quantile(h, 0.99), hist_quantile(h, 0.999), hist_max(h));
}

/* Rows that say nothing are left out: a phase that nobody went through, or that took no time. */
static void print_phase(FILE *out, const char *label, const struct hist *h) {
    if (hist_max(h) > 0)
        print_fine_row(out, label, h);
}

static void print_fine(FILE *out, const struct report *r) {
    const struct tally *t = r->tally;
    bool open_model = t->planned > 0;
    fprintf(out, "\nLatency (us)       min       mean        p50        p90        p99      p99.9"
                 "        max\n");
    print_phase(out, "  queue", t->queue);
    print_fine_row(out, "  connect", t->connect);
    print_phase(out, "  send", t->send);
    print_fine_row(out, "  first byte", t->waiting);
    print_phase(out, "  receive", t->receive);
    print_fine_row(out, "  total", t->total);
    if (open_model)
        print_fine_row(out, "  uncorrected", t->raw);
    if (hist_count(t->fresh) > 0 && hist_count(t->reused) > 0) {
        print_fine_row(out, "  new conn.", t->fresh);
        print_fine_row(out, "  reused", t->reused);
    }
    if (r->target->resolve_span > NSEC_PER_MSEC)
        fprintf(out, "Name look-up: %.3f ms, once\n", (double)r->target->resolve_span / 1e6);
}

static void print_chosen(FILE *out, const struct report *r) {
    const struct loadgen_percentiles *p = &r->config->percentiles;
    if (p->count == 0)
        return;
    fprintf(out, "\nPercentiles (ms)\n");
    for (size_t i = 0; i < p->count; i++)
        fprintf(out, "%9g%% %12.3f\n", p->values[i],
                (double)hist_quantile(r->tally->total, p->values[i] / 100) / 1000);
}

static void print_schedule(FILE *out, const struct report *r) {
    const struct tally *t = r->tally;
    if (t->planned == 0)
        return;
    fprintf(out,
            "\nPlanned rate %g per second: %" PRIu64 " planned, %" PRIu64 " sent, %" PRIu64
            " late (over %d us), %" PRIu64 " dropped\n",
            r->config->rate, t->planned, t->planned - t->dropped, t->late, TALLY_LATE_USEC,
            t->dropped);
    fprintf(out, "Total counts from the planned start, uncorrected from the real one\n");
}

static void print_failures(FILE *out, const struct tally *t) {
    fprintf(out, "\nFailures by reason\n");
    for (int i = 0; i < FAILURE_COUNT; i++) {
        if (t->failed[i] == 0)
            continue;
        fprintf(out, "%9" PRIu64 "  %s", t->failed[i], failure_infos[i].text);
        if (i == FAILURE_CONNECT && t->connect_errno != 0)
            fprintf(out, ": %s", strerror(t->connect_errno));
        fprintf(out, "\n");
    }
}

static void print_answers(FILE *out, const struct report *r) {
    const struct tally *t = r->tally;
    if (r->answers != NULL) {
        answers_print(out, r->answers);
        answers_print_addresses(out, r->answers, &r->target->addresses);
    }
    if (!r->config->keep_alive && t->connections > 1)
        fprintf(out, "\nEach request opened a connection of its own; -k reuses them\n");
}

static void print_ending(FILE *out, const struct report *r) {
    const struct tally *t = r->tally;
    if (t->reconnects > 0)
        fprintf(out, "\nIdle connections closed by the server: %" PRIu64 " (no request was lost)\n",
                t->reconnects);
    if (r->stopped_by != NULL)
        fprintf(out, "\nStopped early by %s\n",
                strcmp(r->stopped_by, "error") == 0 ? "a socket error (-r goes on)"
                                                    : r->stopped_by);
    if (t->in_flight > 0)
        fprintf(out, "\nStill in flight at the end: %" PRIu64 ", the oldest for %.3f s\n",
                t->in_flight, (double)t->in_flight_age_max / (double)NSEC_PER_SEC);
}

/* One line per condition of --fail-if. */
static void print_conditions(FILE *out, const struct report *r) {
    const struct thresholds *conditions = &r->config->fail_if;
    struct threshold_facts facts = report_facts(r);
    char text[THRESHOLD_TEXT_BYTES];
    if (conditions->count > 0)
        fprintf(out, "\nConditions\n");
    for (size_t i = 0; i < conditions->count; i++) {
        const struct threshold *t = &conditions->items[i];
        fprintf(out, "  %-8s %s: it is %s\n", threshold_holds(t, &facts) ? "FAILED" : "passed",
                t->text, threshold_show(t, threshold_fact(t, &facts), text));
    }
}

static void print_ports(FILE *out, const struct report *r) {
    const struct selfcheck *s = r->check;
    uint64_t sources = 1;
    for (const char *at = r->config->sources; at != NULL && *at != '\0'; at++)
        sources += *at == ',';
    if (s->overflows > 0 || s->drops > 0)
        fprintf(out,
                "Listen queues on this machine overflowed %" PRIu64 " times (%" PRIu64
                " connections dropped): a larger backlog is needed\n",
                s->overflows, s->drops);
    if (r->target->is_tcp && !r->config->keep_alive && s->ports > 0 &&
        s->ports_waiting > s->ports * sources / 2)
        fprintf(out,
                "%" PRIu64 " of %" PRIu64 " local ports are waiting (TIME_WAIT); more source "
                "addresses (-B) or -k help\n",
                s->ports_waiting, s->ports * sources);
    if ((uint64_t)r->config->concurrency * 10 > s->descriptors_max * 9)
        fprintf(out, "More than 90 %% of the %" PRIu64 " descriptors of this process were in use\n",
                s->descriptors_max);
}

static void print_check(FILE *out, const struct report *r) {
    const struct selfcheck *s = r->check;
    char why[SELFCHECK_TEXT_BYTES];
    if (s == NULL || s->span <= 0)
        return;
    fprintf(out, "\nGenerator: %.0f %% of a processor", 100 * (double)s->cpu / (double)s->span);
    if (tally_ended(r->tally) > 0)
        fprintf(out, ", %.1f us per request",
                (double)s->cpu / (double)NSEC_PER_USEC / (double)tally_ended(r->tally));
    if (hist_count(s->lag) > 0)
        fprintf(out, "; loop lag p50 %" PRId64 " us, p99 %" PRId64 " us",
                hist_quantile(s->lag, 0.5), hist_quantile(s->lag, 0.99));
    fputc('\n', out);
    print_ports(out, r);
    if (selfcheck_verdict(s, why) != NULL)
        fprintf(out, "WARNING: the generator, not the server, was the limit: %s\n", why);
    if ((r->tally->late + r->tally->dropped) * 20 > r->tally->planned)
        fprintf(out,
                "WARNING: the planned rate was not held: %" PRIu64 " of %" PRIu64
                " requests found all %" PRId64 " connections busy, or the generator late\n",
                r->tally->late + r->tally->dropped, r->tally->planned, r->config->concurrency);
}

void report_details(FILE *out, const struct report *r) {
    const struct tally *t = r->tally;
    if (hist_count(t->total) > 0) {
        print_fine(out, r);
        print_chosen(out, r);
    }
    print_schedule(out, r);
    if (tally_failures(t) > 0)
        print_failures(out, t);
    print_answers(out, r);
    print_ending(out, r);
    print_conditions(out, r);
    print_check(out, r);
}
