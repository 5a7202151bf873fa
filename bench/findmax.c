/* SPDX-License-Identifier: MIT */
/* Turns loads into runs, runs into steps of the search, and tells what came out. */
#include "bench/findmax.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/stream.h"
#include "bench/knee.h"
#include "bench/page.h"
#include "bench/run.h"
#include "bench/summary.h"
#include "loadgen/counters.h"
#include "loadgen/report.h"
#include "loadgen/selfcheck.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Requests that come late in a queue come late together: so many of them tell as much of a
 * percentile as one that has nothing to do with the others; and so many of a failure. */
#define LATE_TOGETHER 20.0
#define FAIL_TOGETHER 4.0
#define INTERVAL_Z    1.96

/* Parts of the time: a step of the way up, one that shows the capacity, one near the knee. A part
 * that is left and shorter than the last number belongs to the step before. */
#define BRIEF_PART   60
#define CONFIRM_PART 12
#define FINE_PART    6
#define REST_PART    8

/* A step plans so many requests, if there is time for it: chance may plan none of fewer. */
#define REQUESTS_MIN 4.0

/* An overloaded server answers less than this share of what is sent, and its mean time has grown
 * by such a factor: answers of an idle server may be slow, too. So many of them show that. */
#define OVERLOADED      0.77
#define OVERLOADED_TIME 2
#define OVERLOADED_MIN  100
#define IDLE_MIN        20

/* The generator was the limit: without a bound of a time, it began this share late itself; or its
 * lag or a pause is such a share of the bound; or it paused for such a share of the step. So many
 * steps of it in turn end the search. */
#define STARVED_MAX 0.2
#define LAG_MAX     0.25
#define PAUSED_MAX  0.2
enum { LIMITED_MAX = 5 };

#define CONNECTIONS_DEFAULT 1000
#define RATE_MIN            0.1

/* A step as it is told. */
struct told {
    double rate, seconds; /* answers per second; of what was measured */
    uint64_t requests, failed;
    double values[KNEE_CONDITIONS_MAX];
    bool lower_bounds[KNEE_CONDITIONS_MAX];
    bool is_limited; /* by the generator: it is no part of the curve */
    int64_t p50, p90, p99, max;
};

struct findmax {
    const struct loadgen_config *config;
    struct loadgen_config step; /* the run's that goes on */
    struct load_setup *setup;
    struct knee knee;
    struct knee_step seen; /* the step that goes on */
    struct told told[KNEE_STEPS_MAX];
    struct knee_step steps[KNEE_STEPS_MAX]; /* behind `told`: limited ones, too */
    size_t count, limited;                  /* `limited`: in turn, up to now */
    char limit[SELFCHECK_TEXT_BYTES];
    double idle; /* seconds: the least mean time of IDLE_MIN answers or more; or INFINITY */
    nsec_t deadline;
    FILE *out, *json, *page; /* json and page: NULL, or what is written at the end */
    const char *stopped_by;
    bool is_whole; /* nothing ended the search early: --at-least can be judged */
};

static bool by_rate(const struct findmax *f) {
    return f->config->find_by == LOADGEN_FIND_RATE;
}

/* --- conditions ------------------------------------------------------------------------------- */

int findmax_parse(const char *text, struct thresholds *to, struct error *err) {
    struct thresholds parsed = { .count = 0 };
    int rc = threshold_parse(text, &parsed, err);
    if (rc != 0)
        return rc;
    const struct threshold *t = &parsed.items[0];
    if (t->sign == THRESHOLD_ABOVE || t->sign == THRESHOLD_AT_LEAST)
        return error_set(err, -EINVAL, "an upper bound that must hold: p99<200ms, not p99>200ms");
    if (t->metric == THRESHOLD_RATE || (t->metric == THRESHOLD_QUANTILE && t->quantile <= 0))
        return error_set(err, -EINVAL,
                         "a percentile, mean, max, or a share: p99<200ms, errors<0.1%%");
    if (!threshold_is_latency(t) && !t->is_share)
        return error_set(err, -EINVAL, "a share, since steps are long and short: errors<0.1%%");
    if (to->count == KNEE_CONDITIONS_MAX)
        return error_set(err, -EINVAL, "at most %d conditions", KNEE_CONDITIONS_MAX);
    to->items[to->count++] = *t;
    return 0;
}

static struct knee_condition law_of(const struct findmax *f, const struct threshold *t) {
    bool is_time = threshold_is_latency(t);
    struct knee_condition c = { .law = is_time && by_rate(f) ? KNEE_QUEUE : KNEE_POWER };
    if (t->metric == THRESHOLD_QUANTILE)
        c.share = fmax(1 - t->quantile, 1e-4);
    return c;
}

/* The share of order statistics that surely enclose a percentile: two standard errors of the
 * binomial law, with requests that are late together. */
static struct knee_sight see_quantile(const struct threshold *t, struct times times) {
    double n = (double)percentile_count(times), share = fmax(1 - t->quantile, 1e-4);
    double off = INTERVAL_Z * sqrt(LATE_TOGETHER * share * (1 - share) / n);
    struct percentile_value at = percentile_of(times, t->quantile);
    double lower = (double)percentile_of(times, fmax(1 - share - off, 0)).usec;
    double most = (double)percentile_max(times).usec, upper = most;
    struct knee_sight s = { .height = log(fmax((double)at.usec, 1) / t->value) };
    if (share - off > 1 / n)
        upper = (double)percentile_of(times, 1 - share + off).usec;
    s.low = log(fmax(lower, 1) / t->value);
    s.high = fmax(log(fmax(upper, 1) / t->value), 2 * s.height - s.low);
    if (at.at_least)
        s.high = INFINITY;
    return s;
}

static struct knee_sight see_mean(const struct threshold *t, const struct hist *h) {
    double n = (double)hist_count(h), mean = fmax(hist_mean(h), 1);
    double off = INTERVAL_Z * hist_stddev(h) / mean * sqrt(LATE_TOGETHER / n);
    double height = log(mean / t->value);
    return (struct knee_sight){ .height = height, .low = height - off, .high = height + off };
}

static double logit(double share) {
    share = fmin(fmax(share, 1e-6), 1 - 1e-6);
    return log(share / (1 - share));
}

/* None among n: the most is 3/n (the rule of three). */
static struct knee_sight see_share(const struct threshold *t, struct threshold_portion p) {
    double count = (double)p.count, n = (double)p.whole, bound = logit(t->value);
    double height = logit((count + 0.5) / (n + 1)) - bound;
    double off = INTERVAL_Z * sqrt(FAIL_TOGETHER / (count + 0.5));
    if (p.count > 0)
        return (struct knee_sight){ height, height - off, height + off };
    return (struct knee_sight){ .height = fmin(height, -0.1),
                                .low = -INFINITY,
                                .high = logit(fmin(3 * FAIL_TOGETHER / n, 0.5)) - bound };
}

/* Without one answer no load holds. */
static struct knee_sight see(const struct threshold *t, const struct summary *s) {
    struct threshold_portion portion = threshold_portion(t, &s->facts);
    struct knee_sight nothing = { .height = 1, .low = 0.5, .high = INFINITY };
    struct times times = threshold_times(t, &s->facts);
    if (!threshold_is_latency(t))
        return portion.whole > 0 ? see_share(t, portion) : nothing;
    if (times.ended == NULL || hist_count(times.ended) == 0)
        return nothing;
    return t->metric == THRESHOLD_MEAN ? see_mean(t, times.ended) : see_quantile(t, times);
}

/* --- a step ----------------------------------------------------------------------------------- */

/* The smallest bound of a time; 0: there is none. */
static double bound_usec(const struct findmax *f) {
    double least = 0;
    for (size_t i = 0; i < f->config->find_max.count; i++) {
        const struct threshold *t = &f->config->find_max.items[i];
        if (threshold_is_latency(t) && (least <= 0 || t->value < least))
            least = t->value;
    }
    return least;
}

/* A pause of the machine spoils a step, and costs no verdict: it is tried again. */
static bool generator_limits(const struct findmax *f, const struct report *r) {
    const struct counters *t = r->counters;
    double bound = bound_usec(f), lag = (double)hist_quantile(r->check->lag, 0.99);
    if (bound <= 0 && (double)t->starved > STARVED_MAX * (double)t->planned && t->planned > 100)
        return true;
    if (!r->summary->is_limited)
        return false;
    if (r->check->busiest > 0.9 || bound <= 0)
        return true;
    return lag > LAG_MAX * bound ||
           (double)t->pauses.longest / (double)NSEC_PER_USEC > LAG_MAX * bound ||
           (double)t->pauses.total > PAUSED_MAX * (double)r->check->span;
}

static void note_limit(struct findmax *f, const struct report *r) {
    const struct counters *t = r->counters;
    if (r->summary->is_limited)
        snprintf(f->limit, sizeof(f->limit), "%s", r->summary->limit);
    else
        snprintf(f->limit, sizeof(f->limit),
                 "it began %" PRIu64 " of %" PRIu64 " planned requests late itself", t->starved,
                 t->planned);
}

static void tell_values(struct findmax *f, struct told *told, const struct summary *s) {
    for (size_t i = 0; i < f->config->find_max.count; i++) {
        struct threshold_fact fact = threshold_fact(&f->config->find_max.items[i], &s->facts);
        told->values[i] = fact.value;
        told->lower_bounds[i] = fact.at_least;
    }
}

static void note_idle(struct findmax *f, const struct report *r) {
    const struct hist *ended = r->summary->times[TIME_TOTAL].ended;
    if (ended != NULL && hist_count(ended) >= IDLE_MIN)
        f->idle = fmin(f->idle, hist_mean(ended) / 1e6);
}

/* Notes the capacity when a step has overloaded the server. Its answers begin when the first one is
 * ready, at an idle server after `idle`, and end with the queue. */
static void note_capacity(const struct findmax *f, struct knee_step *step, double good,
                          double seconds, double mean) {
    double length = (double)f->step.time_limit / (double)NSEC_PER_SEC;
    double span = fmax(seconds - f->idle, length);
    if (good <= OVERLOADED_MIN || good / span >= OVERLOADED * step->load ||
        mean < OVERLOADED_TIME * f->idle)
        return;
    step->capacity = good / span;
    step->capacity_off = fmax(fmax(1 / sqrt(good), 0.02), f->idle / span / 2);
}

/* The rate that there was. Where the backlog of the warm-up let no request begin in the time that
 * counts, it was the planned one that was too much. */
static double sent_rate(const struct findmax *f, const struct counters *t) {
    uint64_t begun = t->planned - t->dropped;
    double seconds = (double)f->step.time_limit / (double)NSEC_PER_SEC;
    return begun > 0 ? (double)begun / seconds : f->seen.planned;
}

/* Notes a run as a step of the search. */
static void look_at(struct findmax *f, const struct report *r, bool is_brief) {
    const struct summary *s = r->summary;
    const struct counters *t = r->counters;
    struct times all = s->times[TIME_TOTAL];
    struct knee_step *step = &f->steps[f->count];
    double good = (double)(t->succeeded - t->unwelcome);
    *step = (struct knee_step){ .planned = f->seen.planned, .is_brief = is_brief };
    step->load = by_rate(f) ? sent_rate(f, t) : (double)f->step.concurrency;
    for (size_t i = 0; i < f->config->find_max.count; i++)
        step->sights[i] = see(&f->config->find_max.items[i], s);
    step->busy = s->rate * hist_mean(all.ended) / 1e6;
    note_idle(f, r);
    if (by_rate(f) && is_brief)
        note_capacity(f, step, good, s->seconds, hist_mean(all.ended) / 1e6);
    f->told[f->count] = (struct told){
        .rate = s->rate,
        .seconds = s->seconds,
        .requests = s->ended,
        .failed = s->errors,
        .is_limited = generator_limits(f, r),
        .p50 = percentile_of(all, 0.5).usec,
        .p90 = percentile_of(all, 0.9).usec,
        .p99 = percentile_of(all, 0.99).usec,
        .max = percentile_max(all).usec,
    };
    tell_values(f, &f->told[f->count], s);
}

/* The next run: a new seed, and a load from which the server is free of the last one. */
static void plan_step(struct findmax *f, double load, nsec_t length, nsec_t warmup) {
    struct rng rng = rng_stream((uint64_t)f->config->seed, f->count + 1);
    double bound = bound_usec(f);
    f->seen.planned = load;
    f->step.time_limit = length;
    f->step.warmup = f->config->warmup > 0 ? f->config->warmup : warmup;
    f->step.seed = (int64_t)(rng_next(&rng) >> 1);
    f->step.drain = f->config->drain;
    if (f->step.drain == 0)
        f->step.drain =
            nsec_min(NSEC_PER_SEC + (nsec_t)(bound * 20) * NSEC_PER_USEC, 10 * NSEC_PER_SEC);
    if (by_rate(f))
        f->step.rate = load;
    else
        f->step.concurrency = (int64_t)load;
}

static const char *verdict_of(const struct findmax *f, size_t i) {
    static const char *const words[] = { "holds", "fails", "unclear" };
    return f->told[i].is_limited ? "generator" : words[knee_judge(&f->knee, &f->steps[i])];
}

static void print_value(FILE *out, const struct threshold *t, double value, bool at_least) {
    char text[40];
    if (threshold_is_latency(t))
        snprintf(text, sizeof(text), "%s%.4g ms", at_least ? ">" : "", value / 1000);
    else
        snprintf(text, sizeof(text), "%.3g %%", value * 100);
    fprintf(out, " %16s", text);
}

static void print_step(const struct findmax *f, size_t i) {
    const struct told *told = &f->told[i];
    fprintf(f->out, "%4zu %10.4g %10.4g %10.4g %8.1f %9" PRIu64, i + 1, f->steps[i].planned,
            f->steps[i].load, told->rate, told->seconds, told->requests);
    for (size_t j = 0; j < f->config->find_max.count; j++)
        print_value(f->out, &f->config->find_max.items[j], told->values[j], told->lower_bounds[j]);
    fprintf(f->out, "  %s\n", verdict_of(f, i));
    fflush(f->out);
}

/* Runs what is planned. Returns the code of the run, or 0 when the search goes on. */
static int run_step(struct findmax *f, bool is_brief, struct error *err) {
    struct load_run *run;
    if (load_run_new(&run, f->setup, &f->step, err) != 0)
        return EXIT_CANNOT;
    int code = load_run_go(run, err);
    const struct report *r = load_run_report(run);
    if (r != NULL && (code == 0 || code == LOADGEN_EXIT_NO_SUCCESS)) {
        look_at(f, r, is_brief);
        f->limited = f->told[f->count].is_limited ? f->limited + 1 : 0;
        if (f->limited > 0)
            note_limit(f, r);
        else
            knee_add(&f->knee, &f->steps[f->count]);
        print_step(f, f->count++);
        code = 0;
    } else if (r != NULL && code >= LOADGEN_EXIT_SIGNAL) {
        f->stopped_by = "a signal";
    } else if (err->text[0] == '\0') {
        error_set(err, -EIO, "a step could not connect, or ended with a socket error (-r goes on)");
    }
    load_run_free(run);
    return code;
}

/* --- the search ------------------------------------------------------------------------------- */

static nsec_t part_of_time(const struct findmax *f, int part) {
    nsec_t span = f->config->find_time / part;
    return span > NSEC_PER_SEC / 2 ? span : NSEC_PER_SEC / 2;
}

/* The length of the next step: brief on the way up, longer where the capacity shows, and near the
 * knee half of what is left. 0: the time is up. */
static nsec_t next_length(const struct findmax *f, nsec_t warmup, bool is_brief) {
    size_t count = f->knee.step_count;
    bool failed = count > 0 && knee_judge(&f->knee, &f->knee.steps[count - 1]) == KNEE_FAILS;
    nsec_t left = f->deadline - clock_now() - warmup - NSEC_PER_SEC;
    nsec_t least = part_of_time(f, REST_PART);
    nsec_t length = part_of_time(f, is_brief ? failed ? CONFIRM_PART : BRIEF_PART : FINE_PART);
    if (is_brief)
        return left > length ? length : 0;
    if (left < least)
        return 0;
    if (left / 2 > length)
        length = left / 2;
    return left - length < least + warmup ? left : length;
}

/* Steps until the knee is known or the time is up. The curve of an exactly known knee is no use to
 * anybody: within 1 % is enough. */
static int search(struct findmax *f, struct error *err) {
    int code = 0;
    while (code == 0 && f->count < KNEE_STEPS_MAX && f->limited < LIMITED_MAX) {
        bool is_brief = !knee_is_bracketed(&f->knee);
        nsec_t warmup = is_brief ? 0 : part_of_time(f, BRIEF_PART);
        nsec_t length = next_length(f, warmup, is_brief);
        double load = f->limited > 0 ? f->seen.planned : knee_next(&f->knee);
        if (length <= 0 || load <= 0)
            break;
        if (by_rate(f) && load * (double)length < REQUESTS_MIN * (double)NSEC_PER_SEC)
            length = nsec_min((nsec_t)(REQUESTS_MIN / load * (double)NSEC_PER_SEC),
                              nsec_max(f->deadline - clock_now(), length));
        plan_step(f, load, length, warmup);
        code = run_step(f, is_brief, err);
        struct knee_estimate e = knee_estimate(&f->knee);
        if (!is_brief && !e.is_above && !e.is_below && e.high - e.low < 0.01 * e.load)
            break;
    }
    return code;
}

/* One connection shows where a rate may begin, and that the server answers at all. A slow answer
 * has half of the whole time. */
static int find_first(struct findmax *f, struct error *err) {
    int64_t connections = f->step.concurrency, workers = f->step.workers;
    struct load_run *run;
    f->knee.first = f->config->rate > 0 ? f->config->rate : 1;
    if (!by_rate(f) || f->config->rate > 0)
        return 0;
    f->step.concurrency = f->step.workers = 1;
    f->step.time_limit = part_of_time(f, BRIEF_PART);
    f->step.drain = f->config->drain > 0 ? f->config->drain : part_of_time(f, 2);
    if (load_run_new(&run, f->setup, &f->step, err) != 0)
        return EXIT_CANNOT;
    int code = load_run_go(run, err);
    const struct report *r = load_run_report(run);
    if (r != NULL) {
        f->knee.first = fmax(r->summary->rate, 1);
        note_idle(f, r);
    }
    if (code >= LOADGEN_EXIT_SIGNAL)
        f->stopped_by = "a signal";
    else if (code != 0 && err->text[0] == '\0')
        error_set(err, -EIO, "the server answers no request of one connection");
    load_run_free(run);
    f->step.concurrency = connections;
    f->step.workers = workers;
    return code;
}

/* --- what came out ---------------------------------------------------------------------------- */

static void print_head(const struct findmax *f) {
    const struct thresholds *t = &f->config->find_max;
    const char *unit = by_rate(f) ? "planned/s" : "connect.";
    fprintf(f->out, "Finding the highest %s with ", by_rate(f) ? "rate" : "number of connections");
    for (size_t i = 0; i < t->count; i++)
        fprintf(f->out, "%s%s", i > 0 ? " and " : "", t->items[i].text);
    fprintf(f->out, ", in %g s\n\n", (double)f->config->find_time / (double)NSEC_PER_SEC);
    fprintf(f->out, "step %10s %10s %10s %8s %9s", unit, by_rate(f) ? "sent/s" : "connect.",
            "answers/s", "seconds", "requests");
    for (size_t i = 0; i < t->count; i++)
        fprintf(f->out, " %16.16s", t->items[i].text);
    fputs("  verdict\n", f->out);
    fflush(f->out);
}

/* Less is surely found when even the most that it may be is less, and when it was not shown. */
static bool is_enough(const struct findmax *f, struct knee_estimate e) {
    double wanted = 0;
    if (f->config->at_least == NULL || loadgen_parse_rate(f->config->at_least, &wanted, NULL) != 0)
        return true;
    return !e.is_below && e.load >= wanted;
}

static void print_result(const struct findmax *f, struct knee_estimate e) {
    const char *unit = by_rate(f) ? "/s" : " connections";
    fputc('\n', f->out);
    if (f->count == 0)
        fprintf(f->out, "No load was tried\n");
    else if (e.is_below)
        fprintf(f->out, "No load that was tried holds\n");
    else if (e.is_above)
        fprintf(f->out, "At least %.4g%s: no load that was tried surely fails\n", e.load, unit);
    else
        fprintf(f->out, "The highest that holds: %.4g%s (90 %% sure: %.4g to %.4g)\n", e.load, unit,
                e.low, e.high);
    if (f->limited >= LIMITED_MAX)
        fprintf(f->out, "Ended by the generator, not the server: %s\n", f->limit);
    if (f->stopped_by != NULL)
        fprintf(f->out, "Stopped early by %s\n", f->stopped_by);
    if (f->config->at_least != NULL && f->is_whole)
        fprintf(f->out, "%s: at least %s\n", is_enough(f, e) ? "passed" : "FAILED",
                f->config->at_least);
    fflush(f->out);
}

static json_t *real_or_null(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *step_json(const struct findmax *f, size_t i) {
    const struct told *told = &f->told[i];
    const struct knee_step *s = &f->steps[i];
    json_t *values = json_array();
    for (size_t j = 0; j < f->config->find_max.count; j++) {
        const struct threshold *t = &f->config->find_max.items[j];
        double unit = threshold_is_latency(t) ? t->value : NAN;
        json_t *one = json_pack("{s:s, s:f, s:b, s:o, s:o}", "condition", t->text, "value",
                                told->values[j], "at_least", told->lower_bounds[j], "low",
                                real_or_null(unit * exp(s->sights[j].low)), "high",
                                real_or_null(unit * exp(s->sights[j].high)));
        (void)json_array_append_new(values, one);
    }
    return json_pack("{s:f, s:f, s:f, s:f, s:I, s:I, s:s, s:o, s:{s:I, s:I, s:I, s:I}, s:o}",
                     "planned", s->planned, "load", s->load, "rps", told->rate, "seconds",
                     told->seconds, "requests", (json_int_t)told->requests, "errors",
                     (json_int_t)told->failed, "verdict", verdict_of(f, i), "capacity",
                     s->capacity > 0 ? json_real(s->capacity) : json_null(), "latency_us", "p50",
                     (json_int_t)told->p50, "p90", (json_int_t)told->p90, "p99",
                     (json_int_t)told->p99, "max", (json_int_t)told->max, "values", values);
}

/* Schema "srv-bench-max/1", described in docs/bench-limits.md. NULL when out of memory. */
static json_t *make_json(const struct findmax *f, struct knee_estimate e) {
    json_t *steps = json_array();
    for (size_t i = 0; i < f->count; i++)
        (void)json_array_append_new(steps, step_json(f, i));
    return json_pack("{s:s, s:s, s:s, s:s, s:f, s:o, s:{s:o, s:o, s:o, s:b, s:b}, s:o, s:s?, s:b}",
                     "schema", "srv-bench-max/1", "version", SRV_VERSION, "url", f->config->url,
                     "by", by_rate(f) ? "rate" : "connections", "time_s",
                     (double)f->config->find_time / (double)NSEC_PER_SEC, "steps", steps, "max",
                     "load", e.is_below ? json_null() : json_real(e.load), "low",
                     e.is_below || e.is_above ? json_null() : json_real(e.low), "high",
                     e.is_below || e.is_above ? json_null() : json_real(e.high), "is_above",
                     e.is_above, "is_below", e.is_below, "generator_limit",
                     f->limited >= LIMITED_MAX ? json_string(f->limit) : json_null(), "stopped_by",
                     f->stopped_by, "at_least_failed", f->is_whole && !is_enough(f, e));
}

static int write_json(const struct findmax *f, json_t *root, struct error *err) {
    int rc = json_write(f->json, json_incref(root), f->config->json_line);
    return rc == 0 ? 0
                   : error_set(err, rc, "cannot write %s: %s", f->config->json_path,
                               strerrordesc_np(-rc));
}

static int write_page(const struct findmax *f, json_t *root, struct error *err) {
    int rc = page_write(f->page, root, NULL);
    return rc == 0 ? 0
                   : error_set(err, rc, "cannot write %s: %s", f->config->look.page_path,
                               strerrordesc_np(-rc));
}

static int write_files(const struct findmax *f, struct knee_estimate e, struct error *err) {
    if (f->json == NULL && f->page == NULL)
        return 0;
    json_t *root = make_json(f, e);
    if (root == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    int rc = f->json != NULL ? write_json(f, root, err) : 0;
    if (rc == 0 && f->page != NULL)
        rc = write_page(f, root, err);
    json_decref(root);
    return rc;
}

/* --- all of it -------------------------------------------------------------------------------- */

/* Options of one run, which a search of many has no use for. */
static int check(const struct loadgen_config *c, struct error *err) {
    const char *single = loadgen_config_single(c);
    if (c->requests > 0)
        single = "requests";
    else if (c->time_limit > 0)
        single = "time";
    else if (c->ramp > 0)
        single = "ramp";
    else if (c->stages.count > 0)
        single = "stages";
    else if (c->burst.count > 0)
        single = "burst";
    else if (c->start.kind != LOAD_START_AT_ONCE)
        single = "start-at"; /* the wait would use up the time of the search */
    else if (c->look.against_path != NULL)
        single = "against";
    if (single != NULL)
        return error_set(err, -EINVAL, "--%s excludes --find-max, which makes runs of its own",
                         single);
    for (size_t i = 0; i < c->find_max.count && c->find_by == LOADGEN_FIND_CONNECTIONS; i++)
        if (c->find_max.items[i].metric == THRESHOLD_LATE ||
            c->find_max.items[i].metric == THRESHOLD_DROPPED)
            return error_set(err, -EINVAL,
                             "condition '%s' needs a rate: without it no request has "
                             "a planned time",
                             c->find_max.items[i].text);
    if (c->find_by == LOADGEN_FIND_CONNECTIONS && c->rate > 0)
        return error_set(err, -EINVAL, "--rate excludes --find-max-by connections");
    return 0;
}

static int search_and_tell(struct findmax *f, struct error *err) {
    print_head(f);
    int code = find_first(f, err);
    if (code == 0)
        code = search(f, err);
    f->is_whole = code == 0;
    struct knee_estimate e = knee_estimate(&f->knee);
    print_result(f, e);
    if (write_files(f, e, err) != 0)
        return EXIT_CANNOT;
    if (code == 0 && !is_enough(f, e))
        return LOADGEN_EXIT_THRESHOLD;
    return code;
}

static void init(struct findmax *f, const struct loadgen_config *config) {
    const struct thresholds *t = &config->find_max;
    f->config = config;
    f->out = loadgen_config_takes_stdout(config) ? stderr : stdout;
    f->step = *config;
    f->step.quiet = true;
    f->step.progress = false;
    f->step.rate = 0;
    f->step.time_limit = NSEC_PER_SEC;
    f->idle = INFINITY;
    f->knee.condition_count = t->count;
    for (size_t i = 0; i < t->count; i++)
        f->knee.conditions[i] = law_of(f, &t->items[i]);
    f->knee.is_whole = !by_rate(f);
    f->knee.least = by_rate(f) ? RATE_MIN : (double)loadgen_config_workers(config);
    if (f->step.concurrency == 0)
        f->step.concurrency = by_rate(f) ? LOADGEN_CONCURRENCY_OPEN : CONNECTIONS_DEFAULT;
    if (f->step.concurrency < f->step.workers)
        f->step.concurrency = f->step.workers;
    f->knee.most = by_rate(f) ? 1e7 : (double)f->step.concurrency;
}

static int open_files(struct findmax *f, struct error *err) {
    const struct loadgen_config *c = f->config;
    int rc = c->json_path != NULL ? stream_create(&f->json, c->json_path, err) : 0;
    if (rc == 0 && c->look.page_path != NULL)
        rc = stream_create(&f->page, c->look.page_path, err);
    return rc;
}

/* What a stream held back may not fit on the disk. */
static int close_file(FILE *file, const char *path, struct error *err) {
    int rc = stream_close(file);
    return rc == 0 ? 0 : error_set(err, rc, "cannot write %s: %s", path, strerrordesc_np(-rc));
}

int findmax_run(const struct loadgen_config *config, struct error *err) {
    if (check(config, err) != 0)
        return EXIT_USAGE;
    struct findmax *f = mem_calloc(1, sizeof(*f)); /* large for a stack */
    if (f == NULL) {
        error_set(err, -ENOMEM, "out of memory");
        return EXIT_CANNOT;
    }
    init(f, config);
    int code = load_setup_new(&f->setup, &f->step, err);
    if (code == 0 && open_files(f, err) != 0)
        code = EXIT_CANNOT;
    if (code == 0)
        load_setup_defer_signals(f->setup);
    f->deadline = clock_now() + config->find_time;
    if (code == 0)
        code = search_and_tell(f, err);
    struct error ignored, *why = code == 0 ? err : &ignored;
    int json_rc = close_file(f->json, config->json_path, why);
    int page_rc = close_file(f->page, config->look.page_path, why);
    if (code == 0 && (json_rc != 0 || page_rc != 0))
        code = EXIT_CANNOT;
    load_setup_free(f->setup);
    mem_free(f);
    return code;
}
