/* SPDX-License-Identifier: MIT */
/* Rounds of runs, one figure of each metric per run, and the verdict on them. */
#include "bench/rounds.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/stream.h"
#include "bench/run.h"
#include "bench/summary.h"
#include "bench/verdict.h"
#include "loadgen/counters.h"
#include "loadgen/report.h"
#include "proc/child.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Limits of a server's start and of its stop, and the pause between two looks. */
#define START_MAX  (30 * NSEC_PER_SEC)
#define STOP_MAX   (5 * NSEC_PER_SEC)
#define LOOK_PAUSE (20 * NSEC_PER_MSEC)

enum { METRICS = 5 };

/* The smallest value that has a logarithm here: a microsecond, or one in a million of a second. */
#define VALUE_MIN 1e-6

static const struct rounds_metric {
    const char *name, *key, *unit;
    double scale;  /* from the value to its unit */
    bool is_share; /* compared by difference, not by ratio: there may be none */
    bool more_is_good;
} metrics[METRICS] = {
    { "rate", "rps", "/s", 1, false, true },
    { "mean", "mean_us", " ms", 1e-3, false, false },
    { "p50", "p50_us", " ms", 1e-3, false, false },
    { "p99", "p99_us", " ms", 1e-3, false, false },
    { "errors", "errors_share", " %", 100, true, false },
};

/* The runs of one URL, or of a file. */
struct rounds_side {
    const char *name;
    const char *command; /* starts the server; NULL: one is there */
    pid_t pid;           /* while it runs; 0: none */
    struct load_setup *setup;
    struct loadgen_config config, probe; /* a round's; a single request's */
    double values[METRICS][VERDICT_ROUNDS_MAX];
    double started[VERDICT_ROUNDS_MAX];
    size_t count, limited; /* `limited`: by the generator */
};

struct rounds {
    const struct loadgen_config *config;
    struct rounds_side sides[2]; /* a file is the first one */
    size_t side_count;
    bool has_file;
    struct verdict_groups groups;
    struct verdict_finding verdicts[METRICS];
    FILE *out;
};

int rounds_parse_tolerance(const char *text, double *ret, struct error *err) {
    char *end = NULL;
    double value = text[0] >= '0' && text[0] <= '9' ? strtod(text, &end) : -1;
    if (end == NULL || strcmp(end, "%") != 0 || !(value >= 0 && value <= 100))
        return error_set(err, -EINVAL, "a share from 0%% to 100%%, such as 5%%");
    *ret = value / 100;
    return 0;
}

/* --- a run ------------------------------------------------------------------------------------ */

static char letter_of(const struct rounds *r, const struct rounds_side *s) {
    return s == &r->sides[0] ? 'A' : 'B';
}

static void print_head(const struct rounds *r) {
    fprintf(r->out, "%5s %4s", "round", "side");
    for (int i = 0; i < METRICS; i++)
        fprintf(r->out, " %13s", metrics[i].name);
    fputc('\n', r->out);
}

static void print_run(const struct rounds *r, const struct rounds_side *s, bool is_limited) {
    fprintf(r->out, "%5zu %4c", s->count, letter_of(r, s));
    for (int i = 0; i < METRICS; i++)
        fprintf(r->out, " %10.5g%-3s", s->values[i][s->count - 1] * metrics[i].scale,
                metrics[i].unit);
    fprintf(r->out, "%s\n", is_limited ? "  the generator was the limit" : "");
    fflush(r->out);
}

static void note_run(const struct rounds *r, struct rounds_side *s, const struct report *report) {
    const struct summary *sum = report->summary;
    struct times all = sum->times[TIME_TOTAL];
    const double values[METRICS] = {
        sum->rate,
        hist_mean(all.ended),
        (double)percentile_of(all, 0.5).usec,
        (double)percentile_of(all, 0.99).usec,
        sum->ended > 0 ? (double)sum->errors / (double)sum->ended : 1,
    };
    for (int i = 0; i < METRICS; i++)
        s->values[i][s->count] = values[i];
    s->started[s->count] = (double)report->started_wall / (double)NSEC_PER_SEC;
    s->count++;
    s->limited += sum->is_limited;
    print_run(r, s, sum->is_limited);
}

/* --- a server --------------------------------------------------------------------------------- */

/* Runs a shell, in the group of its keeper. */
static void become_server(const char *command) {
    sigset_t none;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    const int watched[] = { SIGINT, SIGTERM, SIGQUIT, SIGHUP, SIGPIPE };
    for (size_t i = 0; i < ARRAY_LEN(watched); i++)
        signal(watched[i], SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(null, STDOUT_FILENO) >= 0)
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

/* Leads the group of a server, which is ended as a whole: also when bench is killed, for then the
 * kernel tells its children only. Ends as the shell does. */
static void keep_server(const char *command) {
    pid_t parent = getppid();
    sigset_t waited;
    int signo, status;
    sigemptyset(&waited);
    sigaddset(&waited, SIGCHLD);
    sigaddset(&waited, SIGTERM);
    sigprocmask(SIG_SETMASK, &waited, NULL);
    (void)setpgid(0, 0);
    pid_t pid = child_fork(SIGKILL);
    if (pid == 0)
        become_server(command);
    while (pid > 0 && !child_reap(pid, &status)) {
        if (getppid() != parent)
            kill(0, SIGKILL);
        sigwait(&waited, &signo);
    }
    _exit(pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 127);
}

static void pause_a_little(void) {
    struct timespec span = { .tv_nsec = LOOK_PAUSE };
    nanosleep(&span, NULL);
}

/* One request. Returns the code of a run: 0 when it was answered. */
static int probe(const struct rounds_side *s) {
    struct error unused = { .text = "" };
    struct load_run *run;
    if (load_run_new(&run, s->setup, &s->probe, &unused) != 0)
        return EXIT_CANNOT;
    int code = load_run_go(run, &unused);
    load_run_free(run);
    return code;
}

static void stop_server(struct rounds_side *s) {
    int status;
    nsec_t deadline = clock_now() + STOP_MAX;
    if (s->pid <= 0)
        return;
    kill(-s->pid, SIGTERM);
    while (!child_reap(s->pid, &status)) {
        if (clock_now() > deadline)
            kill(-s->pid, SIGKILL);
        pause_a_little();
    }
    kill(-s->pid, SIGKILL); /* children that the shell left behind */
    s->pid = 0;
}

/* Returns 0 once the server answers, the code of a signal, or EXIT_CANNOT with the reason. */
static int start_server(struct rounds_side *s, struct error *err) {
    int status, code = probe(s);
    nsec_t deadline = clock_now() + START_MAX;
    if (code == 0 || code >= LOADGEN_EXIT_SIGNAL) {
        if (code == 0)
            error_set(err, -EADDRINUSE, "%s is answered before '%s' is started", s->config.url,
                      s->command);
        return code == 0 ? EXIT_CANNOT : code;
    }
    pid_t pid = child_fork(SIGTERM);
    if (pid == 0)
        keep_server(s->command);
    if (pid < 0) {
        error_set(err, (int)pid, "cannot fork: %s", strerrordesc_np(-(int)pid));
        return EXIT_CANNOT;
    }
    (void)setpgid(pid, pid);
    s->pid = pid;
    while ((code = probe(s)) != 0 && code < LOADGEN_EXIT_SIGNAL) {
        bool ended = child_reap(pid, &status);
        if (ended)
            s->pid = 0;
        if (ended || clock_now() > deadline) {
            error_set(err, -EIO, "'%s' %s", s->command,
                      ended ? "ended before it answered" : "did not answer within 30 s");
            return EXIT_CANNOT;
        }
        pause_a_little();
    }
    return code;
}

/* --- the rounds ------------------------------------------------------------------------------- */

/* Returns the code of a run that ends the rounds, or 0. */
static int run_once(const struct rounds *r, struct rounds_side *s, struct error *err) {
    struct load_run *run;
    struct rng rng = rng_stream((uint64_t)r->config->seed, s->count);
    s->config.seed = (int64_t)(rng_next(&rng) >> 1);
    if (load_run_new(&run, s->setup, &s->config, err) != 0)
        return EXIT_CANNOT;
    int code = load_run_go(run, err);
    const struct report *report = load_run_report(run);
    if (report != NULL && (code == 0 || code == LOADGEN_EXIT_NO_SUCCESS)) {
        note_run(r, s, report);
        code = 0;
    } else if (code < LOADGEN_EXIT_SIGNAL && err->text[0] == '\0') {
        error_set(err, -EIO,
                  "%s: a round could not connect, or ended with a socket error (-r goes "
                  "on)",
                  s->name);
    }
    load_run_free(run);
    return code;
}

/* Pairs follow each other, each in an order of its own: what drifts meets both alike. */
static int run_all(struct rounds *r, struct error *err) {
    struct rng rng = rng_stream((uint64_t)r->config->seed, UINT64_MAX);
    struct rounds_side *first = &r->sides[r->has_file ? 1 : 0];
    size_t sides = r->side_count - r->has_file;
    int code = 0;
    for (int64_t i = 0; i < r->config->rounds && code == 0; i++) {
        size_t swap = sides > 1 ? rng_next(&rng) >> 63 : 0;
        for (size_t j = 0; j < sides && code == 0; j++) {
            struct rounds_side *s = &first[j ^ swap];
            code = s->command != NULL ? start_server(s, err) : 0;
            code = code == 0 ? run_once(r, s, err) : code;
            stop_server(s);
        }
    }
    return code;
}

/* --- a file ----------------------------------------------------------------------------------- */

static int bad_file(const char *path, const char *why, struct error *err) {
    return error_set(err, -EINVAL, "cannot compare with %s: %s", path, why);
}

/* Figures of a file may be anything: those of a run are not negative, and no more than this. */
#define FIGURE_MAX 1e15

static bool is_figure(int metric, const json_t *value) {
    double number = json_number_value(value);
    return json_is_number(value) && number >= 0 &&
           number <= (metrics[metric].is_share ? 1 : FIGURE_MAX);
}

/* One run of a report: the same figures under its own names. */
static int read_report(struct rounds_side *s, const json_t *root) {
    const json_t *totals = json_object_get(root, "totals");
    const json_t *latency = json_object_get(root, "latency_us");
    double requests = json_number_value(json_object_get(totals, "requests"));
    const json_t *values[] = { json_object_get(totals, "rps"), json_object_get(latency, "mean"),
                               json_object_get(latency, "p50"), json_object_get(latency, "p99") };
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        if (!is_figure((int)i, values[i]))
            return -EINVAL;
        s->values[i][0] = json_number_value(values[i]);
    }
    double errors = json_number_value(json_object_get(totals, "errors"));
    s->values[METRICS - 1][0] = requests > 0 ? fmin(fmax(errors / requests, 0), 1) : 1;
    s->count = 1;
    return 0;
}

static int read_rounds(struct rounds_side *s, const json_t *root) {
    const json_t *rounds =
        json_object_get(json_array_get(json_object_get(root, "sides"), 0), "rounds");
    s->count = json_array_size(rounds);
    if (s->count == 0 || s->count > VERDICT_ROUNDS_MAX ||
        json_array_size(json_object_get(root, "sides")) != 1)
        return -EINVAL;
    for (size_t i = 0; i < s->count; i++)
        for (int j = 0; j < METRICS; j++) {
            const json_t *value = json_object_get(json_array_get(rounds, i), metrics[j].key);
            if (!is_figure(j, value))
                return -EINVAL;
            s->values[j][i] = json_number_value(value);
        }
    return 0;
}

static int read_file(struct rounds *r, struct error *err) {
    const char *path = r->config->compare_path;
    struct rounds_side *s = &r->sides[0];
    json_error_t why;
    json_t *root = json_load_file(path, 0, &why);
    if (root == NULL)
        return bad_file(path, why.text, err);
    const char *schema = json_string_value(json_object_get(root, "schema"));
    int rc = -EINVAL;
    if (schema != NULL && strcmp(schema, "srv-bench/1") == 0)
        rc = read_report(s, root);
    else if (schema != NULL && strcmp(schema, "srv-bench-rounds/1") == 0)
        rc = read_rounds(s, root);
    json_decref(root);
    s->name = path;
    r->has_file = true;
    if (rc == 0)
        return 0;
    return bad_file(path,
                    "it has neither the rounds of one URL (--rounds N --json FILE URL) nor "
                    "a report of srv bench",
                    err);
}

/* --- the verdict ------------------------------------------------------------------------------ */

/* Ratios are differences of logarithms. */
static double as_sample(int metric, double value) {
    return metrics[metric].is_share ? value : log(fmax(value, VALUE_MIN));
}

static int judge(struct rounds *r, struct error *err) {
    struct verdict_groups *g = &r->groups;
    *g = (struct verdict_groups){ .a_count = r->sides[0].count,
                                  .b_count = r->sides[1].count,
                                  .metric_count = METRICS };
    for (int i = 0; i < METRICS; i++) {
        for (size_t j = 0; j < g->a_count; j++)
            g->metrics[i].a[j] = as_sample(i, r->sides[0].values[i][j]);
        for (size_t j = 0; j < g->b_count; j++)
            g->metrics[i].b[j] = as_sample(i, r->sides[1].values[i][j]);
    }
    if (verdict_judge(g, r->verdicts) != 0)
        return error_set(err, -ENOMEM, "out of memory");
    return 0;
}

/* The effect as a share: -0.1 is 10 % less; of errors, the difference. */
static double effect(int metric, double difference) {
    return metrics[metric].is_share ? difference : expm1(difference);
}

static bool is_worse(const struct rounds *r, int i) {
    return (r->verdicts[i].difference > 0) != metrics[i].more_is_good;
}

static bool is_asked(const struct rounds *r, int i) {
    return r->config->metric == NULL || strcmp(r->config->metric, metrics[i].name) == 0;
}

/* Surely worse, and, as far as is known, by more than is tolerated. Errors are tolerated by no
 * share of what they were: there were none, as a rule. */
static bool is_regression(const struct rounds *r, int i) {
    if (!is_asked(r, i) || !r->verdicts[i].is_sure || !is_worse(r, i))
        return false;
    return metrics[i].is_share || fabs(effect(i, r->verdicts[i].difference)) > r->config->tolerance;
}

static bool is_within(const struct rounds *r, int i) {
    double most = fmax(fabs(effect(i, r->verdicts[i].low)), fabs(effect(i, r->verdicts[i].high)));
    return most <= (metrics[i].is_share ? 0 : r->config->tolerance);
}

static const char *word_of(const struct rounds *r, int i) {
    if (r->verdicts[i].is_sure)
        return is_worse(r, i) ? "worse" : "better";
    return is_within(r, i) ? "the same" : "cannot tell";
}

static double middle_of(const struct rounds *r, int side, int metric) {
    const struct rounds_side *s = &r->sides[side];
    double sum = 0;
    for (size_t i = 0; i < s->count; i++)
        sum += as_sample(metric, s->values[metric][i]);
    double mean = sum / (double)s->count;
    return metrics[metric].is_share ? mean : exp(mean);
}

static void print_verdicts(const struct rounds *r) {
    fprintf(r->out, "\n%-8s %13s %13s %9s  %-22s %7s\n", "metric", "A", "B", "B to A", "98 % sure",
            "p");
    for (int i = 0; i < METRICS; i++) {
        const struct verdict_finding *v = &r->verdicts[i];
        char interval[48] = "-";
        if (isfinite(v->low) && isfinite(v->high))
            snprintf(interval, sizeof(interval), "%+.3g %% to %+.3g %%", effect(i, v->low) * 100,
                     effect(i, v->high) * 100);
        fprintf(r->out, "%-8s %10.5g%-3s %10.5g%-3s %+7.3g %%  %-22s %7.4f  %s%s\n",
                metrics[i].name, middle_of(r, 0, i) * metrics[i].scale, metrics[i].unit,
                middle_of(r, 1, i) * metrics[i].scale, metrics[i].unit,
                effect(i, v->difference) * 100, interval, v->p, word_of(r, i),
                is_regression(r, i) ? ": REGRESSION" : "");
    }
}

static bool any_regression(const struct rounds *r) {
    for (int i = 0; i < METRICS; i++)
        if (r->side_count > 1 && is_regression(r, i))
            return true;
    return false;
}

static void print_words(const struct rounds *r) {
    size_t a = r->sides[0].count, b = r->sides[1].count;
    for (size_t i = 0; i < r->side_count; i++)
        fprintf(r->out, "%c is %s, %zu run%s\n", letter_of(r, &r->sides[i]), r->sides[i].name,
                r->sides[i].count, r->sides[i].count == 1 ? "" : "s");
    if (r->sides[0].limited + r->sides[1].limited > 0)
        fprintf(r->out, "WARNING: the generator was the limit in %zu of %zu runs\n",
                r->sides[0].limited + r->sides[1].limited, a + b);
    if (r->side_count < 2)
        return;
    if (!verdict_can_tell(a, b))
        fprintf(r->out,
                "Cannot tell: %zu and %zu runs differ by chance too easily; 5 of each "
                "are enough (--rounds 5)\n",
                a, b);
    if (r->has_file)
        fprintf(r->out, "The runs of A are older: what else changed since then counts for B. Two "
                        "URLs are compared in turns\n");
}

/* --- JSON ------------------------------------------------------------------------------------- */

/* An end of an interval, or null when there is none. */
static json_t *end_json(int metric, double end) {
    return isfinite(end) ? json_real(effect(metric, end)) : json_null();
}

static json_t *side_json(const struct rounds_side *s) {
    json_t *rounds = json_array();
    for (size_t i = 0; i < s->count; i++) {
        json_t *one = json_pack("{s:f}", "started_s", s->started[i]);
        for (int j = 0; j < METRICS; j++)
            (void)json_object_set_new(one, metrics[j].key, json_real(s->values[j][i]));
        (void)json_array_append_new(rounds, one);
    }
    return json_pack("{s:s, s:o, s:I}", "name", s->name, "rounds", rounds, "generator_limited",
                     (json_int_t)s->limited);
}

static json_t *comparison_json(const struct rounds *r) {
    json_t *list = json_array();
    for (int i = 0; i < METRICS; i++) {
        const struct verdict_finding *v = &r->verdicts[i];
        json_t *one = json_pack("{s:s, s:f, s:f, s:f, s:o, s:o, s:f, s:s, s:b}", "metric",
                                metrics[i].name, "a", middle_of(r, 0, i), "b", middle_of(r, 1, i),
                                "effect", effect(i, v->difference), "low", end_json(i, v->low),
                                "high", end_json(i, v->high), "p", v->p, "verdict", word_of(r, i),
                                "regression", is_regression(r, i));
        (void)json_array_append_new(list, one);
    }
    return json_pack("{s:b, s:f, s:s?, s:b, s:o}", "interleaved", !r->has_file, "tolerance",
                     r->config->tolerance, "metric", r->config->metric, "regression",
                     any_regression(r), "metrics", list);
}

/* Schema "srv-bench-rounds/1", described in docs/bench-compare.md. */
static int write_json(FILE *out, const struct rounds *r) {
    json_t *sides = json_array();
    for (size_t i = 0; i < r->side_count; i++)
        (void)json_array_append_new(sides, side_json(&r->sides[i]));
    json_t *root = json_pack("{s:s, s:s, s:o, s:o}", "schema", "srv-bench-rounds/1", "version",
                             SRV_VERSION, "sides", sides, "comparison",
                             r->side_count > 1 ? comparison_json(r) : json_null());
    return json_write(out, root, r->config->json_line);
}

/* --- all of it -------------------------------------------------------------------------------- */

static int check(const struct loadgen_config *c, struct error *err) {
    const char *single = c->look.page_path != NULL ? "report" : loadgen_config_single(c);
    if (single != NULL)
        return error_set(err, -EINVAL, "--%s excludes --rounds and --compare: it is about one run",
                         single);
    if (c->server_commands.count != 0 && (c->server_commands.count != 2 || c->compare_path != NULL))
        return error_set(err, -EINVAL, "--server-command: two of them are compared");
    for (int i = 0; c->metric != NULL && i < METRICS; i++)
        if (strcmp(c->metric, metrics[i].name) == 0)
            return 0;
    if (c->metric != NULL)
        return error_set(err, -EINVAL, "--metric: rate, mean, p50, p99 or errors");
    return 0;
}

static int prepare(struct rounds *r, const char *const *urls, size_t count, struct error *err) {
    int code = 0;
    if (r->config->compare_path != NULL && read_file(r, err) != 0)
        return EXIT_CANNOT;
    size_t commands = r->config->server_commands.count;
    r->side_count = r->has_file + (commands > 0 ? commands : count);
    for (size_t i = 0; r->has_file + i < r->side_count && code == 0; i++) {
        struct rounds_side *s = &r->sides[r->has_file + i];
        s->command = commands > 0 ? r->config->server_commands.items[i] : NULL;
        s->name = commands > 0 ? s->command : urls[i];
        s->config = *r->config;
        s->config.url = urls[commands > 0 ? 0 : i];
        s->config.quiet = true;
        s->config.progress = false;
        s->probe = s->config;
        s->probe.requests = s->probe.concurrency = s->probe.workers = 1;
        s->probe.rate = 0;
        s->probe.stages.count = 0;
        s->probe.burst.count = 0;
        s->probe.time_limit = s->probe.warmup = 0;
        code = load_setup_new(&s->setup, &s->config, err);
        if (code == 0)
            load_setup_defer_signals(s->setup);
    }
    return code;
}

/* Rounds that a signal ended are told, but not judged. */
static int tell(struct rounds *r, FILE *json, int code, struct error *err) {
    bool is_whole = code == 0;
    if (is_whole && r->side_count > 1 && judge(r, err) != 0)
        return EXIT_CANNOT;
    if (is_whole && r->side_count > 1)
        print_verdicts(r);
    fputc('\n', r->out);
    if (is_whole)
        print_words(r);
    else
        fprintf(r->out, "Stopped early: nothing is compared\n");
    fflush(r->out);
    int rc = is_whole && json != NULL ? write_json(json, r) : 0;
    if (rc != 0) {
        error_set(err, rc, "cannot write %s: %s", r->config->json_path, strerrordesc_np(-rc));
        return EXIT_CANNOT;
    }
    return is_whole && any_regression(r) ? LOADGEN_EXIT_THRESHOLD : code;
}

static int run_rounds(struct rounds *r, const char *const *urls, size_t count, struct error *err) {
    FILE *json = NULL;
    const char *path = r->config->json_path;
    int code = prepare(r, urls, count, err);
    if (code == 0 && path != NULL && stream_create(&json, path, err) != 0)
        code = EXIT_CANNOT;
    if (code != 0)
        return code;
    print_head(r);
    code = tell(r, json, run_all(r, err), err);
    int rc = stream_close(json);
    if (rc != 0 && code == 0) {
        error_set(err, rc, "cannot write %s: %s", path, strerrordesc_np(-rc));
        code = EXIT_CANNOT;
    }
    return code;
}

int rounds_run(const struct loadgen_config *config, const char *const *urls, size_t count,
               struct error *err) {
    if (check(config, err) != 0)
        return EXIT_USAGE;
    struct rounds *r = mem_calloc(1, sizeof(*r)); /* large for a stack */
    if (r == NULL) {
        error_set(err, -ENOMEM, "out of memory");
        return EXIT_CANNOT;
    }
    r->config = config;
    r->out = config->json_path != NULL && strcmp(config->json_path, "-") == 0 ? stderr : stdout;
    int code = run_rounds(r, urls, count, err);
    for (size_t i = 0; i < ARRAY_LEN(r->sides); i++)
        load_setup_free(r->sides[i].setup);
    mem_free(r);
    return code;
}
