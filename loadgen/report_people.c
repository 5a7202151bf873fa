/* SPDX-License-Identifier: MIT */
/* The report for people, above ab's lines.
 *
 * Scripts look for ab's lines with grep, awk and regular expressions, some for the first match and
 * some for the last. Nothing here may be one: no label of ab's, no percent sign at a number
 * ("p50"), and none of ab's words where another will do (answers, errors, slowest, average). */
#include "loadgen/report.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { LABEL_WIDTH = 13, BARS_MAX = 10, BAR_WIDTH = 40 };

static const char full_bar[BAR_WIDTH + 1] = "########################################";

static double seconds(nsec_t span) {
    return (double)span / (double)NSEC_PER_SEC;
}

static void print_label(FILE *out, const char *label) {
    fprintf(out, "%-*s", LABEL_WIDTH, label);
}

/* --- what matters first --------------------------------------------------------------------- */

static void print_throughput(FILE *out, const struct report *r) {
    const struct summary *s = r->summary;
    print_label(out, "throughput");
    fprintf(out, "%.*f/s: %" PRIu64 " answers in %.3f s\n", s->rate < 100 ? 2 : 0, s->rate,
            r->counters->succeeded, s->seconds);
}

static void print_load(FILE *out, const struct report *r) {
    const struct loadgen_config *c = r->config;
    print_label(out, "load");
    if (c->rate > 0)
        fprintf(out, "%g/s planned, %" PRIu64 " of at most %" PRId64 " connections used at once",
                c->rate, r->summary->concurrency, c->concurrency);
    else
        fprintf(out, "%" PRId64 " connection%s at once", c->concurrency,
                c->concurrency == 1 ? "" : "s");
    fprintf(out, "%s\n", c->keep_alive ? ", kept alive" : ", a new one for each (-k reuses them)");
    if (r->merged == 0)
        return;
    print_label(out, "merged");
    fprintf(out, "%" PRIu32 " runs, begun within %.3f s, overlapping for %.1f %%\n", r->merged,
            r->merge_skew_s, r->merge_overlap * 100);
}

static void print_statuses(FILE *out, const struct answers *a) {
    char text[400];
    if (a == NULL || answers_show_statuses(a, text, sizeof(text))[0] == '\0')
        return;
    print_label(out, "statuses");
    fprintf(out, "%s\n", text);
}

static void print_essentials(FILE *out, const struct report *r) {
    const struct counters *t = r->counters;
    print_throughput(out, r);
    print_load(out, r);
    print_statuses(out, r->answers);
    print_label(out, "errors");
    fprintf(out, "%" PRIu64, r->summary->failed);
    if (t->unwelcome > 0)
        fprintf(out, ", and %" PRIu64 " answers that are not 2xx", t->unwelcome);
    fputc('\n', out);
}

/* --- times ---------------------------------------------------------------------------------- */

static void print_row(FILE *out, const char *label, struct times t) {
    static const double shares[] = { 0.5, 0.9, 0.99, 0.999 };
    char text[TIMES_TEXT_BYTES];
    print_label(out, label);
    for (size_t i = 0; i < ARRAY_LEN(shares); i++)
        fprintf(out, " %10s", times_format(times_quantile(t, shares[i]), text));
    fprintf(out, " %10s", times_format(times_max(t), text));
    if (hist_count(t.ended) == 0) {
        fprintf(out, " %10s %10s\n", "-", "-");
        return;
    }
    struct times_value mean = { .usec = (int64_t)(hist_mean(t.ended) + 0.5) };
    fprintf(out, " %10s", times_format(mean, text));
    fprintf(out, " %10s\n", times_format((struct times_value){ .usec = hist_min(t.ended) }, text));
}

/* Rows that say nothing are left out: a phase that nobody went through, or that took no time. */
static void print_phase(FILE *out, const char *label, struct times t) {
    if (times_max(t).usec > 0)
        print_row(out, label, t);
}

static void print_latency(FILE *out, const struct report *r) {
    const struct times *times = r->summary->times;
    struct times all = times[TIME_TOTAL];
    fputc('\n', out);
    print_label(out, "latency");
    fprintf(out, " %10s %10s %10s %10s %10s %10s %10s\n", "p50", "p90", "p99", "p99.9", "slowest",
            "average", "fastest");
    print_row(out, "  all", all);
    if (times_count(times[TIME_DISTURBED]) > 0)
        print_row(out, "  undisturbed", r->summary->undisturbed);
    if (r->counters->planned > 0)
        print_row(out, "  uncorrected", times[TIME_RAW]);
    if (times_count(times[TIME_NEW]) > 0 && times_count(times[TIME_REUSED]) > 0) {
        print_row(out, "  new conn.", times[TIME_NEW]);
        print_row(out, "  reused", times[TIME_REUSED]);
    }
    print_phase(out, "  queue", times[TIME_QUEUE]);
    print_phase(out, "  connect", times[TIME_CONNECT]);
    print_phase(out, "  send", times[TIME_SEND]);
    print_row(out, "  first byte", times[TIME_WAIT]);
    print_phase(out, "  receive", times[TIME_RECEIVE]);
    if (times_censored(all) > 0)
        fprintf(out,
                "> is a lower bound. %" PRIu64 " had no answer: they count as longer than they "
                "lasted.\n",
                times_censored(all));
    if (r->target->resolve_span > NSEC_PER_MSEC)
        fprintf(out, "The name was looked up once, in %.3f ms.\n",
                (double)r->target->resolve_span / 1e6);
}

static void print_chosen(FILE *out, const struct report *r) {
    const struct loadgen_percentiles *p = &r->config->percentiles;
    for (size_t i = 0; i < p->count; i++) {
        struct times_value value =
            times_quantile(r->summary->times[TIME_TOTAL], p->values[i] / 100);
        fprintf(out, "%sp%-11g %s%.3f ms\n", i == 0 ? "\n" : "", p->values[i],
                value.at_least ? ">" : "", (double)value.usec / 1000);
    }
}

/* Bars of equal ratio: latencies have long tails. Counts answers up to each edge. */
static void print_bars(FILE *out, const struct report *r) {
    const struct hist *h = r->summary->times[TIME_TOTAL].ended;
    double least = fmax((double)hist_min(h), 1), most = (double)hist_max(h);
    uint64_t counts[BARS_MAX] = { 0 }, largest = 1, count;
    uint32_t cursor = 0;
    int64_t usec;
    if (hist_count(h) < 2 || most < least * 1.1 || r->config->no_percentiles)
        return;
    double step = log(most / least) / BARS_MAX;
    while (hist_next(h, &cursor, &usec, &count)) {
        int bar = (int)(log(fmax((double)usec, 1) / least) / step);
        bar = bar < 0 ? 0 : bar < BARS_MAX ? bar : BARS_MAX - 1;
        counts[bar] += count;
        largest = counts[bar] > largest ? counts[bar] : largest;
    }
    fputc('\n', out);
    for (int i = 0; i < BARS_MAX; i++) {
        char text[TIMES_TEXT_BYTES];
        struct times_value edge = { .usec = (int64_t)(least * exp(step * (i + 1)) + 0.5) };
        int width = (int)((double)counts[i] * BAR_WIDTH / (double)largest + 0.5);
        fprintf(out, "  up to %8s %10" PRIu64, times_format(edge, text), counts[i]);
        if (counts[i] > 0)
            fprintf(out, "  %.*s", width > 0 ? width : 1, full_bar);
        fputc('\n', out);
    }
}

/* --- how it went ---------------------------------------------------------------------------- */

static void print_schedule(FILE *out, const struct report *r) {
    const struct counters *t = r->counters;
    if (t->planned == 0)
        return;
    fprintf(out,
            "\nPlanned %g/s: %" PRIu64 " planned, %" PRIu64 " sent, %" PRIu64
            " late (over %d us), %" PRIu64 " dropped\n",
            r->config->rate, t->planned, t->planned - t->dropped, t->late, COUNTERS_LATE_USEC,
            t->dropped);
    fprintf(out, "Latency counts from the planned start, uncorrected from the real one\n");
}

static void print_failures(FILE *out, const struct counters *t) {
    fprintf(out, "\nErrors by reason\n");
    for (int i = 0; i < FAILURE_COUNT; i++) {
        if (t->failed[i] == 0)
            continue;
        fprintf(out, "%9" PRIu64 "  %s", t->failed[i], failure_infos[i].text);
        if (i == FAILURE_CONNECT && t->connect_errno != 0)
            fprintf(out, ": %s", strerror(t->connect_errno));
        fprintf(out, "\n");
    }
}

static void print_ending(FILE *out, const struct report *r) {
    const struct counters *t = r->counters;
    char text[THRESHOLD_TEXT_BYTES];
    if (t->reconnects > 0)
        fprintf(out, "\nIdle connections closed by the server: %" PRIu64 " (nothing was lost)\n",
                t->reconnects);
    if (r->stopped_by != NULL)
        fprintf(out, "\nStopped early by %s\n",
                strcmp(r->stopped_by, "error") == 0 ? "a socket error (-r goes on)"
                                                    : threshold_spell(r->stopped_by, text));
    if (t->in_flight > 0)
        fprintf(out, "\nStill in flight at the end: %" PRIu64 ", the oldest for %.3f s\n",
                t->in_flight, seconds(t->in_flight_age_max));
}

static void print_conditions(FILE *out, const struct report *r) {
    const struct threshold *t;
    char text[THRESHOLD_TEXT_BYTES];
    if (report_condition(r, 0) != NULL)
        fprintf(out, "\nConditions\n");
    for (size_t i = 0; (t = report_condition(r, i)) != NULL; i++) {
        struct threshold_fact fact = threshold_fact(t, &r->summary->facts);
        fprintf(out, "  %-8s %s\n", threshold_holds(t, fact) ? "FAILED" : "passed",
                threshold_show(t, fact, text));
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

static void print_pauses(FILE *out, const struct report *r) {
    const struct pauses *p = &r->counters->pauses;
    struct times disturbed = r->summary->times[TIME_DISTURBED];
    if (p->count == 0)
        return;
    fprintf(out,
            "It paused %" PRIu64
            " time%s, for %.3f s; at a stretch for %.3f s at most, from %.3f s on. "
            "%" PRIu64 " were in flight then\n",
            p->count, p->count == 1 ? "" : "s", seconds(p->total), seconds(p->longest),
            seconds(p->longest_at - r->started_mono), times_count(disturbed));
}

/* Late because all connections were busy, or because we were. */
static void print_rate_warning(FILE *out, const struct report *r) {
    const struct counters *t = r->counters;
    uint64_t missed = t->late + t->dropped;
    if (missed * 20 <= t->planned)
        return;
    fprintf(out, "WARNING: the planned throughput was not held: of %" PRIu64 " planned ",
            t->planned);
    if (missed > t->starved)
        fprintf(out, "%" PRIu64 " found all %" PRId64 " connections busy (-c allows more)",
                missed - t->starved, r->config->concurrency);
    if (t->starved > 0)
        fprintf(out, "%s%" PRIu64 " were begun late by the generator itself",
                missed > t->starved ? ", " : "", t->starved);
    fputc('\n', out);
}

static void print_check(FILE *out, const struct report *r) {
    const struct selfcheck *s = r->check;
    if (s != NULL && s->span > 0) {
        fprintf(out, "\nGenerator: %.0f %% of a processor", 100 * (double)s->cpu / (double)s->span);
        if (r->summary->ended > 0)
            fprintf(out, ", %.1f us each",
                    (double)s->cpu / (double)NSEC_PER_USEC / (double)r->summary->ended);
        if (hist_count(s->lag) > 0)
            fprintf(out, "; loop lag p50 %" PRId64 " us, p99 %" PRId64 " us, most %" PRId64 " us",
                    hist_quantile(s->lag, 0.5), hist_quantile(s->lag, 0.99), hist_max(s->lag));
        fputc('\n', out);
        print_pauses(out, r);
        print_ports(out, r);
    }
    if (r->summary->is_limited)
        fprintf(out, "WARNING: the generator, not the server, was the limit: %s\n",
                r->summary->limit);
    print_rate_warning(out, r);
}

void report_people(FILE *out, const struct report *r) {
    fputc('\n', out);
    print_essentials(out, r);
    if (times_count(r->summary->times[TIME_TOTAL]) > 0) {
        print_latency(out, r);
        print_bars(out, r);
        print_chosen(out, r);
    }
    print_schedule(out, r);
    if (r->summary->failed > 0)
        print_failures(out, r->counters);
    if (r->answers != NULL) {
        answers_print(out, r->answers);
        answers_print_addresses(out, r->answers, &r->target->addresses);
    }
    print_ending(out, r);
    print_conditions(out, r);
    print_check(out, r);
    fprintf(out, "\n---- ab ----\n");
}
