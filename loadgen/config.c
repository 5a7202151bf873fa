/* SPDX-License-Identifier: MIT */
/* Checks between options, and the values that only bench has. */
#include "loadgen/config.h"
#include "base/units.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PROGRESS_FROM = 150 };

#define RATE_MAX 1e7

uint64_t loadgen_config_budget(const struct loadgen_config *c) {
    if (c->requests > 0)
        return (uint64_t)c->requests;
    if (c->time_limit > 0)
        return UINT64_MAX;
    return c->concurrency > 0 ? (uint64_t)c->concurrency : 1;
}

bool loadgen_config_shows_progress(const struct loadgen_config *c) {
    return !c->quiet && loadgen_config_budget(c) > PROGRESS_FROM;
}

static int outputs_on_stdout(const struct loadgen_config *c) {
    const char *paths[] = { c->json_path,        c->csv_path,     c->ndjson_path,
                            c->percentiles_path, c->gnuplot_path, c->spectrum_path };
    int count = 0;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        count += paths[i] != NULL && strcmp(paths[i], "-") == 0;
    return count;
}

bool loadgen_config_takes_stdout(const struct loadgen_config *c) {
    return outputs_on_stdout(c) > 0;
}

static int check_method(const struct loadgen_config *c, struct error *err) {
    int bodies = (c->post_file != NULL) + (c->put_file != NULL) + (c->body_text != NULL);
    if (bodies > 1)
        return error_set(err, -EINVAL,
                         "--post, --put and --body exclude each other; give one of them");
    if (c->head && (bodies > 0 || c->method != NULL))
        return error_set(err, -EINVAL, "--head excludes --post, --put, --body and --method");
    return 0;
}

static int check_rate(const struct loadgen_config *c, struct error *err) {
    if (!loadgen_config_is_open(c))
        return 0;
    if (c->ramp > 0)
        return error_set(err, -EINVAL,
                         "--rate excludes --ramp: connections open when they are "
                         "needed");
    if (c->ab_strict)
        return error_set(err, -EINVAL, "--rate excludes --ab-strict: ab has no rate");
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
    if (c->stages.is_of_connections && connections != shape_peak(&c->stages))
        return error_set(err, -EINVAL,
                         "--concurrency and --stages of connections exclude each other");
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
                         "condition '%s' needs --rate or --stages: without them no request has a "
                         "planned time",
                         t->text);
    if (threshold_is_latency(t) && is_upward && t->value > longest)
        return error_set(err, -EINVAL,
                         "condition '%s' can never come true: --timeout ends each request after "
                         "%g s",
                         t->text, longest / 1e6);
    return 0;
}

static int check_conditions(const struct loadgen_config *c, struct error *err) {
    int rc = 0;
    for (size_t i = 0; i < c->fail_if.count && rc == 0; i++)
        rc = check_condition(c, &c->fail_if.items[i], err);
    for (size_t i = 0; i < c->abort_if.count && rc == 0; i++)
        rc = check_condition(c, &c->abort_if.items[i], err);
    return rc;
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
    if (outputs_on_stdout(c) > 1)
        return error_set(err, -EINVAL,
                         "stdout (-) can take one of --json, --csv, --ndjson, "
                         "--percentages, --gnuplot and --spectrum");
    if (c->proxy != NULL && c->unix_path != NULL)
        return error_set(err, -EINVAL, "--proxy and --unix-socket exclude each other");
    if (c->ipv4 && c->ipv6)
        return error_set(err, -EINVAL, "-4 and -6 exclude each other; without them both are used");
    if (c->server_timing_parts != NULL && !c->server_timing)
        return error_set(err, -EINVAL, "--server-timing-parts needs --server-timing");
    int rc = check_method(c, err);
    if (rc == 0)
        rc = check_stages(c, err);
    if (rc == 0)
        rc = check_rate(c, err);
    return rc == 0 ? check_conditions(c, err) : rc;
}

int loadgen_parse_rate(const char *text, double *ret, struct error *err) {
    char *end;
    double value = text[0] >= '0' && text[0] <= '9' ? strtod(text, &end) : 0;
    double seconds = 1;
    if (value > 0 && (*end == 'k' || *end == 'K')) {
        value *= 1000;
        end++;
    }
    if (value > 0 && strcmp(end, "/m") == 0)
        seconds = 60;
    else if (value > 0 && *end != '\0' && strcmp(end, "/s") != 0)
        value = 0;
    value /= seconds;
    if (!(value > 0 && value <= RATE_MAX))
        return error_set(err, -EINVAL,
                         "a rate above 0 and up to %.0f per second, such as 500, "
                         "0.5/s, 90/m or 2k",
                         RATE_MAX);
    *ret = value;
    return 0;
}

int loadgen_parse_stages(const char *text, struct load_shape *ret, struct error *err) {
    struct shape_limits limits = { .rate = RATE_MAX, .connections = LOADGEN_CONCURRENCY_MAX };
    return shape_parse(text, limits, ret, err);
}

static int no_part(const struct loadgen_config *c, const char *of, int64_t whole,
                   struct error *err) {
    return error_set(err, -EINVAL,
                     "--shard %u/%u: nothing is left for it of --%s %" PRId64
                     "; it is at least the number of shards",
                     c->shard.share.index + 1, c->shard.share.count, of, whole);
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

int loadgen_parse_percentiles(const char *text, struct loadgen_percentiles *ret,
                              struct error *err) {
    struct slice rest = slice_str(text);
    ret->count = 0;
    while (rest.len > 0 && ret->count < LOADGEN_PERCENTILES_MAX) {
        struct slice word = slice_trim(slice_cut(&rest, ','));
        char *end = NULL;
        double value =
            word.len > 0 && word.ptr[0] >= '0' && word.ptr[0] <= '9' ? strtod(word.ptr, &end) : -1;
        if (!(value >= 0 && value <= 100) || end != word.ptr + word.len)
            break;
        ret->values[ret->count++] = value;
        if (rest.len == 0)
            return 0;
    }
    return error_set(err, -EINVAL, "up to %d numbers from 0 to 100, such as 50,99,99.9",
                     LOADGEN_PERCENTILES_MAX);
}

/* The words are ab's; OpenSSL 3 has the oldest no more, and nobody should use those in between. */
int loadgen_parse_tls_version(const char *text, enum tls_version *ret, struct error *err) {
    static const struct {
        const char *word;
        bool is_offered;
        enum tls_version version;
    } words[] = {
        { "ALL", true, TLS_VERSION_ANY },     { "TLS1.2", true, TLS_VERSION_1_2 },
        { "TLS1.3", true, TLS_VERSION_1_3 },  { "SSL2", false, TLS_VERSION_ANY },
        { "SSL3", false, TLS_VERSION_ANY },   { "TLS1", false, TLS_VERSION_ANY },
        { "TLS1.0", false, TLS_VERSION_ANY }, { "TLS1.1", false, TLS_VERSION_ANY },
    };
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcasecmp(text, words[i].word) != 0)
            continue;
        *ret = words[i].version;
        if (words[i].is_offered)
            return 0;
        return error_set(err, -EINVAL,
                         "TLS1.2, TLS1.3 or ALL, which is both: older ones are broken");
    }
    return error_set(err, -EINVAL, "TLS1.2, TLS1.3 or ALL");
}

int loadgen_parse_sources(const char *text, struct loadgen_sources *ret, struct error *err) {
    struct slice rest = slice_str(text);
    ret->count = 0;
    while (rest.len > 0 && ret->count < LOADGEN_SOURCES_MAX) {
        struct slice host = slice_trim(slice_cut(&rest, ','));
        if (host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
            host = slice_of(host.ptr + 1, host.len - 2);
        struct endpoint endpoint = { .host = host };
        if (host.len == 0 || address_of_endpoint(&endpoint, false, &ret->addresses[ret->count]))
            break;
        ret->count++;
        if (rest.len == 0)
            return 0;
    }
    return error_set(err, -EINVAL, "up to %d IP addresses, such as 127.0.0.2,127.0.0.3",
                     LOADGEN_SOURCES_MAX);
}
