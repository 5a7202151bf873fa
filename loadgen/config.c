/* SPDX-License-Identifier: MIT */
/* Checks between options, and what follows from several of them. */
#include "loadgen/config.h"
#include "base/units.h"
#include "http/event_stream.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { PROGRESS_FROM = 150 };

uint64_t loadgen_config_budget(const struct loadgen_config *c) {
    if (c->requests > 0)
        return (uint64_t)c->requests;
    if (c->time_limit > 0 || c->replay != NULL)
        return UINT64_MAX;
    return c->concurrency > 0 ? (uint64_t)c->concurrency : 1;
}

bool loadgen_config_shows_progress(const struct loadgen_config *c) {
    return !c->quiet && loadgen_config_budget(c) > PROGRESS_FROM;
}

bool loadgen_config_keeps_samples(const struct loadgen_config *c) {
    return c->csv_path != NULL || c->ndjson_path != NULL || c->gnuplot_path != NULL;
}

uint64_t loadgen_config_errors(const struct loadgen_config *c, uint64_t failed,
                               uint64_t unwelcome) {
    return failed + (c->expect_status.any_given ? 0 : unwelcome);
}

bool loadgen_config_varies_connections(const struct loadgen_config *c) {
    return c->stages.count > 0 && c->stages.is_of_connections;
}

/* Where results are written to; NULL: not asked for. */
enum { OUTPUTS = 10 };

static void outputs_of(const struct loadgen_config *c, const char *ret[static OUTPUTS]) {
    const char *const paths[OUTPUTS] = { c->json_path,      c->csv_path,
                                         c->ndjson_path,    c->percentiles_path,
                                         c->gnuplot_path,   c->spectrum_path,
                                         c->look.page_path, c->look.series_path,
                                         c->look.hlog_path, c->look.ticks_path };
    memcpy(ret, paths, sizeof(paths));
}

bool loadgen_config_takes_stdout(const struct loadgen_config *c) {
    const char *paths[OUTPUTS];
    outputs_of(c, paths);
    for (size_t i = 0; i < OUTPUTS; i++)
        if (paths[i] != NULL && strcmp(paths[i], "-") == 0)
            return true;
    return false;
}

/* One would write over the other. A device, /dev/null say, takes all. */
static int check_outputs(const struct loadgen_config *c, struct error *err) {
    const char *paths[OUTPUTS];
    outputs_of(c, paths);
    for (size_t i = 0; i < OUTPUTS; i++)
        for (size_t k = 0; k < i; k++) {
            if (paths[i] == NULL || paths[k] == NULL || strcmp(paths[i], paths[k]) != 0)
                continue;
            if (strcmp(paths[i], "-") == 0)
                return error_set(err, -EINVAL,
                                 "stdout (-) can take one of --json, --csv, --ndjson, "
                                 "--percentages, --gnuplot, --spectrum, --report, "
                                 "--series-csv, --hlog and --ticks");
            if (strncmp(paths[i], "/dev/", 5) != 0)
                return error_set(err, -EINVAL, "two of the results would be written to '%s'",
                                 paths[i]);
        }
    return 0;
}

/* Rows are tenths of a second then, and seconds are what the others are about. */
static int check_ticks(const struct loadgen_config *c, struct error *err) {
    bool wants_seconds = c->json_path != NULL || c->json_line || c->look.page_path != NULL ||
                         c->look.series_path != NULL || c->look.hlog_path != NULL || c->progress ||
                         c->look.live || c->abort_if.count > 0;
    if (c->look.ticks_path == NULL || !wants_seconds)
        return 0;
    return error_set(err, -EINVAL,
                     "--ticks excludes --json, --json-line, --report, --series-csv, --hlog, "
                     "--progress, --live and --abort-if, which are about seconds");
}

static int check_method(const struct loadgen_config *c, struct error *err) {
    int bodies = (c->post_file != NULL) + (c->put_file != NULL) + (c->body_text != NULL) +
                 (c->form.count > 0) + (c->body_stream != NULL);
    if (bodies > 1)
        return error_set(err, -EINVAL,
                         "--body-stream, --form, --post, --put and --body exclude each other; give "
                         "one of them");
    if (c->form.count > 0 && c->content_type != NULL)
        return error_set(err, -EINVAL,
                         "--form excludes --content-type: it is multipart/form-data, with the "
                         "boundary that the parts have");
    if (c->head && (bodies > 0 || c->method != NULL))
        return error_set(err, -EINVAL,
                         "--head excludes --post, --put, --body, --form, --body-stream and "
                         "--method");
    if ((c->chunked || c->expect_continue) && bodies == 0)
        return error_set(err, -EINVAL,
                         "--chunked and --expect-continue need a body: --body, --post, --put, "
                         "--form or --body-stream");
    if ((c->chunked || c->expect_continue) && (c->http10 || c->ab_strict))
        return error_set(err, -EINVAL,
                         "--chunked and --expect-continue exclude --http1.0 and --ab-strict: "
                         "HTTP/1.0 has neither");
    if ((c->chunked || c->expect_continue || c->body_stream != NULL) && c->templates)
        return error_set(err, -EINVAL,
                         "--templates excludes --body-stream, --chunked and --expect-continue");
    return 0;
}

static int check_mix(const struct loadgen_config *c, struct error *err) {
    bool has_body = loadgen_config_has_body(c);
    bool has_lines = c->requests_file != NULL || c->replay != NULL;
    if (c->requests_file != NULL && c->replay != NULL)
        return error_set(err, -EINVAL, "--requests-file and --replay exclude each other");
    if (has_lines && (has_body || c->head || c->method != NULL))
        return error_set(err, -EINVAL,
                         "--requests-file and --replay exclude --method, --head, --post, --put, "
                         "--body, --form and --body-stream: each line says what it sends");
    if ((has_lines || c->templates) && c->ab_strict)
        return error_set(err, -EINVAL,
                         "--ab-strict excludes --requests-file, --replay and --templates: ab has "
                         "one request");
    if (c->replay != NULL && c->templates)
        return error_set(err, -EINVAL, "--replay excludes --templates: a log has none");
    if (c->replay != NULL && (c->rate > 0 || c->stages.count > 0 || c->burst.count > 0 ||
                              c->arrivals == LOADGEN_ARRIVALS_POISSON))
        return error_set(
            err, -EINVAL,
            "--replay excludes --rate, --stages, --burst and --arrivals: the log says when");
    return 0;
}

static int check_rate(const struct loadgen_config *c, struct error *err) {
    if (!loadgen_config_is_open(c))
        return 0;
    if (c->ramp > 0)
        return error_set(
            err, -EINVAL,
            "--rate, --burst and --replay exclude --ramp: connections open when they are "
            "needed");
    if (c->ab_strict)
        return error_set(err, -EINVAL, "--rate and --burst exclude --ab-strict: ab has no rate");
    return 0;
}

static int check_users(const struct loadgen_config *c, struct error *err) {
    if (c->follow == 0 && c->cookie_policy == LOADGEN_COOKIES_OFF)
        return 0;
    if (c->requests_file != NULL || c->replay != NULL || c->templates)
        return error_set(err, -EINVAL,
                         "--follow and --cookies exclude --requests-file, --replay and "
                         "--templates");
    if (c->body_stream != NULL || c->expect_continue || c->stream != STREAM_OFF)
        return error_set(err, -EINVAL,
                         "--follow and --cookies exclude --body-stream, --expect-continue and "
                         "--stream");
    if (c->proxy != NULL || c->ab_strict)
        return error_set(err, -EINVAL, "--follow and --cookies exclude --proxy and --ab-strict");
    if (c->url != NULL && strlen(c->url) >= USERS_LOCATION_BYTES)
        return error_set(err, -EINVAL, "--follow and --cookies take URLs of less than %d bytes",
                         USERS_LOCATION_BYTES);
    return 0;
}

static int check_think(const struct loadgen_config *c, struct error *err) {
    if (c->think_text == NULL)
        return 0;
    if (loadgen_config_is_open(c))
        return error_set(err, -EINVAL,
                         "--think excludes --rate, --burst and --stages of rates: planned "
                         "requests come when they come");
    if (c->ab_strict)
        return error_set(err, -EINVAL, "--think excludes --ab-strict: ab does not pause");
    return 0;
}

static int check_stages(const struct loadgen_config *c, struct error *err) {
    nsec_t span = shape_span(&c->stages);
    int64_t connections = c->shard.share.count > 0 ? c->shard.concurrency : c->concurrency;
    char text[UNITS_TEXT_BYTES];
    if (c->stages.count == 0)
        return 0;
    if (c->rate > 0)
        return error_set(err, -EINVAL,
                         "--stages excludes --rate: a stage '=100/s:1m' holds one rate");
    if (c->ramp > 0 || c->warmup > 0)
        return error_set(err, -EINVAL,
                         "--stages excludes --ramp and --warmup: the first stage can be "
                         "either, and its figures stand apart");
    if (c->ab_strict)
        return error_set(err, -EINVAL, "--stages excludes --ab-strict: ab has no stages");
    if (c->time_limit > span)
        return error_set(err, -EINVAL, "--time is longer than the stages, which take %s",
                         units_format_duration(span, text));
    if (c->stages.is_of_connections && c->requests_file != NULL)
        return error_set(err, -EINVAL,
                         "--stages of connections exclude --requests-file: each of its hosts has "
                         "connections of its own; stages of rates do not");
    if (c->stages.is_of_connections && c->burst.count > 0)
        return error_set(err, -EINVAL,
                         "--burst excludes --stages of connections: a closed loop has no "
                         "planned times");
    if (c->stages.is_of_connections && connections != shape_peak(&c->stages))
        return error_set(err, -EINVAL,
                         "--concurrency and --stages of connections exclude each other");
    return 0;
}

static int check_stream(const struct loadgen_config *c, struct error *err) {
    const char *end = c->stream_end != NULL ? c->stream_end : "";
    if (c->stream == STREAM_OFF)
        return 0;
    if (c->ab_strict)
        return error_set(err, -EINVAL, "--stream excludes --ab-strict: ab has no streams");
    if (strlen(end) > EVENT_END_BYTES_MAX || strpbrk(end, "\r\n") != NULL)
        return error_set(err, -EINVAL, "--stream-end: allowed is one line of up to %d bytes",
                         EVENT_END_BYTES_MAX);
    return 0;
}

/* Without planned times a request takes no longer than the time-out lets it. */
static int check_condition(const struct loadgen_config *c, const struct threshold *t,
                           struct error *err) {
    bool is_upward = t->sign == THRESHOLD_ABOVE || t->sign == THRESHOLD_AT_LEAST;
    double longest = (double)c->timeout / (double)NSEC_PER_USEC;
    if (loadgen_config_is_open(c))
        return 0;
    if (t->metric == THRESHOLD_DROPPED || t->metric == THRESHOLD_LATE)
        return error_set(err, -EINVAL,
                         "condition '%s' needs --rate, --burst or --stages: without them no "
                         "request has a planned time",
                         t->text);
    if (threshold_is_latency(t) && is_upward && t->value > longest)
        return error_set(err, -EINVAL,
                         "condition '%s' can never come true: --timeout ends each request after "
                         "%g s",
                         t->text, longest / 1e6);
    return 0;
}

static int check_events(const struct loadgen_config *c, const struct thresholds *of,
                        struct error *err) {
    for (size_t i = 0; i < of->count; i++)
        if (threshold_is_of_streams(&of->items[i]) && c->stream == STREAM_OFF)
            return error_set(err, -EINVAL, "condition '%s' needs --stream: nothing else has events",
                             of->items[i].text);
    return 0;
}

static int check_conditions(const struct loadgen_config *c, struct error *err) {
    int rc = check_events(c, &c->fail_if, err);
    if (rc == 0)
        rc = check_events(c, &c->abort_if, err);
    if (rc == 0)
        rc = check_events(c, &c->find_max, err);
    for (size_t i = 0; i < c->fail_if.count && rc == 0; i++)
        rc = check_condition(c, &c->fail_if.items[i], err);
    for (size_t i = 0; i < c->abort_if.count && rc == 0; i++) {
        const struct threshold *t = &c->abort_if.items[i];
        rc = check_condition(c, t, err);
        if (rc == 0 && threshold_is_of_streams(t))
            rc = error_set(err, -EINVAL,
                           "--abort-if '%s': only --fail-if looks at the events of streams",
                           t->text);
    }
    return rc;
}

const char *loadgen_config_single(const struct loadgen_config *c) {
    const struct {
        const char *option;
        bool is_given;
    } singles[] = {
        { "ab-strict", c->ab_strict },
        { "html", c->html || c->html_table != NULL || c->html_row != NULL || c->html_cell != NULL },
        { "fail-if", c->fail_if.count > 0 },
        { "abort-if", c->abort_if.count > 0 },
        { "percentages", c->percentiles_path != NULL },
        { "spectrum", c->spectrum_path != NULL },
        { "gnuplot", c->gnuplot_path != NULL },
        { "csv", c->csv_path != NULL },
        { "ndjson", c->ndjson_path != NULL },
        { "series-csv", c->look.series_path != NULL },
        { "hlog", c->look.hlog_path != NULL },
        { "ticks", c->look.ticks_path != NULL },
        { "live", c->look.live },
        { "prometheus", c->look.metrics_address != NULL },
        { "shard", c->shard.share.count > 0 },
        { "replay", c->replay != NULL },
    };
    for (size_t i = 0; i < ARRAY_LEN(singles); i++)
        if (singles[i].is_given)
            return singles[i].option;
    return NULL;
}

int loadgen_config_check(const struct loadgen_config *c, struct error *err) {
    uint64_t budget = loadgen_config_budget(c);
    if ((uint64_t)c->concurrency > budget)
        return error_set(err, -EINVAL,
                         "--concurrency %" PRId64 " is more than --requests %" PRIu64
                         "; it is at most the number of requests",
                         c->concurrency, budget);
    if (loadgen_config_workers(c) > (uint64_t)c->concurrency)
        return error_set(err, -EINVAL,
                         "--workers %" PRId64 " is more than --concurrency %" PRId64
                         "; each needs a connection",
                         c->workers, c->concurrency);
    if (c->proxy != NULL && c->unix_path != NULL)
        return error_set(err, -EINVAL, "--proxy and --unix-socket exclude each other");
    if (c->ipv4 && c->ipv6)
        return error_set(err, -EINVAL, "-4 and -6 exclude each other; without them both are used");
    int rc = check_outputs(c, err);
    if (rc == 0)
        rc = check_ticks(c, err);
    if (rc == 0)
        rc = check_method(c, err);
    if (rc == 0)
        rc = check_mix(c, err);
    if (rc == 0)
        rc = check_stages(c, err);
    if (rc == 0)
        rc = check_rate(c, err);
    if (rc == 0)
        rc = check_think(c, err);
    if (rc == 0)
        rc = check_users(c, err);
    if (rc == 0)
        rc = check_stream(c, err);
    return rc == 0 ? check_conditions(c, err) : rc;
}

static int no_part(const struct loadgen_config *c, const char *of, int64_t whole,
                   struct error *err) {
    return error_set(err, -EINVAL,
                     "--shard %u/%u: nothing is left for it of --%s %" PRId64
                     "; it is at least the number of shards",
                     c->shard.share.index, c->shard.share.count, of, whole);
}

int loadgen_config_take_shard(struct loadgen_config *c, struct error *err) {
    struct share share = c->shard.share;
    if (share.count == 0)
        return 0;
    c->shard.requests = c->requests;
    c->shard.concurrency = c->concurrency;
    c->shard.rate = c->rate;
    c->requests = (int64_t)share_of(share, (uint64_t)c->requests);
    c->concurrency = (int64_t)share_of(share, (uint64_t)c->concurrency);
    c->rate /= share.count;
    if (c->shard.requests > 0 && c->requests == 0)
        return no_part(c, "requests", c->shard.requests, err);
    return c->concurrency == 0 ? no_part(c, "concurrency", c->shard.concurrency, err) : 0;
}
