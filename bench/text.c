/* SPDX-License-Identifier: MIT */
/* The report in text: ours, which tells what matters first, and below it ApacheBench's, label by
 * label, so that scripts that read it go on working.
 *
 * Such scripts look for ab's lines with grep, awk and regular expressions, some for the first match
 * and some for the last. Nothing in our part may be one: no label of ab's, no percent sign at a
 * number ("p50"), and none of ab's words where another will do (answers, errors, slowest,
 * average). */
#include "bench/text.h"
#include "base/attr.h"
#include "base/escape.h"
#include "base/units.h"
#include "bench/summary.h"
#include "loadgen/answers.h"
#include "loadgen/request.h"
#include "loadgen/section.h"
#include "loadgen/stages.h"
#include "loadgen/target.h"
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

enum { BARS_MAX = 10, BAR_WIDTH = 40, PLAN_BYTES = 96 };

void text_start(FILE *out, const struct loadgen_config *c, const struct target *t) {
    if (!c->no_banner)
        fprintf(out, "This is srv bench, Version %s\n\n", SRV_VERSION);
    fprintf(out, "Benchmarking %s ", t->host);
    if (t->peer[0] != '\0')
        fprintf(out, "[through %s] ", t->peer);
    fprintf(out, "(be patient)%s", loadgen_config_shows_progress(c) ? "\n" : "...");
    fflush(out);
}

static const char full_bar[BAR_WIDTH + 1] = "########################################";

static double seconds(nsec_t span) {
    return (double)span / (double)NSEC_PER_SEC;
}

/* --- what matters first ----------------------------------------------------------------------- */

static void print_throughput(FILE *out, const struct report *r) {
    const struct summary *s = r->summary;
    section_label(out, "throughput");
    fprintf(out, "%.*f/s: %" PRIu64 " answers in %.3f s\n", s->rate < 100 ? 2 : 0, s->rate,
            r->counters->succeeded, s->seconds);
}

/* Names the plan of an open model; "" when there is none. Returns `text`, of PLAN_BYTES. */
static const char *show_plan(const struct report *r, char *text) {
    const struct stages *stages = r->counters->stages;
    const struct load_burst *burst = &r->config->burst;
    char every[UNITS_TEXT_BYTES];
    text[0] = '\0';
    if (r->config->rate > 0)
        snprintf(text, PLAN_BYTES, "%g/s", r->config->rate);
    else if (stages != NULL && !stages->shape.is_of_connections)
        snprintf(text, PLAN_BYTES, "stages");
    size_t len = strlen(text);
    if (burst->count > 0)
        snprintf(text + len, PLAN_BYTES - len, "%s%" PRIu32 " every %s", len > 0 ? " and " : "",
                 burst->count, units_format_duration(burst->every, every));
    return text;
}

static void print_load(FILE *out, const struct report *r) {
    const struct loadgen_config *c = r->config;
    char plan[PLAN_BYTES], think[SECTION_SPELLED_BYTES];
    section_label(out, "load");
    if (show_plan(r, plan)[0] != '\0')
        fprintf(out, "%s planned, %" PRIu64 " of at most %" PRId64 " connections used at once",
                plan, r->summary->concurrency, c->concurrency);
    else if (r->counters->stages != NULL)
        fprintf(out, "stages of up to %" PRId64 " connection%s at once", c->concurrency,
                c->concurrency == 1 ? "" : "s");
    else
        fprintf(out, "%" PRId64 " connection%s at once", c->concurrency,
                c->concurrency == 1 ? "" : "s");
    if (c->think_text != NULL)
        fprintf(out, " that pause for %s", section_spell(c->think_text, think));
    fprintf(out, "%s\n", c->keep_alive ? ", kept alive" : ", a new one for each (-k reuses them)");
    if (r->merged == 0)
        return;
    section_label(out, "merged");
    fprintf(out, "%" PRIu32 " runs, begun within %.3f s, overlapping for %.1f %%\n", r->merged,
            r->merge_skew_s, r->merge_overlap * 100);
}

/* Shows "200: 980, 503: 20"; cut when there are too many. Returns `text`. */
static const char *show_statuses(const struct answers *a, char *text, size_t size) {
    size_t len = 0;
    text[0] = '\0';
    for (int i = 0; i < ANSWERS_STATUSES; i++) {
        char one[40];
        if (a->statuses[i] == 0)
            continue;
        int n =
            snprintf(one, sizeof(one), "%s%d: %" PRIu64, len > 0 ? ", " : "", i, a->statuses[i]);
        if (len + (size_t)n + sizeof(", ...") > size) {
            memcpy(text + len, ", ...", sizeof(", ..."));
            return text;
        }
        memcpy(text + len, one, (size_t)n + 1);
        len += (size_t)n;
    }
    return text;
}

static void print_statuses(FILE *out, const struct answers *a) {
    char text[400];
    if (a == NULL || show_statuses(a, text, sizeof(text))[0] == '\0')
        return;
    section_label(out, "statuses");
    fprintf(out, "%s\n", text);
}

static void print_essentials(FILE *out, const struct report *r) {
    const struct counters *t = r->counters;
    print_throughput(out, r);
    print_load(out, r);
    print_statuses(out, r->answers);
    section_label(out, "errors");
    fprintf(out, "%" PRIu64, r->summary->failed);
    if (t->unwelcome > 0)
        fprintf(out, ", and %" PRIu64 " answers that are not 2xx", t->unwelcome);
    fputc('\n', out);
}

/* --- times ------------------------------------------------------------------------------------ */

static void print_latency(FILE *out, const struct report *r) {
    const struct times *times = r->summary->times;
    struct times all = times[TIME_TOTAL];
    section_columns(out, "latency");
    section_row(out, "  all", all);
    if (percentile_count(times[TIME_DISTURBED]) > 0)
        section_row(out, "  undisturbed", r->summary->undisturbed);
    if (r->counters->planned > 0)
        section_row(out, "  uncorrected", times[TIME_RAW]);
    if (percentile_count(times[TIME_NEW]) > 0 && percentile_count(times[TIME_REUSED]) > 0) {
        section_row(out, "  new conn.", times[TIME_NEW]);
        section_row(out, "  reused", times[TIME_REUSED]);
    }
    section_phase(out, "  queue", times[TIME_QUEUE]);
    section_phase(out, "  connect", times[TIME_CONNECT]);
    section_phase(out, "  of it tls", times[TIME_TLS]);
    section_phase(out, "  send", times[TIME_SEND]);
    section_row(out, "  first byte", times[TIME_WAIT]);
    section_phase(out, "  each hop", times[TIME_HOP]);
    section_phase(out, "  receive", times[TIME_RECEIVE]);
    if (percentile_censored(all) > 0)
        fprintf(out,
                "> is a lower bound. %" PRIu64 " had no answer: they count as longer than they "
                "lasted.\n",
                percentile_censored(all));
    if (r->target->resolve_span > NSEC_PER_MSEC)
        fprintf(out, "The name was looked up once, in %.3f ms.\n",
                (double)r->target->resolve_span / 1e6);
}

static void print_chosen(FILE *out, const struct report *r) {
    const struct loadgen_percentiles *p = &r->config->percentiles;
    for (size_t i = 0; i < p->count; i++) {
        struct percentile_value value =
            percentile_of(r->summary->times[TIME_TOTAL], p->values[i] / 100);
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
        char text[PERCENTILE_TEXT_BYTES];
        struct percentile_value edge = { .usec = (int64_t)(least * exp(step * (i + 1)) + 0.5) };
        int width = (int)((double)counts[i] * BAR_WIDTH / (double)largest + 0.5);
        fprintf(out, "  up to %8s %10" PRIu64, percentile_format(edge, text), counts[i]);
        if (counts[i] > 0)
            fprintf(out, "  %.*s", width > 0 ? width : 1, full_bar);
        fputc('\n', out);
    }
}

/* --- how it went ------------------------------------------------------------------------------ */

static void print_schedule(FILE *out, const struct report *r) {
    const struct counters *t = r->counters;
    char plan[PLAN_BYTES];
    if (t->planned == 0)
        return;
    fprintf(out,
            "\nPlanned %s: %" PRIu64 " planned, %" PRIu64 " sent, %" PRIu64
            " late (over %d us), %" PRIu64 " dropped\n",
            show_plan(r, plan), t->planned, t->planned - t->dropped, t->late, COUNTERS_LATE_USEC,
            t->dropped);
    if (r->config->no_catch_up && t->dropped > 0)
        fprintf(out, "Dropped ones found no free connection at their time: they are in no "
                     "percentile, which is of the others (--no-catch-up)\n");
    fprintf(out, "Latency counts from the planned start, uncorrected from the real one\n");
}

static void print_failures(FILE *out, const struct report *r) {
    const struct counters *t = r->counters;
    fprintf(out, "\nErrors by reason\n");
    for (int i = 0; i < FAILURE_COUNT; i++) {
        if (t->failed[i] == 0)
            continue;
        fprintf(out, "%9" PRIu64 "  %s", t->failed[i], failure_infos[i].text);
        if (i == FAILURE_CONNECT && t->connect_errno != 0)
            fprintf(out, ": %s", strerrordesc_np(t->connect_errno));
        if (r->answers != NULL && r->answers->tls.reasons[i][0] != '\0')
            fprintf(out, ": %s", r->answers->tls.reasons[i]);
        fprintf(out, "%s\n",
                i == FAILURE_TLS_VERIFY ? " (--cacert says whom to trust, --insecure trusts all)"
                                        : "");
    }
}

static void print_lenient(FILE *out, const struct answers *a) {
    fprintf(out, "\nResponses that only a lenient client accepts: %" PRIu64 " (--strict refuses)\n",
            a->lenient);
    for (int i = 0; i < HTTP_LENIENCE_COUNT; i++)
        if (a->leniences[i] > 0)
            fprintf(out, "%9" PRIu64 "  %s\n", a->leniences[i], answers_leniences[i].text);
}

static void print_malformed(FILE *out, const struct answers *a) {
    char text[ANSWERS_FIRST_BYTES * 2];
    fprintf(out, "\nMalformed responses\n");
    for (int i = 0; i < ANSWERS_REASONS; i++)
        if (a->reasons[i].count > 0)
            fprintf(out, "%9" PRIu64 "  %s\n", a->reasons[i].count, a->reasons[i].text);
    if (a->first_len == 0)
        return;
    escape_bytes(text, sizeof(text), slice_of(a->first, a->first_len));
    fprintf(out, "The first one: %s\n", text);
}

static void print_tls(FILE *out, const struct answers_tls *t) {
    if (t->handshakes > 0)
        fprintf(out, "\nTLS: %" PRIu64 " handshakes, %" PRIu64 " of them resumed a session\n",
                t->handshakes, t->resumed);
}

static void print_codings(FILE *out, const struct answers_codings *k) {
    uint64_t all = 0;
    fprintf(out, "\nContent codings:");
    for (int i = 0; i < ANSWERS_CODINGS; i++) {
        if (k->responses[i] > 0)
            fprintf(out, "%s %s %" PRIu64, all > 0 ? "," : "", answers_coding_names[i],
                    k->responses[i]);
        all += k->responses[i];
    }
    fprintf(out, "%s\n%" PRIu64 " bytes of bodies became %" PRIu64, all > 0 ? "" : " none",
            k->coded_bytes, k->decoded_bytes);
    if (k->coded_bytes > 0)
        fprintf(out, " (%.2f times)", (double)k->decoded_bytes / (double)k->coded_bytes);
    if (all > 0)
        fprintf(out, "; decoding took %.1f us each of the generator's time",
                (double)k->spent / (double)NSEC_PER_USEC / (double)all);
    fputc('\n', out);
}

static void print_answers(FILE *out, const struct answers *a) {
    if (a->users.follows)
        fprintf(out,
                "\nRedirects followed: %" PRIu64 "; not followed, to another origin: %" PRIu64 "\n",
                a->users.hops, a->users.elsewhere);
    if (a->users.keeps_cookies)
        fprintf(out, "\nCookies kept: %" PRIu64 ", refused: %" PRIu64 "\n", a->users.cookies_kept,
                a->users.cookies_refused);
    if (a->codings.asked)
        print_codings(out, &a->codings);
    if (a->shortest < a->longest)
        fprintf(out, "\nBody lengths: %" PRIu64 " to %" PRIu64 " bytes (of 2xx responses)\n",
                a->shortest, a->longest);
    if (a->reasons[0].count > 0)
        print_malformed(out, a);
    if (a->lenient > 0)
        print_lenient(out, a);
    if (a->overrun > 0)
        fprintf(out,
                "\nResponses followed by bytes that nobody asked for: %" PRIu64
                "; their connections were closed and not reused\n",
                a->overrun);
}

static void print_addresses(FILE *out, const struct answers *a, const struct resolved *addresses) {
    char text[ADDRESS_TEXT_BYTES];
    if (addresses->count < 2)
        return;
    fprintf(out, "\nAddresses, in turns\n");
    for (size_t i = 0; i < addresses->count; i++) {
        const struct answers_address *one = &a->addresses[i];
        fprintf(out, "  %-24s %9" PRIu64 " responses, %" PRIu64 " connections",
                address_format(&addresses->addresses[i], text), one->responses, one->connections);
        if (one->left_out != 0)
            fprintf(out, "; left out: %s", strerrordesc_np(one->left_out));
        fputc('\n', out);
    }
}

static void print_ending(FILE *out, const struct report *r) {
    const struct counters *t = r->counters;
    char text[SECTION_SPELLED_BYTES];
    if (t->reconnects > 0)
        fprintf(out, "\nIdle connections closed by the server: %" PRIu64 " (nothing was lost)\n",
                t->reconnects);
    if (r->stopped_by != NULL)
        fprintf(out, "\nStopped early by %s\n",
                strcmp(r->stopped_by, "error") == 0 ? "a socket error (-r goes on)"
                                                    : section_spell(r->stopped_by, text));
    if (t->in_flight > 0)
        fprintf(out, "\nStill in flight at the end: %" PRIu64 ", the oldest for %.3f s\n",
                t->in_flight, seconds(t->in_flight_age_max));
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
            seconds(p->longest_at - r->started_mono), percentile_count(disturbed));
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

static void print_report(FILE *out, const struct report *r) {
    fputc('\n', out);
    print_essentials(out, r);
    if (percentile_count(r->summary->times[TIME_TOTAL]) > 0) {
        print_latency(out, r);
        print_bars(out, r);
        print_chosen(out, r);
    }
    print_schedule(out, r);
    if (r->summary->failed > 0)
        print_failures(out, r);
    if (r->answers != NULL) {
        print_tls(out, &r->answers->tls);
        print_answers(out, r->answers);
        print_addresses(out, r->answers, &r->target->addresses);
    }
    print_ending(out, r);
    sections_print(out, r);
    print_check(out, r);
    fprintf(out, "\n---- ab ----\n");
}

/* --- milliseconds as ab rounds them ----------------------------------------------------------- */

static int64_t msec(int64_t usec) {
    return (usec + 500) / 1000;
}

static int64_t mean(struct times t) {
    return (int64_t)hist_mean(t.ended);
}

/* ab knows of answers only, and its percentile is the one above: of 20 the 95th is the longest.
 * --ab-strict keeps that; otherwise the report has one definition (loadgen/percentile.h). */

/* The k-th smallest, from 1. Half a rank down keeps the division from rounding up to the next. */
static int64_t ranked(const struct hist *h, uint64_t k) {
    uint64_t n = hist_count(h);
    return k >= n ? hist_max(h) : hist_quantile(h, ((double)k - 0.5) / (double)n);
}

static int64_t percentile(const struct report *r, struct times t, unsigned percent) {
    if (r->config->ab_strict)
        return ranked(t.ended, hist_count(t.ended) * percent / 100 + 1);
    return percentile_of(t, percent / 100.0).usec;
}

/* In --ab-strict the true one; ab has the parity the wrong way round. */
static int64_t median(const struct report *r, struct times t) {
    uint64_t n = hist_count(t.ended);
    if (!r->config->ab_strict)
        return percentile_of(t, 0.5).usec;
    if (n % 2 == 1)
        return ranked(t.ended, n / 2 + 1);
    return (ranked(t.ended, n / 2) + ranked(t.ended, n / 2 + 1)) / 2;
}

static int64_t longest(const struct report *r, struct times t) {
    return r->config->ab_strict ? hist_max(t.ended) : percentile_max(t).usec;
}

/* --- ab's lines ------------------------------------------------------------------------------- */

static void print_server(FILE *out, const struct report *r) {
    struct slice path = r->target->url.target;
    fprintf(out, "Server Software:        %s\n", r->counters->server_software);
    fprintf(out, "Server Hostname:        %s\n", r->target->host);
    fprintf(out, "Server Port:            %u\n", r->target->url.port);
    if (r->answers != NULL && r->answers->tls.protocol[0] != '\0') {
        const struct answers_tls *t = &r->answers->tls;
        fprintf(out, "SSL/TLS Protocol:       %s\n", t->protocol);
        if (t->temp_key[0] != '\0')
            fprintf(out, "Server Temp Key:        %s\n", t->temp_key);
        if (t->server_name[0] != '\0')
            fprintf(out, "TLS Server Name:        %s\n", t->server_name);
    }
    fputc('\n', out);
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

static void print_ab_report(FILE *out, const struct report *r) {
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

/* --- HTML ------------------------------------------------------------------------------------- */

struct html_page {
    FILE *out;
    const char *row, *cell; /* attributes */
};

static void print_escaped(FILE *out, const char *text) {
    for (; *text != '\0'; text++) {
        if (*text == '<')
            fputs("&lt;", out);
        else if (*text == '>')
            fputs("&gt;", out);
        else if (*text == '&')
            fputs("&amp;", out);
        else
            fputc(*text, out);
    }
}

PRINTF_LIKE(3, 4)
static void html_row(struct html_page p, const char *label, const char *fmt, ...) {
    char value[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(value, sizeof(value), fmt, args);
    va_end(args);
    const char *tag = label[0] == '&' ? "td" : "th";
    fprintf(p.out, "<tr %s><%s colspan=2 %s>%s</%s><td colspan=2 %s>", p.row, tag, p.cell, label,
            tag, p.cell);
    print_escaped(p.out, value);
    fprintf(p.out, "</td></tr>\n");
}

static void html_server(struct html_page p, const struct report *r) {
    html_row(p, "Server Software:", "%s", r->counters->server_software);
    html_row(p, "Server Hostname:", "%s", r->target->host);
    html_row(p, "Server Port:", "%u", r->target->url.port);
    if (r->answers != NULL && r->answers->tls.protocol[0] != '\0')
        html_row(p, "SSL/TLS Protocol:", "%s", r->answers->tls.protocol);
    html_row(p, "Document Path:", "%.*s", (int)r->target->url.target.len,
             r->target->url.target.ptr);
    if (r->config->variable_length)
        html_row(p, "Document Length:", "Variable");
    else
        html_row(p, "Document Length:", "%" PRIu64 " bytes", r->counters->document_bytes);
    html_row(p, "Concurrency Level:", "%" PRIu64, r->summary->concurrency);
}

static void html_totals(struct html_page p, const struct report *r) {
    const struct counters *t = r->counters;
    const struct summary *s = r->summary;
    html_row(p, "Time taken for tests:", "%.3f seconds", s->seconds);
    html_row(p, "Complete requests:", "%" PRIu64, s->ended);
    html_row(p, "Failed requests:", "%" PRIu64, s->failed);
    if (s->failed > 0)
        fprintf(p.out,
                "<tr %s><td colspan=4 %s >   (Connect: %" PRIu64 ", Length: %" PRIu64
                ", Exceptions: %" PRIu64 ")</td></tr>\n",
                p.row, p.cell, counters_column(t, FAILURE_COLUMN_CONNECT),
                counters_column(t, FAILURE_COLUMN_LENGTH),
                counters_column(t, FAILURE_COLUMN_EXCEPTIONS));
    if (t->non_2xx > 0)
        html_row(p, "Non-2xx responses:", "%" PRIu64, t->non_2xx);
    if (r->config->keep_alive)
        html_row(p, "Keep-Alive requests:", "%" PRIu64, t->kept_alive);
    html_row(p, "Total transferred:", "%" PRIu64 " bytes", t->bytes_received);
    if (r->request->has_body)
        html_row(p, "Total body sent:", "%" PRIu64, t->bytes_sent);
    html_row(p, "HTML transferred:", "%" PRIu64 " bytes", t->body_bytes);
}

static void html_rates(struct html_page p, const struct report *r) {
    const struct summary *s = r->summary;
    if (s->rate <= 0)
        return;
    html_row(p, "Requests per second:", "%.2f", s->rate);
    html_row(p, "Transfer rate:", "%.2f kb/s received", s->received_rate / 1024);
    if (!r->request->has_body)
        return;
    html_row(p, "&nbsp;", "%.2f kb/s sent", s->sent_rate / 1024);
    html_row(p, "&nbsp;", "%.2f kb/s total", (s->received_rate + s->sent_rate) / 1024);
}

static void html_times_row(struct html_page p, const struct report *r, const char *label,
                           enum counters_time time) {
    struct times t = r->summary->times[time];
    int64_t max = r->config->ab_strict ? hist_max(t.ended) : percentile_max(t).usec;
    const int64_t usec[] = { hist_min(t.ended), (int64_t)hist_mean(t.ended), max };
    fprintf(p.out, "<tr %s><th %s>%s</th>", p.row, p.cell, label);
    for (size_t i = 0; i < ARRAY_LEN(usec); i++)
        fprintf(p.out, "<td %s>%5" PRId64 "</td>", p.cell, (usec[i] + 500) / 1000);
    fprintf(p.out, "</tr>\n");
}

static void html_times(struct html_page p, const struct report *r) {
    const char *c = p.cell;
    fprintf(p.out, "<tr %s><th %s colspan=4>Connection Times (ms)</th></tr>\n", p.row, c);
    fprintf(p.out,
            "<tr %s><th %s>&nbsp;</th> <th %s>min</th>   <th %s>avg</th>   <th %s>max</th></tr>\n",
            p.row, c, c, c, c);
    html_times_row(p, r, "Connect:", TIME_CONNECT);
    if (percentile_count(r->summary->times[TIME_TLS]) > 0 && !r->config->ab_strict)
        html_times_row(p, r, "of it TLS:", TIME_TLS);
    html_times_row(p, r, "Processing:", TIME_PROCESSING);
    html_times_row(p, r, "Total:", TIME_TOTAL);
}

static void print_html(FILE *out, const struct report *r) {
    const struct loadgen_config *c = r->config;
    struct html_page p = { out, c->html_row != NULL ? c->html_row : "",
                           c->html_cell != NULL ? c->html_cell : "bgcolor=white" };
    if (!c->no_banner)
        fprintf(out, "<p>\n This is srv bench, Version %s<br>\n</p>\n", SRV_VERSION);
    fprintf(out, "<p>\n%s\n\n<table %s>\n", loadgen_config_shows_progress(c) ? "" : "..done\n",
            c->html_table != NULL ? c->html_table : "");
    html_server(p, r);
    html_totals(p, r);
    html_rates(p, r);
    if (hist_count(r->counters->ended[TIME_TOTAL]) > 0)
        html_times(p, r);
    fprintf(out, "</table>\n");
}

void text_print(FILE *out, const struct report *r) {
    if (r->config->html) {
        print_html(out, r);
    } else {
        if (r->merged == 0 && !loadgen_config_shows_progress(r->config))
            fprintf(out, "..done\n");
        if (!r->config->ab_strict)
            print_report(out, r);
        print_ab_report(out, r);
    }
    fflush(out);
}
