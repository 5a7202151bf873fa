/* SPDX-License-Identifier: MIT */
/* Keeps the last seconds of a lane, and says what they mean. */
#include "lab/figures.h"
#include "base/alloc.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SENTENCE_BYTES 240
#define FULL_UPSTREAM  1.02 /* calls over those that it works on: some wait there */
#define BUSY_CPU       0.85 /* cores for each worker that can use one */

enum wait {
    WAIT_QUEUE,
    WAIT_UPSTREAM,
    WAIT_DATABASE,
    WAIT_CPU,
    WAIT_CLIENT,
    WAIT_SLEEP,
    WAIT_LIBRARY,
    WAIT_COUNT
};

static const char *const wait_names[WAIT_COUNT] = {
    [WAIT_QUEUE] = "queue",     [WAIT_UPSTREAM] = "upstream", [WAIT_DATABASE] = "database",
    [WAIT_CPU] = "cpu",         [WAIT_CLIENT] = "client",     [WAIT_SLEEP] = "sleep",
    [WAIT_LIBRARY] = "library",
};

int figures_init(struct figures *f) {
    *f = (struct figures){ .ticks = mem_calloc(FIGURES_TICKS, sizeof(*f->ticks)) };
    return f->ticks != NULL ? 0 : -ENOMEM;
}

static void drop(json_t **json) {
    json_decref(*json);
    *json = NULL;
}

void figures_forget_load(struct figures *f) {
    f->tick_count = f->tick_next = 0;
    drop(&f->last_tick);
}

void figures_forget_server(struct figures *f) {
    drop(&f->server);
    drop(&f->statuses);
    drop(&f->bars);
    memset(f->by_wait, 0, sizeof(f->by_wait));
    memset(f->known, 0, sizeof(f->known));
    f->cost_count = f->cost_next = f->worker_count = f->requests = 0;
    f->cpu = 0;
    f->is_blind = false;
}

void figures_forget_upstream(struct figures *f) {
    drop(&f->upstream);
}

void figures_free(struct figures *f) {
    figures_forget_load(f);
    figures_forget_server(f);
    figures_forget_upstream(f);
    mem_free(f->ticks);
    f->ticks = NULL;
}

/* --- what the load tells ---------------------------------------------------------------------- */

static uint64_t count_of(const json_t *json, const char *name) {
    json_int_t n = json_integer_value(json_object_get(json, name));
    return n > 0 ? (uint64_t)n : 0;
}

static double number_of(const json_t *json, const char *name) {
    return json_number_value(json_object_get(json, name));
}

void figures_take_tick(struct figures *f, struct slice line) {
    json_t *json = json_loadb(line.ptr, line.len, 0, NULL), *pair;
    size_t i;
    if (json == NULL)
        return;
    struct figures_tick *t = &f->ticks[f->tick_next];
    f->tick_next = (f->tick_next + 1) % FIGURES_TICKS;
    f->tick_count += f->tick_count < FIGURES_TICKS;
    *t = (struct figures_tick){
        .seconds = number_of(json, "seconds"),
        .mean_us = number_of(json, "mean_us"),
        .ended = count_of(json, "ended"),
        .failed = count_of(json, "failed"),
        .in_flight = count_of(json, "in_flight"),
    };
    json_array_foreach(json_object_get(json, "latency_us"), i, pair) {
        int64_t usec = json_integer_value(json_array_get(pair, 0));
        t->bands[band_of(usec)] += (uint32_t)json_integer_value(json_array_get(pair, 1));
        t->tops[band_of(usec)] = (uint32_t)usec;
    }
    json_decref(f->last_tick);
    f->last_tick = json;
}

/* The tick that came `back` before the newest. */
static const struct figures_tick *tick_at(const struct figures *f, uint32_t back) {
    return &f->ticks[(f->tick_next + FIGURES_TICKS - 1 - back) % FIGURES_TICKS];
}

/* The last two seconds of the load. */
struct recent {
    double seconds, rate, failed_rate, in_flight, mean; /* mean: seconds of an answer */
};

static struct recent recent_of(const struct figures *f) {
    struct recent r = { 0 };
    uint32_t count = f->tick_count < FIGURES_RECENT ? f->tick_count : FIGURES_RECENT;
    double ended = 0, answers = 0, sum_us = 0, failed = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct figures_tick *t = tick_at(f, i);
        double of_tick = 0;
        for (size_t b = 0; b < BANDS_MAX; b++)
            of_tick += t->bands[b];
        r.seconds += t->seconds;
        r.in_flight += (double)t->in_flight / count;
        ended += (double)t->ended;
        failed += (double)t->failed;
        answers += of_tick;
        sum_us += t->mean_us * of_tick;
    }
    if (r.seconds > 0) {
        r.rate = ended / r.seconds;
        r.failed_rate = failed / r.seconds;
    }
    r.mean = answers > 0 ? sum_us / answers / 1e6 : 0;
    return r;
}

/* --- what the server tells -------------------------------------------------------------------- */

static nsec_t cpu_of(pid_t pid) {
    clockid_t clock;
    struct timespec spent;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &spent) != 0)
        return 0;
    return spent.tv_sec * NSEC_PER_SEC + spent.tv_nsec;
}

/* Adds what each worker has spent since the last time. `index` is its place among the workers. */
static void follow_cpu(struct figures *f, size_t index, pid_t pid) {
    if (index >= FIGURES_WORKERS)
        return;
    nsec_t now = cpu_of(pid), before = f->known[index].pid == pid ? f->known[index].cpu : 0;
    if (now > before)
        f->cpu += now - before;
    f->known[index].pid = pid;
    f->known[index].cpu = now > before ? now : before;
}

static void add_counts(json_t *sums, const json_t *object) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, name, value) {
        if (!json_is_integer(value) || strcmp(name, "pid") == 0 || strcmp(name, "worker") == 0)
            continue;
        json_int_t so_far = json_integer_value(json_object_get(sums, name));
        json_object_set_new(sums, name, json_integer(so_far + json_integer_value(value)));
    }
}

/* Fewer answers than before are those of another load. */
static void add_cost(struct figures *f, nsec_t cpu, uint64_t answers) {
    const struct figures_cost *last = &f->costs[(f->cost_next + FIGURES_TICKS - 1) % FIGURES_TICKS];
    if (f->cost_count > 0 && answers < last->answers)
        f->cost_count = f->cost_next = 0;
    f->costs[f->cost_next] = (struct figures_cost){ cpu, answers };
    f->cost_next = (f->cost_next + 1) % FIGURES_TICKS;
    f->cost_count += f->cost_count < FIGURES_TICKS;
}

void figures_take_stats(struct figures *f, struct slice body) {
    json_t *json = json_loadb(body.ptr, body.len, 0, NULL), *worker;
    json_t *sums = json_object(), *statuses = json_object();
    uint64_t answers = 0;
    size_t i;
    f->worker_count = f->serving = 0;
    f->stats_at = clock_now();
    json_array_foreach(json_object_get(json, "workers"), i, worker) {
        const char *state = json_string_value(json_object_get(worker, "state"));
        json_t *value;
        const char *name;
        pid_t pid = (pid_t)json_integer_value(json_object_get(worker, "pid"));
        bool is_alive = state != NULL && strcmp(state, "dead") != 0 && strcmp(state, "absent") != 0;
        add_counts(sums, worker);
        add_counts(statuses, json_object_get(worker, "requests"));
        json_object_foreach(json_object_get(worker, "requests"), name, value) answers +=
            (uint64_t)json_integer_value(value);
        f->serving +=
            state != NULL && (strcmp(state, "ready") == 0 || strcmp(state, "starting") == 0);
        if (is_alive)
            follow_cpu(f, i, pid);
        if (is_alive && f->worker_count < FIGURES_WORKERS)
            f->workers[f->worker_count++] = pid;
    }
    f->is_blind = false;
    add_cost(f, f->cpu, answers);
    json_decref(f->server);
    json_decref(f->statuses);
    f->server = sums;
    f->statuses = statuses;
    json_decref(json);
}

/* A library that waits for the slow API does what srv's own client would. */
static enum wait wait_of(const json_t *request, uint16_t upstream_port) {
    const char *word = json_string_value(json_object_get(request, "waits_for"));
    const char *peer = json_string_value(json_object_get(request, "peer"));
    const char *colon = peer != NULL ? strrchr(peer, ':') : NULL;
    for (int i = 0; word != NULL && i < WAIT_COUNT; i++)
        if (strcmp(word, wait_names[i]) == 0)
            return (enum wait)i;
    if (colon != NULL && strtoul(colon + 1, NULL, 10) == upstream_port)
        return WAIT_UPSTREAM;
    return WAIT_LIBRARY;
}

void figures_take_requests(struct figures *f, struct slice body, uint16_t upstream_port) {
    json_t *json = json_loadb(body.ptr, body.len, 0, NULL), *bars = json_array(), *request;
    size_t i;
    memset(f->by_wait, 0, sizeof(f->by_wait));
    f->requests = (uint32_t)json_array_size(json);
    json_array_foreach(json, i, request) {
        enum wait wait = wait_of(request, upstream_port);
        f->by_wait[wait]++;
        if (json_array_size(bars) < FIGURES_BARS)
            json_array_append_new(
                bars,
                json_pack("[I, I, i, I, I]", json_integer_value(json_object_get(request, "worker")),
                          json_integer_value(json_object_get(request, "place")), (int)wait,
                          (json_int_t)(number_of(request, "for_seconds") * 1e3),
                          (json_int_t)(number_of(request, "age_seconds") * 1e3)));
    }
    json_decref(f->bars);
    f->bars = bars;
    json_decref(json);
}

/* Answers are those that the load has got. */
void figures_take_processes(struct figures *f, const struct procstat *sample) {
    const json_t *statuses = json_object_get(f->last_tick, "statuses");
    const char *status;
    json_t *count;
    uint64_t answers = 0;
    json_object_foreach((json_t *)(uintptr_t)statuses, status, count) answers +=
        (uint64_t)json_integer_value(count);
    f->is_blind = true;
    add_cost(f, sample->cpu, answers);
    json_decref(f->server);
    f->server =
        json_pack("{s:I, s:I, s:I}", "threads", (json_int_t)sample->threads, "processes",
                  (json_int_t)sample->processes, "rss_bytes", (json_int_t)sample->rss_bytes);
}

void figures_take_upstream(struct figures *f, struct slice body) {
    static const char *const wanted[] = { "in_flight", "in_flight_max", "requests", "connections",
                                          "open_connections" };
    json_t *json = json_loadb(body.ptr, body.len, 0, NULL), *kept = json_object();
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        json_object_set(kept, wanted[i], json_object_get(json, wanted[i]));
    json_object_set(kept, "status", json_object_get(json, "status"));
    json_decref(f->upstream);
    f->upstream = kept;
    json_decref(json);
}

/* --- arithmetic ------------------------------------------------------------------------------- */

/* Figures beside those that were asked for. */
struct account {
    struct recent seen;
    double slots, service; /* slots 0: no limit; service: seconds */
    double ceiling;        /* requests per second; 0: none */
    double wanted;         /* by clients or the plan, if the server had room; 0: no bound */
    double predicted_rate, predicted_in_flight;
    double at_upstream;  /* busy requests that wait for the slow API */
    double busy, queued; /* requests of the server now */
    double cpu_per_request, cpu_cores;
};

static void divide_cost(struct account *a, const struct figures *f) {
    if (f->cost_count < 2)
        return;
    const struct figures_cost *last = &f->costs[(f->cost_next + FIGURES_TICKS - 1) % FIGURES_TICKS];
    const struct figures_cost *first =
        &f->costs[(f->cost_next + FIGURES_TICKS - f->cost_count) % FIGURES_TICKS];
    uint64_t answers = last->answers > first->answers ? last->answers - first->answers : 0;
    nsec_t spent = last->cpu - first->cpu;
    if (answers > 0)
        a->cpu_per_request = (double)spent / 1e3 / (double)answers;
    a->cpu_cores = (double)spent / ((double)(f->cost_count - 1) * 1e8);
}

static struct account account_of(const struct figures *f, const struct lab_settings *s) {
    struct account a = { .seen = recent_of(f),
                         .slots = settings_slots(s),
                         .service = settings_service(s) };
    if (a.slots > 0 && a.service > 0)
        a.ceiling = a.slots / a.service;
    double think = (double)s->values[SETTING_THINK] / 1e3;
    bool is_open = s->values[SETTING_LOAD] == LAB_LOAD_OPEN;
    if (is_open)
        a.wanted = (double)s->values[SETTING_RATE];
    else if (think + a.service > 0)
        a.wanted = (double)s->values[SETTING_CLIENTS] / (think + a.service);
    a.predicted_rate =
        a.ceiling > 0 && (a.wanted == 0 || a.ceiling < a.wanted) ? a.ceiling : a.wanted;
    a.predicted_in_flight = a.seen.rate * a.seen.mean;
    a.queued = f->by_wait[WAIT_QUEUE];
    a.at_upstream = f->by_wait[WAIT_UPSTREAM];
    a.busy = f->requests - a.queued;
    if (f->is_blind && f->tick_count > 0) {
        double in_flight = (double)tick_at(f, 0)->in_flight;
        a.busy = a.slots > 0 ? fmin(a.slots, in_flight) : in_flight;
        a.queued = in_flight - a.busy;
    }
    divide_cost(&a, f);
    return a;
}

static double percent_failed(const struct account *a, const struct figures *f) {
    (void)f;
    return a->seen.rate > 0 ? 100 * a->seen.failed_rate / a->seen.rate : 0;
}

/* --- one sentence ----------------------------------------------------------------------------- */

/* The answers that are not 2xx, in percent of those so far, and the most frequent status. */
static double refused(const struct figures *f, const char **ret_status) {
    const json_t *statuses = json_object_get(f->last_tick, "statuses");
    const char *status;
    json_t *count;
    json_int_t all = 0, bad = 0, most = 0;
    *ret_status = "";
    json_object_foreach((json_t *)(uintptr_t)statuses, status, count) {
        json_int_t n = json_integer_value(count);
        all += n;
        if (status[0] == '2')
            continue;
        bad += n;
        if (n > most) {
            most = n;
            *ret_status = status;
        }
    }
    return all > 0 ? 100 * (double)bad / (double)all : 0;
}

static void say_slots(const struct account *a, const struct lab_settings *s, char *text) {
    bool is_ours = settings_original(s) == NULL;
    const char *kind = is_ours && s->values[SETTING_MODEL] == LAB_MODEL_POOL ? "threads" : "slots";
    bool blocks = is_ours && s->values[SETTING_APP] == LAB_APP_CURL &&
                  s->values[SETTING_PATCH] == 0 && s->values[SETTING_MODEL] == LAB_MODEL_GREEN;
    if (blocks)
        snprintf(text, SENTENCE_BYTES,
                 "A blocking call limits: it stops the only thread of its worker, so %.0f at a "
                 "time x 1/%.3g s = %.0f per second is the most.",
                 a->slots, a->service, a->ceiling);
    else if (a->slots == 1)
        snprintf(text, SENTENCE_BYTES,
                 "One request at a time limits: all others wait in line, and 1 / %.3g s = %.3g per "
                 "second is the most.",
                 a->service, a->ceiling);
    else
        snprintf(text, SENTENCE_BYTES,
                 "The %s limit: all %.0f are busy waiting, and %.0f / %.3g s = %.0f per second is "
                 "the most, however many clients come.",
                 kind, a->slots, a->slots, a->service, a->ceiling);
}

static void say_load(const struct account *a, const struct lab_settings *s, char *text) {
    if (a->service > 0 && a->at_upstream > FULL_UPSTREAM * LAB_UPSTREAM_MAX)
        snprintf(text, SENTENCE_BYTES,
                 "The slow API limits: it works on %d calls at once, and %d / %.3g s = %.0f per "
                 "second is the most that any server gets out of it.",
                 LAB_UPSTREAM_MAX, LAB_UPSTREAM_MAX, a->service, LAB_UPSTREAM_MAX / a->service);
    else if (s->values[SETTING_LOAD] == LAB_LOAD_OPEN)
        snprintf(text, SENTENCE_BYTES,
                 "The plan limits: the server keeps up with the %lld requests that come per "
                 "second.",
                 (long long)s->values[SETTING_RATE]);
    else if (s->values[SETTING_THINK] > 0)
        snprintf(text, SENTENCE_BYTES,
                 "The clients limit: %lld of them, each thinking and then waiting, can ask %.0f "
                 "times per second, and the server has room for more.",
                 (long long)s->values[SETTING_CLIENTS], a->wanted);
    else
        snprintf(text, SENTENCE_BYTES,
                 "The clients limit: all %lld wait at the same time for the slow API, and the "
                 "server has room for more.",
                 (long long)s->values[SETTING_CLIENTS]);
}

/* Whether the machine, or a worker that can use one core only, has no time left. */
static bool is_out_of_cpu(const struct account *a, const struct lab_settings *s) {
    double cores = (double)sysconf(_SC_NPROCESSORS_ONLN);
    bool one_each = settings_original(s) == NULL && (s->values[SETTING_MODEL] == LAB_MODEL_GREEN ||
                                                     s->values[SETTING_MODEL] == LAB_MODEL_EVENT ||
                                                     s->values[SETTING_MODEL] == LAB_MODEL_SINGLE);
    double usable = one_each ? fmin((double)s->values[SETTING_WORKERS], cores) : cores;
    return a->cpu_cores > BUSY_CPU * usable;
}

static void say(const struct figures *f, const struct account *a, const struct lab_settings *s,
                enum figures_upstream upstream, char *text) {
    const char *status;
    double bad = refused(f, &status), failed = percent_failed(a, f);
    bool slots_full = a->slots > 0 && a->busy >= 0.9 * a->slots;
    if (upstream == UPSTREAM_DOWN)
        snprintf(text, SENTENCE_BYTES,
                 "The slow API is down: nobody listens there, so every call "
                 "fails at once and clients get 502.");
    else if (upstream == UPSTREAM_FROZEN)
        snprintf(text, SENTENCE_BYTES,
                 "The slow API hangs: calls are taken and not answered, and "
                 "requests pile up until a time-out ends them.");
    else if (f->tick_count == 0)
        snprintf(text, SENTENCE_BYTES, "The load begins.");
    else if (failed > 20)
        snprintf(text, SENTENCE_BYTES,
                 "Clients give up: %.0f %% of their requests are not answered in time or break "
                 "off.",
                 failed);
    else if (is_out_of_cpu(a, s))
        snprintf(text, SENTENCE_BYTES,
                 "The CPU limits: the workers compute %.2f cores' worth, and no request waits for "
                 "less than its turn.",
                 a->cpu_cores);
    else if (slots_full && (a->queued > 0 || a->ceiling < a->wanted))
        say_slots(a, s, text);
    else if (bad > 20)
        snprintf(text, SENTENCE_BYTES,
                 "Errors: %.0f %% of the answers so far are not 2xx, most "
                 "of them %s.",
                 bad, status);
    else
        say_load(a, s, text);
}

/* --- as JSON ---------------------------------------------------------------------------------- */

/* The latencies of some ticks together. */
struct lab_latencies {
    uint64_t all, bands[BANDS_MAX];
    uint32_t tops[BANDS_MAX];
};

static void add_latencies(struct lab_latencies *l, const struct figures_tick *t) {
    for (size_t b = 0; b < BANDS_MAX; b++) {
        l->bands[b] += t->bands[b];
        l->all += t->bands[b];
        if (t->tops[b] > l->tops[b])
            l->tops[b] = t->tops[b];
    }
}

/* The largest latency of the band that the quantile is in, in milliseconds. */
static json_t *quantile(const struct lab_latencies *l, double q) {
    uint64_t rank = (uint64_t)ceil(q * (double)l->all), seen = 0;
    for (size_t b = 0; l->all > 0 && b < BANDS_MAX; b++) {
        seen += l->bands[b];
        if (seen >= rank)
            return json_real((double)l->tops[b] / 1e3);
    }
    return json_null();
}

static json_t *latency_json(const struct figures *f, const struct account *a) {
    struct lab_latencies l = { .all = 0 };
    json_t *list = json_array();
    for (uint32_t i = 0; i < f->tick_count; i++)
        add_latencies(&l, tick_at(f, i));
    for (size_t b = 0; b + 1 < BANDS_MAX; b++)
        if (l.bands[b] > 0)
            json_array_append_new(list, json_pack("[f, f, I]", (double)band_first(b) / 1e3,
                                                  (double)band_first(b + 1) / 1e3,
                                                  (json_int_t)l.bands[b]));
    return json_pack("{s:I, s:f, s:o, s:o, s:o, s:o, s:o}", "answers", (json_int_t)l.all, "mean_ms",
                     a->seen.mean * 1e3, "p50_ms", quantile(&l, .5), "p90_ms", quantile(&l, .9),
                     "p99_ms", quantile(&l, .99), "max_ms", quantile(&l, 1), "bands_ms", list);
}

/* null for what has no bound. */
static json_t *bound(double value) {
    return value > 0 ? json_real(value) : json_null();
}

static json_t *arithmetic_json(const struct account *a) {
    double predicted_use =
        a->slots > 0 && a->service > 0 ? fmin(1, a->predicted_rate * a->service / a->slots) : 0;
    return json_pack(
        "{s:f, s:f, s:f, s:f, s:o, s:f, s:o, s:o, s:o, s:o, s:o}", "lambda", a->seen.rate,
        "w_seconds", a->seen.mean, "l_predicted", a->predicted_in_flight, "l_measured",
        a->seen.in_flight, "slots", bound(a->slots), "service_seconds", a->service, "ceiling",
        bound(a->ceiling), "wanted", bound(a->wanted), "predicted_rate", bound(a->predicted_rate),
        "utilisation", a->slots > 0 ? json_real(fmin(1, a->busy / a->slots)) : json_null(),
        "utilisation_predicted", a->slots > 0 ? json_real(predicted_use) : json_null());
}

static json_t *waits_json(const struct figures *f) {
    json_t *object = json_object();
    for (int i = 0; i < WAIT_COUNT; i++)
        json_object_set_new(object, wait_names[i], json_integer(f->by_wait[i]));
    return object;
}

json_t *figures_waits_json(void) {
    json_t *list = json_array();
    for (int i = 0; i < WAIT_COUNT; i++)
        json_array_append_new(list, json_string(wait_names[i]));
    return list;
}

/* The last tenth of a second, for curves. */
static void put_tick(json_t *o, const struct figures *f) {
    struct lab_latencies l = { .all = 0 };
    const struct figures_tick *t = f->tick_count > 0 ? tick_at(f, 0) : NULL;
    if (t != NULL)
        add_latencies(&l, t);
    json_object_set_new(o, "tick_per_second",
                        t != NULL && t->seconds > 0 ? json_real((double)t->ended / t->seconds)
                                                    : json_null());
    json_object_set_new(o, "tick_p50_ms", quantile(&l, .5));
    json_object_set_new(o, "tick_p99_ms", quantile(&l, .99));
}

static json_t *load_json(const struct figures *f, const struct account *a) {
    json_t *o = json_object();
    static const char *const copied[] = { "planned",  "late",     "dropped",
                                          "statuses", "failures", "second" };
    for (size_t i = 0; i < ARRAY_LEN(copied); i++)
        json_object_set(o, copied[i], json_object_get(f->last_tick, copied[i]));
    json_object_set_new(o, "per_second", json_real(a->seen.rate));
    json_object_set_new(o, "failed_per_second", json_real(a->seen.failed_rate));
    put_tick(o, f);
    json_object_set_new(o, "in_flight",
                        json_integer(f->tick_count > 0 ? (json_int_t)tick_at(f, 0)->in_flight : 0));
    return o;
}

json_t *figures_json(const struct figures *f, const struct lab_settings *s,
                     enum figures_upstream upstream) {
    struct account a = account_of(f, s);
    char text[SENTENCE_BYTES];
    json_t *o = json_object();
    say(f, &a, s, upstream, text);
    json_object_set_new(o, "limit", json_string(text));
    json_object_set_new(o, "load", load_json(f, &a));
    json_object_set_new(o, "latency", latency_json(f, &a));
    json_object_set_new(o, "arithmetic", arithmetic_json(&a));
    json_object_set_new(o, "requests", json_integer(f->requests));
    json_object_set_new(o, "waits", waits_json(f));
    json_object_set_new(o, "cpu_us_per_request", json_real(a.cpu_per_request));
    json_object_set_new(o, "cpu_cores", json_real(a.cpu_cores));
    json_object_set(o, "server", f->server != NULL ? f->server : json_null());
    json_object_set(o, "statuses", f->statuses != NULL ? f->statuses : json_null());
    json_object_set(o, "upstream", f->upstream != NULL ? f->upstream : json_null());
    json_object_set(o, "bars", f->bars != NULL ? f->bars : json_null());
    return o;
}
