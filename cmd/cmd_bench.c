/* SPDX-License-Identifier: MIT */
/* `srv bench`: from the command line to a run, or to a report merged from files. */
#include "base/alloc.h"
#include "base/escape.h"
#include "base/units.h"
#include "bench/findmax.h"
#include "bench/merge.h"
#include "bench/output.h"
#include "bench/rounds.h"
#include "bench/run.h"
#include "cmd/bench_options.h"
#include "cmd/command.h"
#include "cmd/common.h"
#include "loadgen/mix.h"
#include <errno.h>
#include <strings.h>

#define ROUND_SPAN        (2 * NSEC_PER_SEC)  /* length of a round without an end */
#define ROUNDS            5                   /* of --compare */
#define RATE_SPAN         (10 * NSEC_PER_SEC) /* length of an open model without an end */
#define COMMAND_BYTES_MAX (64 * 1024)         /* a longer one is not told */

/* --- options that need another --------------------------------------------------------------- */

static bool finds_rate(const struct loadgen_config *c) {
    return c->find_max.count > 0 && c->find_by == LOADGEN_FIND_RATE;
}

static bool finds_max(const struct loadgen_config *c) {
    return c->find_max.count > 0;
}

static bool has_rounds(const struct loadgen_config *c) {
    return c->rounds > 0 || c->compare_path != NULL;
}

static bool has_rate(const struct loadgen_config *c) {
    return loadgen_config_is_open(c) || finds_rate(c);
}

/* Arrivals beside bursts, which are all at once. */
static bool has_arrivals(const struct loadgen_config *c) {
    return c->rate > 0 || finds_rate(c) || (c->stages.count > 0 && !c->stages.is_of_connections);
}

static bool has_randomness(const struct loadgen_config *c) {
    return c->arrivals == LOADGEN_ARRIVALS_POISSON || c->think_text != NULL ||
           c->requests_file != NULL || c->templates || c->form.count > 0;
}

static bool has_requests_file(const struct loadgen_config *c) {
    return c->requests_file != NULL;
}

static bool has_replay(const struct loadgen_config *c) {
    return c->replay != NULL;
}

/* Nothing else would end the load: a log ends by itself. */
static bool needs_time(const struct loadgen_config *c) {
    return has_rate(c) && c->requests == 0 && c->time_limit == 0 && c->replay == NULL;
}

static bool has_time(const struct loadgen_config *c) {
    return c->time_limit > 0 || c->stages.count > 0 || needs_time(c) || finds_max(c) ||
           (has_rounds(c) && c->requests == 0);
}

static bool has_keep_alive(const struct loadgen_config *c) {
    return c->keep_alive;
}

static bool has_proxy(const struct loadgen_config *c) {
    return c->proxy != NULL;
}

static bool has_metrics(const struct loadgen_config *c) {
    return c->look.metrics_address != NULL;
}

static bool is_not_quiet(const struct loadgen_config *c) {
    return !c->quiet;
}

static bool has_page(const struct loadgen_config *c) {
    return c->look.page_path != NULL;
}

static bool has_tls(const struct loadgen_config *c) {
    return c->url == NULL || c->requests_file != NULL || strncasecmp(c->url, "https:", 6) == 0;
}

static bool has_any_tls(const struct loadgen_config *c) {
    for (size_t i = 0; i < c->server.metrics.count; i++)
        if (strncasecmp(c->server.metrics.items[i], "https:", 6) == 0)
            return true;
    return has_tls(c);
}

static bool has_server_timing(const struct loadgen_config *c) {
    return c->server.timing;
}

static bool has_server_metrics(const struct loadgen_config *c) {
    return c->server.metrics.count > 0;
}

static bool has_body(const struct loadgen_config *c) {
    return c->requests_file != NULL || loadgen_config_has_body(c);
}

static bool has_answers_with_bodies(const struct loadgen_config *c) {
    return !c->head;
}

static bool has_streams(const struct loadgen_config *c) {
    return c->stream != STREAM_OFF;
}

static const struct need {
    const char *option, *needs;
    bool (*is_met)(const struct loadgen_config *);
} needs[] = {
    { "arrivals", "needs --rate or --stages of rates: without them requests have no planned times",
      has_arrivals },
    { "no-catch-up", "needs --rate, --burst or --stages of rates: without them nothing is late",
      has_rate },
    { "seed",
      "needs --arrivals poisson, --think, --requests-file or --templates: nothing else is random",
      has_randomness },
    { "requests-order", "needs --requests-file", has_requests_file },
    { "speed", "needs --replay", has_replay },
    { "replay-methods", "needs --replay", has_replay },
    { "drain", "needs --time: only a time limit leaves requests in flight", has_time },
    { "server-command", "needs --rounds", has_rounds },
    { "metric", "needs --rounds or --compare", has_rounds },
    { "tolerance", "needs --rounds or --compare", has_rounds },
    { "find-max-by", "needs --find-max", finds_max },
    { "find-max-time", "needs --find-max", finds_max },
    { "at-least", "needs --find-max: it is about what that finds", finds_max },
    { "requests-per-connection", "needs --keep-alive (-k)", has_keep_alive },
    { "proxy-auth", "needs --proxy (-X)", has_proxy },
    { "against", "needs --report", has_page },
    { "report-from", "needs --report", has_page },
    { "cacert", "needs an https:// URL", has_any_tls },
    { "insecure", "needs an https:// URL", has_any_tls },
    { "client-certificate", "(-E) needs an https:// URL", has_any_tls },
    { "no-sni", "(-I) needs an https:// URL", has_any_tls },
    { "ciphers", "(-Z) needs an https:// URL", has_any_tls },
    { "tls-version", "(-f) needs an https:// URL", has_any_tls },
    { "live", "excludes --quiet (-q): it shows the run", is_not_quiet },
    { "prometheus-hold", "needs --prometheus", has_metrics },
    { "tls-resume", "needs an https:// URL", has_tls },
    { "server-timing-parts", "needs --server-timing", has_server_timing },
    { "server-metrics-match", "needs --server-metrics", has_server_metrics },
    { "content-type", "needs a body: --body, --post or --put", has_body },
    { "expect-body", "excludes --head: its answers have no body", has_answers_with_bodies },
    { "stream", "excludes --head: its answers have no body", has_answers_with_bodies },
    { "stall", "needs --stream: nothing else has events", has_streams },
    { "stream-end", "needs --stream: nothing else has events", has_streams },
};

static int check_needs(const struct loadgen_config *c, int argc, char **argv, struct error *err) {
    for (size_t i = 0; i < ARRAY_LEN(needs); i++)
        if (!needs[i].is_met(c) && option_in_arguments(&bench_spec, argc, argv, needs[i].option))
            return error_set(err, -EINVAL, "--%s %s", needs[i].option, needs[i].needs);
    return 0;
}

/* --- what other programs mean ---------------------------------------------------------------- */

static bool is_count(const char *text) {
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && (text[digits] == '\0' ||
                          (strchr("kKmM", text[digits]) != NULL && text[digits + 1] == '\0'));
}

static bool is_duration(const char *text) {
    nsec_t span;
    return !is_count(text) && units_parse_duration(slice_str(text), &span) == 0;
}

/* A number or a duration where the URL belongs: the value of an option that takes one elsewhere. */
static int check_positional(const struct loadgen_config *c, const char *text, struct error *err) {
    if (is_duration(text))
        return error_set(err, -EINVAL, "'%s' where the URL belongs; did you mean --time %s?%s",
                         text, text,
                         c->no_percentiles ? " (-d takes no value: it is ab's, and leaves the "
                                             "percentiles out)"
                                           : "");
    if (is_count(text) && c->quiet)
        return error_set(err, -EINVAL,
                         "'%s' where the URL belongs; did you mean --rate %s? (-q "
                         "takes no value: it is ab's, and shows no progress)",
                         text, text);
    if (is_count(text))
        return error_set(err, -EINVAL,
                         "'%s' where the URL belongs; did you mean --requests %s, or "
                         "http://127.0.0.1:%s/?",
                         text, text, text);
    return 0;
}

/* wrk's -d30s and -d30 would be read as flags. */
static int check_glued_duration(int argc, char **argv, struct error *err) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strncmp(argv[i], "-d", 2) == 0 && (is_duration(argv[i] + 2) || is_count(argv[i] + 2)))
            return error_set(err, -EINVAL, "%s: -d takes no value here; did you mean --time %s?",
                             argv[i], argv[i] + 2);
    return 0;
}

static int check_hints(const struct bench_options *o, const struct option_strings *urls,
                       struct error *err) {
    const char *attributes = o->run.html_cell;
    if (attributes != NULL && is_duration(attributes))
        return error_set(err, -EINVAL, "-z: '%s' is no attribute of <td>; did you mean --time %s?",
                         attributes, attributes);
    for (size_t i = 0; i < urls->count && !o->merge; i++) {
        int rc = check_positional(&o->run, urls->items[i], err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* --- the line that asked for it --------------------------------------------------------------- */

/* Values of header fields that open doors. */
static bool is_secret_header(const char *header) {
    static const char *const names[] = { "authorization", "proxy-authorization", "cookie",
                                         "x-api-key", "x-auth-token" };
    size_t len = strcspn(header, ":");
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strlen(names[i]) == len && strncasecmp(header, names[i], len) == 0)
            return true;
    return false;
}

/* Cuts what is told of a word before `secret`, when the word ends in that. An empty one is none. */
static void hide_end(const char *word, const char *secret, size_t *told) {
    size_t len = strlen(word), secret_len = secret != NULL ? strlen(secret) : 0;
    if (secret_len > 0 && len >= secret_len && strcmp(word + len - secret_len, secret) == 0 &&
        *told > len - secret_len)
        *told = len - secret_len;
}

/* Number of bytes of a word before the secret that it ends in, the longest if several fit, or all
 * of them. The value of an option stands at the end of its word, however the option is spelled. */
static size_t told_bytes(const struct loadgen_config *c, const char *word) {
    size_t told = strlen(word);
    hide_end(word, c->credentials, &told);
    hide_end(word, c->proxy_credentials, &told);
    for (size_t i = 0; i < c->cookies.count; i++)
        hide_end(word, c->cookies.items[i], &told);
    for (size_t i = 0; i < c->headers.count; i++) {
        const char *header = c->headers.items[i], *colon = strchr(header, ':');
        size_t before = strlen(word);
        hide_end(word, header, &before);
        if (colon != NULL && before < strlen(word) && is_secret_header(header))
            hide_end(word, colon + 1, &told);
    }
    return told;
}

/* The command as a shell takes it, with "***" for what is secret: reports are shown to others. */
static int spell_command(const struct loadgen_config *c, int argc, char **argv, struct buf *ret) {
    int rc = buf_append(ret, SLICE("srv bench"));
    for (int i = 1; i < argc && rc == 0; i++) {
        size_t told = told_bytes(c, argv[i]);
        bool has_secret = argv[i][told] != '\0';
        rc = buf_append(ret, SLICE(" "));
        if (rc == 0 && (told > 0 || !has_secret))
            rc = escape_word(ret, slice_of(argv[i], told));
        if (rc == 0 && has_secret)
            rc = buf_append(ret, SLICE("***"));
    }
    return rc == 0 ? buf_append(ret, slice_of("", 1)) : rc;
}

/* --- the run -------------------------------------------------------------------------------- */

/* Fills in the options that follow from others, of whatever is done. */
static void complete_any(struct loadgen_config *c, int64_t ramp_msec) {
    c->ramp = ramp_msec * NSEC_PER_MSEC;
    if (c->json_line && c->json_path == NULL)
        c->json_path = "-";
}

/* Fills in the options that follow from others, of runs. */
static void complete(struct loadgen_config *c) {
    if (c->stages.count > 0 && c->time_limit == 0)
        c->time_limit = shape_span(&c->stages);
    if (needs_time(c)) {
        c->time_limit = RATE_SPAN;
        c->time_is_ours = true;
    }
    if (c->replay_speed == 0)
        c->replay_speed = 1;
    if (c->replay_methods == NULL)
        c->replay_methods = "GET,HEAD";
    c->html = c->html || c->html_table != NULL || c->html_row != NULL || c->html_cell != NULL;
    if (c->concurrency > 0)
        return;
    c->concurrency = 1;
    if (loadgen_config_varies_connections(c)) {
        c->concurrency = (int64_t)shape_peak(&c->stages);
    } else if (loadgen_config_is_open(c)) {
        uint64_t budget = loadgen_config_budget(c);
        int64_t most = c->burst.count;
        if (most < LOADGEN_CONCURRENCY_OPEN)
            most = LOADGEN_CONCURRENCY_OPEN;
        else if (most > LOADGEN_CONCURRENCY_MAX)
            most = LOADGEN_CONCURRENCY_MAX;
        c->concurrency = budget < (uint64_t)most ? (int64_t)budget : most;
    }
    if (c->concurrency < c->workers)
        c->concurrency = c->workers;
}

static int check_merge_options(const struct bench_options *o, int argc, char **argv,
                               struct error *err) {
    static const char *const of_merge[] = { "merge-skew", "merge-anyway" };
    for (size_t i = 0; i < ARRAY_LEN(of_merge) && !o->merge; i++)
        if (option_in_arguments(&bench_spec, argc, argv, of_merge[i]))
            return error_set(err, -EINVAL, "--%s needs --merge", of_merge[i]);
    return 0;
}

/* --- what is no single run ------------------------------------------------------------------ */

static bool merges(const struct bench_options *o) {
    return o->merge;
}

static bool searches(const struct bench_options *o) {
    return finds_max(&o->run) && !o->merge;
}

static bool compares(const struct bench_options *o) {
    return has_rounds(&o->run) && !o->merge;
}

static bool makes_page(const struct bench_options *o) {
    return o->run.look.page_from != NULL;
}

/* Does something instead of one run, where some options would say nothing. */
static const struct mode {
    const char *option;
    bool (*is_on)(const struct bench_options *);
    bool (*refuses)(const struct option_row *);
    const char *why;
} modes[] = {
    { "merge", merges, bench_option_loads, "nothing is loaded" },
    { "find-max", searches, bench_option_tells, "its table tells of many runs" },
    { "rounds", compares, bench_option_tells, "its table tells of many runs" },
    { "report-from", makes_page, bench_option_makes_no_page, "nothing is loaded" },
};

static int check_modes(const struct bench_options *o, int argc, char **argv, struct error *err) {
    for (size_t i = 0; i < ARRAY_LEN(modes); i++)
        for (size_t j = 0; modes[i].is_on(o) && j < bench_spec.row_count; j++) {
            const struct option_row *row = &bench_spec.rows[j];
            if (row->name != NULL && modes[i].refuses(row) &&
                option_in_arguments(&bench_spec, argc, argv, row->name))
                return error_set(err, -EINVAL, "--%s excludes --%s: %s", row->name, modes[i].option,
                                 modes[i].why);
        }
    return 0;
}

/* A file of requests may name its hosts itself: the first one is that of the report. */
static int take_url_of_file(struct bench_options *o, struct error *err) {
    const char *path = o->run.requests_file;
    if (strcmp(path, "-") == 0)
        return error_set(err, -EINVAL, "--requests-file -: give the URL as well");
    int rc = mix_first_url(path, o->first_url, sizeof(o->first_url), err);
    if (rc == 0 && o->first_url[0] == '\0')
        rc = error_set(err, -EINVAL, "URL is missing, and no line of %s names a host", path);
    o->run.url = o->first_url;
    return rc;
}

static int check_url(struct bench_options *o, const struct option_strings *urls,
                     struct error *err) {
    if (o->run.look.page_from != NULL && urls->count + o->merge > 0)
        return error_set(err, -EINVAL, "--report-from loads nothing: give no URL, and no --merge");
    if (o->run.look.page_from != NULL)
        return 0;
    if (urls->count == 0 && !o->merge && o->run.requests_file != NULL)
        return take_url_of_file(o, err);
    if (urls->count == 0)
        return error_set(err, -EINVAL, "%s",
                         o->merge ? "--merge: give the JSON files to merge"
                                  : "URL is missing; give http://HOST[:PORT]/PATH");
    bool takes_two = o->run.compare_path == NULL && o->run.server_commands.count == 0;
    size_t most = o->run.rounds > 0 && takes_two ? 2 : 1;
    if (urls->count > most && !o->merge)
        return error_set(err, -EINVAL, "unexpected '%s': %s", urls->items[most],
                         most > 1              ? "two URLs are compared"
                         : has_rounds(&o->run) ? "one URL is compared with the file"
                                               : "one URL is enough");
    return 0;
}

static int run_in_rounds(struct bench_options *o, const struct option_strings *urls,
                         struct error *err) {
    struct loadgen_config *c = &o->run;
    if (c->requests == 0 && c->time_limit == 0)
        c->time_limit = ROUND_SPAN;
    if (c->rounds == 0)
        c->rounds = ROUNDS;
    complete(c);
    return rounds_run(c, urls->items, urls->count, err);
}

static int run_or_merge(struct bench_options *o, int argc, char **argv,
                        const struct option_strings *positionals, struct error *err) {
    if (o->version) {
        printf("srv bench %s\n", SRV_VERSION);
        return 0;
    }
    if (positionals->count > 0 && !o->merge)
        o->run.url = positionals->items[0];
    if (check_hints(o, positionals, err) != 0)
        return EXIT_USAGE;
    int rc = check_url(o, positionals, err);
    if (rc != 0)
        return rc == -EINVAL ? EXIT_USAGE : EXIT_CANNOT;
    if (check_merge_options(o, argc, argv, err) != 0 || check_modes(o, argc, argv, err) != 0 ||
        check_needs(&o->run, argc, argv, err) != 0)
        return EXIT_USAGE;
    complete_any(&o->run, o->ramp_msec);
    if (finds_max(&o->run) && has_rounds(&o->run)) {
        error_set(err, -EINVAL, "--find-max excludes --rounds and --compare");
        return EXIT_USAGE;
    }
    if (finds_max(&o->run) && !o->merge)
        return findmax_run(&o->run, err);
    if (has_rounds(&o->run) && !o->merge)
        return run_in_rounds(o, positionals, err);
    complete(&o->run);
    if (o->run.look.page_from != NULL)
        return output_page(&o->run, err);
    if (o->merge)
        return loadgen_merge(&o->run, positionals, err);
    if (loadgen_config_take_shard(&o->run, err) != 0)
        return EXIT_USAGE;
    return loadgen_run(&o->run, err);
}

static int spell_and_run(struct bench_options *o, int argc, char **argv,
                         const struct option_strings *positionals, struct error *err) {
    struct buf command;
    buf_init(&command, COMMAND_BYTES_MAX);
    o->run.look.command = spell_command(&o->run, argc, argv, &command) == 0 ? command.data : NULL;
    int code = run_or_merge(o, argc, argv, positionals, err);
    buf_free(&command);
    return code;
}

static int bench_run(int argc, char **argv) {
    struct bench_options *options = mem_calloc(1, sizeof(*options)); /* large for a stack */
    struct option_strings positionals = { .count = 0 };
    struct error err = { .text = "" };
    int code;
    if (options == NULL) {
        error_set(&err, -ENOMEM, "out of memory");
        return cmd_fail(argv[0], EXIT_CANNOT, &err);
    }
    if (check_glued_duration(argc, argv, &err) != 0)
        code = EXIT_USAGE;
    else if (cmd_parse(&bench_spec, argc, argv, options, &positionals, &code) == 0)
        code = spell_and_run(options, argc, argv, &positionals, &err);
    arena_free(&options->run.laws);
    mem_free(options);
    return err.text[0] != '\0' ? cmd_fail(argv[0], code, &err) : code;
}

const struct command cmd_bench = {
    .name = "bench",
    .summary = "load an HTTP server; ab's options and report, honest latencies",
    .options = &bench_spec,
    .run = bench_run,
};
