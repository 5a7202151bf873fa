/* SPDX-License-Identifier: MIT */
/* The rows of `srv bench`: ab's letters with long names, and our own. */
#include "cmd/bench_options.h"
#include "base/attr.h"
#include "bench/findmax.h"
#include "bench/rounds.h"
#include "net/control.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOAD     "Load"
#define RATE     "Open model"
#define REQUEST  "Request"
#define NETWORK  "Network"
#define EXPECT   "Expectations"
#define STREAMS  "Streams"
#define OUTPUT   "Output"
#define FILES    "Files"
#define MACHINES "Many machines"
#define TLS      "TLS"
#define DAY_NSEC (24 * 3600 * NSEC_PER_SEC)

/* One macro per type keeps a row to what is its own. */
#define AT(member) .offset = offsetof(struct bench_options, member)
#define FLAG(letter_, name_, topic_, member, help_)                                         \
    {                                                                                       \
        .name = name_, .letter = letter_, .topic = topic_, .type = OPTION_FLAG, AT(member), \
        .help = help_                                                                       \
    }
#define TEXT(letter_, name_, topic_, meta_, member, help_)                                       \
    {                                                                                            \
        .name = name_, .letter = letter_, .topic = topic_, .meta = meta_, .type = OPTION_STRING, \
        AT(member), .help = help_                                                                \
    }
#define TEXTS(letter_, name_, topic_, meta_, member, help_)                                       \
    {                                                                                             \
        .name = name_, .letter = letter_, .topic = topic_, .meta = meta_, .type = OPTION_STRINGS, \
        AT(member), .help = help_                                                                 \
    }
#define NUMBER(letter_, name_, topic_, meta_, member, min_, max_, fallback_, help_)           \
    {                                                                                         \
        .name = name_, .letter = letter_, .topic = topic_, .meta = meta_, .type = OPTION_INT, \
        AT(member), .min = min_, .max = max_, .fallback = fallback_, .help = help_            \
    }
#define COUNT(letter_, name_, topic_, meta_, member, max_, help_)                               \
    {                                                                                           \
        .name = name_, .letter = letter_, .topic = topic_, .meta = meta_, .type = OPTION_COUNT, \
        AT(member), .min = 1, .max = max_, .help = help_                                        \
    }
#define SPAN(letter_, name_, topic_, member, min_, max_, fallback_, help_)                    \
    {                                                                                         \
        .name = name_, .letter = letter_, .topic = topic_, .meta = "SECONDS",                 \
        .type = OPTION_DURATION, AT(member), .min = min_, .max = max_, .fallback = fallback_, \
        .help = help_                                                                         \
    }
#define CUSTOM(letter_, name_, topic_, meta_, parse_, help_)                                     \
    {                                                                                            \
        .name = name_, .letter = letter_, .topic = topic_, .meta = meta_, .type = OPTION_CUSTOM, \
        .parse = parse_, .help = help_                                                           \
    }

static int parse_metrics_address(void *config, const char *value, struct error *err) {
    ((struct bench_options *)config)->run.look.metrics_address = value;
    return control_check(value, err);
}

static int parse_rate(void *config, const char *value, struct error *err) {
    return loadgen_parse_rate(value, &((struct bench_options *)config)->run.rate, err);
}

static int parse_burst(void *config, const char *value, struct error *err) {
    return loadgen_parse_burst(value, &((struct bench_options *)config)->run.burst, err);
}

#define LAWS_BYTES (1u << 20) /* bytes of lists in a law */

static int parse_think(void *config, const char *value, struct error *err) {
    struct loadgen_config *c = &((struct bench_options *)config)->run;
    c->think_text = value;
    arena_free(&c->laws);
    arena_init(&c->laws, LAWS_BYTES);
    return loadgen_parse_think(value, &c->laws, &c->think, err);
}

static int parse_stages(void *config, const char *value, struct error *err) {
    return loadgen_parse_stages(value, &((struct bench_options *)config)->run.stages, err);
}

static int parse_start(void *config, const char *value, struct error *err) {
    return load_start_parse(value, &((struct bench_options *)config)->run.start, err);
}

static int parse_shard(void *config, const char *value, struct error *err) {
    struct share *share = &((struct bench_options *)config)->run.shard.share;
    return load_shard_parse(value, getenv("JOB_COMPLETION_INDEX"), share, err);
}

static int parse_sources(void *config, const char *value, struct error *err) {
    struct loadgen_sources checked = { .count = 0 };
    int rc = loadgen_parse_sources(value, &checked, err);
    if (rc == 0)
        ((struct bench_options *)config)->run.sources = value;
    return rc;
}

static int parse_percentiles(void *config, const char *value, struct error *err) {
    return loadgen_parse_percentiles(value, &((struct bench_options *)config)->run.percentiles,
                                     err);
}

static int parse_expect_status(void *config, const char *value, struct error *err) {
    return expect_status_parse(value, &((struct bench_options *)config)->run.expect_status, err);
}

static int parse_fail_if(void *config, const char *value, struct error *err) {
    return threshold_parse(value, &((struct bench_options *)config)->run.fail_if, err);
}

static int parse_abort_if(void *config, const char *value, struct error *err) {
    return threshold_parse(value, &((struct bench_options *)config)->run.abort_if, err);
}

static int parse_tls_version(void *config, const char *value, struct error *err) {
    return loadgen_parse_tls_version(value, &((struct bench_options *)config)->run.tls_version,
                                     err);
}

static int parse_speed(void *config, const char *value, struct error *err) {
    return loadgen_parse_speed(value, &((struct bench_options *)config)->run.replay_speed, err);
}

static int parse_replay_methods(void *config, const char *value, struct error *err) {
    return loadgen_parse_methods(value, &((struct bench_options *)config)->run.replay_methods, err);
}

static const char *const orders[] = { "auto", "in-order", "weighted", "random", NULL };
static const char *const resumes[] = { "off", "on", NULL };
static const char *const streams[] = { "off", "sse", "json-lines", "auto", NULL };
static int parse_find_max(void *config, const char *value, struct error *err) {
    return findmax_parse(value, &((struct bench_options *)config)->run.find_max, err);
}

static int parse_at_least(void *config, const char *value, struct error *err) {
    double load;
    int rc = loadgen_parse_rate(value, &load, err);
    if (rc == 0)
        ((struct bench_options *)config)->run.at_least = value;
    return rc;
}

static int parse_tolerance(void *config, const char *value, struct error *err) {
    return rounds_parse_tolerance(value, &((struct bench_options *)config)->run.tolerance, err);
}

static const char *const find_bys[] = { "rate", "connections", NULL };
static const char *const cookies[] = { "off", "keep", NULL };
static const char *const arrivals[] = { "even", "poisson", NULL };

static const struct option_row bench_rows[] = {
    COUNT('n', "requests", LOAD, "N", run.requests, INT64_MAX,
          "requests to perform; one per connection when absent, or no limit with --time"),
    COUNT('c', "concurrency", LOAD, "N", run.concurrency, LOADGEN_CONCURRENCY_MAX,
          "connections at once, all opened at the start: 1; with --rate the most there may be: "
          "500"),
    SPAN('t', "time", LOAD, run.time_limit, NSEC_PER_MSEC, 365 * DAY_NSEC, NULL,
         "stop after this time, or after --requests, whichever comes first; 10 s when --rate has "
         "neither"),
    SPAN('s', "timeout", LOAD, run.timeout, NSEC_PER_MSEC, DAY_NSEC, "30",
         "longest time of one request, connecting included; one that takes longer has failed"),
    FLAG('k', "keep-alive", LOAD, run.keep_alive, "reuse connections"),
    COUNT(0, "requests-per-connection", LOAD, "N", run.requests_per_connection, UINT32_MAX,
          "with --keep-alive: close a connection after this many requests"),
    NUMBER('W', "workers", LOAD, "N", run.workers, 1, LOADGEN_WORKERS_MAX, "1",
           "threads, which share the connections and the requests"),
    NUMBER('R', "ramp", LOAD, "MSEC", ramp_msec, 1, 3600 * 1000, NULL,
           "milliseconds between the starts of two connections"),
    SPAN(
        0, "warmup", LOAD, run.warmup, NSEC_PER_MSEC, DAY_NSEC, NULL,
        "load for this long first; what begins then is not counted, nor are its requests and time"),
    SPAN(0, "drain", LOAD, run.drain, NSEC_PER_MSEC, DAY_NSEC, NULL,
         "after --time, wait so long for the answers to requests in flight"),
    FLAG('r', "ignore-errors", LOAD, run.ignore_errors,
         "go on after a socket error (refused, reset)"),
    FLAG('l', "variable-length", LOAD, run.variable_length,
         "with --ab-strict: bodies of different lengths are no failures; else they never are"),
    FLAG(0, "strict", LOAD, run.strict,
         "refuse responses that break the grammar, also where their meaning is plain"),
    FLAG(0, "ab-strict", LOAD, run.ab_strict,
         "as ab: HTTP/1.0, one connection until the first response, only ab's lines"),

    CUSTOM(0, "rate", RATE, "N[/s|/m]", parse_rate,
           "plan so many requests per second, answered or not; latency counts from the plan"),
    { .name = "arrivals",
      .topic = RATE,
      .type = OPTION_CHOICE,
      AT(run.arrivals),
      .choices = arrivals,
      .fallback = "even",
      .help = "planned times at even distances, or at random as independent users come" },
    CUSTOM(0, "stages", RATE, "LEVEL:LENGTH,...", parse_stages,
           "rates or connections that change: '10/s:30s, 100/s:1m' goes in straight lines, "
           "'=100/s:1m' steps, '50c:1m' is connections"),
    CUSTOM(0, "burst", RATE, "N/INTERVAL", parse_burst,
           "plan N requests at once, every INTERVAL: 100/10s; alone, or beside --rate or --stages"),
    FLAG(0, "no-catch-up", RATE, run.no_catch_up,
         "drop planned requests that no connection is free for, instead of sending them late"),
    CUSTOM(0, "think", LOAD, "LAW", parse_think,
           "each connection pauses after each request: 1s, exp:1s, uniform:0.5s-2s"),
    NUMBER(0, "seed", RATE, "N", run.seed, 0, INT64_MAX, "1",
           "of random arrivals and think times, of the order of lines and of templates"),

    TEXTS('H', "header", REQUEST, "'NAME: VALUE'", run.headers, "add or replace a header field"),
    TEXTS('C', "cookie", REQUEST, "NAME=VALUE", run.cookies, "send a cookie"),
    TEXT('A', "auth", REQUEST, "USER:PASSWORD", run.credentials, "send Basic credentials"),
    TEXT('m', "method", REQUEST, "METHOD", run.method, "the request method"),
    FLAG('i', "head", REQUEST, run.head, "send HEAD requests"),
    TEXT('p', "post", REQUEST, "FILE", run.post_file, "send this file with POST; - is stdin"),
    TEXT('u', "put", REQUEST, "FILE", run.put_file, "send this file with PUT; - is stdin"),
    TEXT(0, "body", REQUEST, "TEXT|@FILE", run.body_text,
         "send this text, or this file (@- is stdin), with POST unless --method"),
    TEXTS(
        'F', "form", REQUEST, "NAME=VALUE", run.form,
        "a field of a multipart form, NAME=@FILE a file; ;type= and ;filename= as curl takes them"),
    NUMBER(0, "follow", REQUEST, "N", run.follow, 0, 50, "0",
           "follow up to N redirects of a request within the server that is loaded"),
    { .name = "cookies",
      .topic = REQUEST,
      .type = OPTION_CHOICE,
      AT(run.cookie_policy),
      .choices = cookies,
      .fallback = "off",
      .help = "keep: each connection keeps cookies as a browser does, and sends them back" },
    TEXT(0, "body-stream", REQUEST, "FILE", run.body_stream,
         "send this file in pieces, of any size, with POST unless --method"),
    FLAG(0, "chunked", REQUEST, run.chunked, "send the body in chunks, without its length"),
    FLAG(0, "expect-continue", REQUEST, run.expect_continue,
         "send the body when the server says 100 Continue, or after a second"),
    FLAG(0, "compressed", REQUEST, run.compressed,
         "ask for gzip, deflate or br; bodies are decoded, and both sizes counted"),
    TEXT('T', "content-type", REQUEST, "TYPE", run.content_type,
         "Content-Type of the body; text/plain when absent"),
    TEXT(0, "requests-file", REQUEST, "FILE", run.requests_file,
         "send the requests of the lines of this file; - is stdin"),
    { .name = "requests-order",
      .topic = REQUEST,
      .type = OPTION_CHOICE,
      AT(run.requests_order),
      .choices = orders,
      .fallback = "auto",
      .help = "how lines follow each other; auto is weighted when a line has a weight, else "
              "in-order" },
    FLAG(0, "templates", REQUEST, run.templates,
         "replace {{seq}}, {{uuid}}, {{random:1-9}}, {{csv:FILE:COLUMN}} and the like in URLs, "
         "headers and bodies"),
    TEXT(0, "replay", REQUEST, "FILE", run.replay,
         "send the requests of an access log, by its times; - is stdin"),
    CUSTOM(0, "speed", REQUEST, "FACTOR", parse_speed,
           "with --replay: so many times as fast; 1 when absent"),
    CUSTOM(0, "replay-methods", REQUEST, "METHOD[,...]", parse_replay_methods,
           "with --replay: the methods that are sent, without a body; GET,HEAD when absent"),
    FLAG(0, "http1.0", REQUEST, run.http10, "speak HTTP/1.0, as ab does"),

    TEXT('X', "proxy", NETWORK, "HOST[:PORT]", run.proxy, "send requests to this proxy"),
    TEXT('P', "proxy-auth", NETWORK, "USER:PASSWORD", run.proxy_credentials,
         "send Basic credentials to the proxy"),
    TEXT(0, "unix-socket", NETWORK, "PATH", run.unix_path,
         "connect to this socket; a URL unix:/path[:/target] does the same"),
    TEXTS(0, "resolve", NETWORK, "HOST:PORT:ADDRESS[,...]", run.resolve,
          "take these addresses for the name, in turns, instead of looking it up"),
    FLAG('4', "ipv4", NETWORK, run.ipv4, "connect to IPv4 addresses only"),
    FLAG('6', "ipv6", NETWORK, run.ipv6, "connect to IPv6 addresses only"),
    CUSTOM('B', "source", NETWORK, "ADDRESS[,...]", parse_sources,
           "local addresses to connect from, in turns"),
    CUSTOM('o', NULL, NETWORK, "ADDRESS[,...]", parse_sources, "the same as --source"),
    { .name = "window",
      .letter = 'b',
      .topic = NETWORK,
      .meta = "BYTES",
      .type = OPTION_SIZE,
      AT(run.window_bytes),
      .min = 1,
      .max = INT32_MAX / 2,
      .help = "size of the sockets' send and receive buffers" },

    TEXT(0, "cacert", TLS, "FILE", run.ca_file,
         "trusted certificates of authorities in PEM, instead of the system's"),
    FLAG(0, "insecure", TLS, run.insecure,
         "believe every certificate; --ab-strict does, unless --cacert is given"),
    TEXT('E', "client-certificate", TLS, "FILE", run.client_certificate,
         "certificate, its chain and its key in PEM, for servers that ask"),
    FLAG('I', "no-sni", TLS, run.hides_name, "do not tell the server its name"),
    TEXT('Z', "ciphers", TLS, "LIST", run.ciphers,
         "as openssl ciphers; names of TLS 1.3 may be among them"),
    CUSTOM('f', "tls-version", TLS, "TLS1.2|TLS1.3|ALL", parse_tls_version,
           "the version of TLS; ALL when absent"),
    { .name = "tls-resume",
      .topic = TLS,
      .type = OPTION_CHOICE,
      AT(run.tls_resume),
      .choices = resumes,
      .fallback = "off",
      .help = "whether new connections resume the session of an earlier one" },

    CUSTOM(0, "expect-status", EXPECT, "STATUS[,...]", parse_expect_status,
           "any other status is a failure: 200,204 or 2xx"),
    TEXT(0, "expect-body", EXPECT, "TEXT", run.expect_body,
         "a body without this text is a failure"),
    CUSTOM(0, "fail-if", EXPECT, "CONDITION", parse_fail_if,
           "exit with 4 if so at the end: 'p99>200ms' 'errors>0.1%' 'rps<500'; repeatable; errors "
           "are failures and, without --expect-status, answers that are not 2xx"),
    CUSTOM(0, "abort-if", EXPECT, "CONDITION", parse_abort_if,
           "stop, and exit with 4, as soon as it is so; looked at every second; repeatable"),
    CUSTOM(0, "find-max", EXPECT, "CONDITION", parse_find_max,
           "find the highest rate that holds it: 'p99<200ms' 'errors<0.1%'; repeatable, all must "
           "hold"),
    { .name = "find-max-by",
      .topic = EXPECT,
      .type = OPTION_CHOICE,
      AT(run.find_by),
      .choices = find_bys,
      .fallback = "rate",
      .help = "what is searched: a planned rate, or a number of connections" },
    SPAN(0, "find-max-time", EXPECT, run.find_time, 5 * NSEC_PER_SEC, DAY_NSEC, "60",
         "with --find-max: the time for the whole search"),
    CUSTOM(0, "at-least", EXPECT, "N", parse_at_least,
           "with --find-max: exit with 4 when less is found"),
    NUMBER(0, "rounds", EXPECT, "N", run.rounds, 1, 64, NULL,
           "so many runs of the URL, or of two URLs in turns, which are compared as whole runs"),
    TEXTS(0, "server-command", EXPECT, "COMMAND", run.server_commands,
          "with --rounds, twice: start this server at the URL for each of its runs, and stop it; "
          "they "
          "are compared instead of URLs"),
    TEXT(0, "compare", EXPECT, "FILE", run.compare_path,
         "compare with the --json of earlier --rounds; 5 rounds unless --rounds says so"),
    TEXT(0, "metric", EXPECT, "METRIC", run.metric,
         "rate, mean, p50, p99 or errors: the one whose regression counts; any when absent"),
    { .name = "tolerance",
      .topic = EXPECT,
      .meta = "P%",
      .type = OPTION_CUSTOM,
      .parse = parse_tolerance,
      .fallback = "5%",
      .help = "exit with 4 when the second URL, or the new runs, are surely worse by more" },

    { .name = "stream",
      .topic = STREAMS,
      .type = OPTION_CHOICE,
      AT(run.stream),
      .choices = streams,
      .fallback = "off",
      .help = "time the events of 2xx answers: server-sent events, lines of JSON, or what "
              "Content-Type says" },
    SPAN(0, "stall", STREAMS, run.stall, NSEC_PER_USEC, DAY_NSEC, "1",
         "with --stream: a longer gap between two events is a stall"),
    TEXT(0, "stream-end", STREAMS, "TEXT", run.stream_end,
         "with --stream: a stream whose last event is not this, such as [DONE], is a failure; "
         "[DONE] is told from events in any case, unless this is another or empty"),

    FLAG(0, "server-timing", OUTPUT, run.server.timing,
         "tell where the time went, by the Server-Timing of answers: srv serve --server-timing"),
    TEXTS(0, "server-metrics", OUTPUT, "URL", run.server.metrics,
          "read a server's Prometheus counters before and after, and tell how they grew: "
          "http://127.0.0.1:3001/metrics or unix:/path; repeatable"),
    TEXT(0, "server-metrics-match", OUTPUT, "PATTERN[,...]", run.server.metrics_match,
         "the names of counters that are told, such as 'srv_*,process_cpu_*'; all when absent"),
    TEXT(0, "server-timing-parts", OUTPUT, "NAME[,...]", run.server.timing_parts,
         "the metrics that are parts of the wait; all but total, planned and actual when absent"),
    FLAG('q', "quiet", OUTPUT, run.quiet, "no progress on stderr"),
    FLAG('Q', "no-banner", OUTPUT, run.no_banner, "do not say who we are"),
    FLAG(0, "progress", OUTPUT, run.progress,
         "a line per second on stderr; on a terminal it is there without being asked for"),
    FLAG(0, "live", OUTPUT, run.look.live,
         "show the run on the whole screen of a terminal; elsewhere as --progress"),
    FLAG('d', "no-percentiles", OUTPUT, run.no_percentiles, "no table of percentiles"),
    FLAG('S', "no-confidence", OUTPUT, run.no_confidence,
         "no standard deviations, medians and warnings"),
    CUSTOM(0, "percentiles", OUTPUT, "P[,...]", parse_percentiles,
           "print these percentiles in microseconds' precision: 50,99,99.9"),
    FLAG('w', "html", OUTPUT, run.html, "print the report as HTML tables"),
    TEXT('x', "table-attributes", OUTPUT, "TEXT", run.html_table,
         "attributes of <table>; turns --html on"),
    TEXT('y', "row-attributes", OUTPUT, "TEXT", run.html_row,
         "attributes of <tr>; turns --html on"),
    TEXT('z', "cell-attributes", OUTPUT, "TEXT", run.html_cell,
         "attributes of <td> and <th>; turns --html on"),
    NUMBER('v', "verbosity", OUTPUT, "LEVEL", run.verbosity, 0, VERBOSE_MAX, "0",
           "2: show the request and the fields of responses on stderr, 3: and each status"),
    FLAG('V', "version", OUTPUT, version, "print the version and exit"),

    TEXT(0, "json", FILES, "FILE", run.json_path,
         "write the report as JSON too; - is stdout, and moves the text to stderr"),
    FLAG(0, "json-line", FILES, run.json_line,
         "write the JSON report on one line, to stdout unless --json names a file"),
    TEXT('e', "percentages", FILES, "FILE", run.percentiles_path,
         "write CSV with the milliseconds of each percentage from 0 to 100"),
    TEXT(0, "spectrum", FILES, "FILE", run.spectrum_path,
         "write the percentile spectrum for HdrHistogram's plotter"),
    TEXT('g', "gnuplot", FILES, "FILE", run.gnuplot_path,
         "write a tab-separated line per request, in milliseconds"),
    TEXT(0, "csv", FILES, "FILE", run.csv_path,
         "write a line per request, in start order and microseconds"),
    CUSTOM(0, "prometheus", FILES, "ADDR", parse_metrics_address,
           "answer GET /metrics there while the run goes on"),
    SPAN(0, "prometheus-hold", FILES, run.look.metrics_hold, NSEC_PER_MSEC, DAY_NSEC, NULL,
         "with --prometheus: after the run wait so long for one more scrape"),
    TEXT(0, "series-csv", FILES, "FILE", run.look.series_path,
         "write a line of CSV per second: rate, failures, p50, p99, slowest"),
    TEXT(0, "hlog", FILES, "FILE", run.look.hlog_path,
         "write the histogram of each second as a log of HdrHistogram, in microseconds"),
    TEXT(0, "ticks", FILES, "FILE", run.look.ticks_path,
         "write a JSON object per tenth of a second, as it ends: answers, failures, latencies"),
    TEXT(0, "report", FILES, "FILE", run.look.page_path,
         "write the report as a page for a browser, in one file; - is stdout"),
    TEXT(0, "against", FILES, "FILE", run.look.against_path,
         "with --report: show the run of this JSON beside"),
    TEXT(0, "report-from", FILES, "FILE", run.look.page_from,
         "load nothing: make the page of --report from the JSON of an earlier run"),
    TEXT(0, "ndjson", FILES, "FILE", run.ndjson_path, "write a JSON object per request and line"),

    { .name = "start-at",
      .env = "SRV_START_AT",
      .topic = MACHINES,
      .meta = "TIME",
      .type = OPTION_CUSTOM,
      .parse = parse_start,
      .help = "begin then: 2026-11-23T01:02:03Z, seconds since 1970, +5s, or */10s for the next "
              "multiple of 10 s" },
    { .name = "shard",
      .env = "SRV_SHARD",
      .topic = MACHINES,
      .meta = "I/N",
      .type = OPTION_CUSTOM,
      .parse = parse_shard,
      .help = "do one part of the load, I from 0 or from 1; N alone takes I from "
              "JOB_COMPLETION_INDEX" },
    FLAG(0, "merge", MACHINES, merge,
         "load nothing: print one report from the reports in the files, folders and logs that are "
         "given instead of a URL; - is stdin"),
    SPAN(0, "merge-skew", MACHINES, run.merge_skew, 0, DAY_NSEC, "1",
         "with --merge: the runs may begin so far apart"),
    FLAG(
        0, "merge-anyway", MACHINES, run.merge_anyway,
        "with --merge: also runs that are not one load: that overlap for less than 95 %, asked for "
        "other things, or of which a shard is missing"),
};

/* Names that other load generators have for these options. */
static const struct option_alias aliases[] = {
    { "duration", "time" }, { "connections", "concurrency" }, { "threads", "workers" },
    { "data", "body" },     { "output-format", "json" },      { "qps", "rate" },
    { NULL, NULL },
};

const struct option_spec bench_spec = {
    .usage = "srv bench [options] URL",
    .summary = "Loads an HTTP server and reports like ApacheBench (ab), whose options it takes.",
    .epilog = "Exit codes: 0 a request succeeded; 1 could not connect, or a socket error\n"
              "without --ignore-errors; 2 bad option; 3 connected, but no request succeeded;\n"
              "4 a condition of --fail-if or --abort-if came true, --find-max found less\n"
              "than --at-least, or --rounds show a regression beyond --tolerance; 130 and 143\n"
              "stopped by SIGINT and SIGTERM. The report is printed in all cases but 2.",
    .rows = bench_rows,
    .row_count = ARRAY_LEN(bench_rows),
    .positional = "URL",
    .positional_min = 0,
    .aliases = aliases,
    .positional_max = OPTION_STRINGS_MAX,
};

static bool is_among(const char *word, const char *const *words, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(word, words[i]) == 0)
            return true;
    return false;
}

bool bench_option_loads(const struct option_row *row) {
    static const char *const topics[] = { LOAD, RATE, REQUEST, NETWORK, EXPECT, STREAMS, TLS };
    static const char *const others[] = { "start-at",        "shard",    "csv",
                                          "ndjson",          "gnuplot",  "prometheus",
                                          "prometheus-hold", "hlog",     "series-csv",
                                          "ticks",           "verbosity" };
    static const char *const of_report[] = { "ab-strict", "variable-length", "fail-if" };
    if (is_among(row->name, of_report, ARRAY_LEN(of_report)))
        return false;
    return is_among(row->topic, topics, ARRAY_LEN(topics)) ||
           is_among(row->name, others, ARRAY_LEN(others)) ||
           (bench_option_tells(row) && strcmp(row->name, "percentiles") != 0);
}

bool bench_option_tells(const struct option_row *row) {
    static const char *const options[] = { "percentiles",
                                           "progress",
                                           "live",
                                           "server-timing",
                                           "server-timing-parts",
                                           "server-metrics",
                                           "server-metrics-match" };
    return is_among(row->name, options, ARRAY_LEN(options));
}

bool bench_option_makes_no_page(const struct option_row *row) {
    static const char *const options[] = { "report-from", "report", "against", "quiet",
                                           "no-banner" };
    return !is_among(row->name, options, ARRAY_LEN(options));
}
