/* SPDX-License-Identifier: MIT */
/* `srv bench`: ab's options, with long names, to the config of a run. */
#include "base/attr.h"
#include "cmd/command.h"
#include "cmd/common.h"
#include "loadgen/run.h"
#include "loadgen/verbose.h"
#include <string.h>

#define LOAD         "Load"
#define REQUEST      "Request"
#define OUTPUT       "Output"
#define MEMBER(name) .offset = offsetof(struct bench_options, name)
#define RUN(name)    .offset = offsetof(struct bench_options, run.name)

struct bench_options {
    struct loadgen_config run;
    bool version;
};

static const struct option_row bench_rows[] = {
    { .name = "requests",
      .letter = 'n',
      .topic = LOAD,
      .meta = "N",
      .type = OPTION_INT,
      RUN(requests),
      .min = 1,
      .max = INT64_MAX,
      .help = "requests to perform; 1, or no limit with --time" },
    { .name = "concurrency",
      .letter = 'c',
      .topic = LOAD,
      .meta = "N",
      .type = OPTION_INT,
      RUN(concurrency),
      .min = 1,
      .max = LOADGEN_CONCURRENCY_MAX,
      .fallback = "1",
      .help = "connections at once, all opened at the start" },
    { .name = "time",
      .letter = 't',
      .topic = LOAD,
      .meta = "SECONDS",
      .type = OPTION_DURATION,
      RUN(time_limit),
      .min = NSEC_PER_MSEC,
      .max = 365 * 24 * 3600 * NSEC_PER_SEC,
      .help = "stop after this time, or after --requests, whichever comes first" },
    { .name = "timeout",
      .letter = 's',
      .topic = LOAD,
      .meta = "SECONDS",
      .type = OPTION_DURATION,
      RUN(timeout),
      .min = NSEC_PER_MSEC,
      .max = 24 * 3600 * NSEC_PER_SEC,
      .fallback = "30",
      .help =
          "longest time of one request, connecting included; one that takes longer has failed" },
    { .name = "keep-alive",
      .letter = 'k',
      .topic = LOAD,
      .type = OPTION_FLAG,
      RUN(keep_alive),
      .help = "reuse connections" },
    { .name = "ignore-errors",
      .letter = 'r',
      .topic = LOAD,
      .type = OPTION_FLAG,
      RUN(ignore_errors),
      .help = "go on after a socket error (refused, reset)" },
    { .name = "variable-length",
      .letter = 'l',
      .topic = LOAD,
      .type = OPTION_FLAG,
      RUN(variable_length),
      .help = "bodies of different lengths are no failures" },

    { .name = "header",
      .letter = 'H',
      .topic = REQUEST,
      .meta = "'NAME: VALUE'",
      .type = OPTION_STRINGS,
      RUN(headers),
      .help = "add or replace a header field" },
    { .name = "cookie",
      .letter = 'C',
      .topic = REQUEST,
      .meta = "NAME=VALUE",
      .type = OPTION_STRINGS,
      RUN(cookies),
      .help = "send a cookie" },
    { .name = "auth",
      .letter = 'A',
      .topic = REQUEST,
      .meta = "USER:PASSWORD",
      .type = OPTION_STRING,
      RUN(credentials),
      .help = "send Basic credentials" },
    { .name = "method",
      .letter = 'm',
      .topic = REQUEST,
      .meta = "METHOD",
      .type = OPTION_STRING,
      RUN(method),
      .help = "the request method" },
    { .name = "head",
      .letter = 'i',
      .topic = REQUEST,
      .type = OPTION_FLAG,
      RUN(head),
      .help = "send HEAD requests" },
    { .name = "post",
      .letter = 'p',
      .topic = REQUEST,
      .meta = "FILE",
      .type = OPTION_STRING,
      RUN(post_file),
      .help = "send this file with POST" },
    { .name = "put",
      .letter = 'u',
      .topic = REQUEST,
      .meta = "FILE",
      .type = OPTION_STRING,
      RUN(put_file),
      .help = "send this file with PUT" },
    { .name = "content-type",
      .letter = 'T',
      .topic = REQUEST,
      .meta = "TYPE",
      .type = OPTION_STRING,
      RUN(content_type),
      .help = "Content-Type of the body; text/plain when absent" },
    { .name = "http1.0",
      .topic = REQUEST,
      .type = OPTION_FLAG,
      RUN(http10),
      .help = "speak HTTP/1.0, as ab does" },

    { .name = "json",
      .topic = OUTPUT,
      .meta = "FILE",
      .type = OPTION_STRING,
      RUN(json_path),
      .help = "write the report as JSON too; - is stdout, and moves the text to stderr" },
    { .name = "quiet",
      .letter = 'q',
      .topic = OUTPUT,
      .type = OPTION_FLAG,
      RUN(quiet),
      .help = "no progress on stderr" },
    { .name = "no-percentiles",
      .letter = 'd',
      .topic = OUTPUT,
      .type = OPTION_FLAG,
      RUN(no_percentiles),
      .help = "no table of percentiles" },
    { .name = "no-confidence",
      .letter = 'S',
      .topic = OUTPUT,
      .type = OPTION_FLAG,
      RUN(no_confidence),
      .help = "no standard deviations, medians and warnings" },
    { .name = "verbosity",
      .letter = 'v',
      .topic = OUTPUT,
      .meta = "LEVEL",
      .type = OPTION_INT,
      RUN(verbosity),
      .min = 0,
      .max = VERBOSE_FIELDS,
      .fallback = "0",
      .help = "2: show the request, 3: and every status, 4: and every header field, on stderr" },
    { .name = "version",
      .letter = 'V',
      .topic = OUTPUT,
      .type = OPTION_FLAG,
      MEMBER(version),
      .help = "print the version and exit" },
};

static const struct option_spec bench_spec = {
    .usage = "srv bench [options] URL",
    .summary = "Loads an HTTP server and reports like ApacheBench (ab), whose options it takes.",
    .epilog =
        "Exit codes: 0 a request succeeded; 1 could not connect, or a socket error without\n"
        "--ignore-errors; 2 bad option; 3 connected, but no request succeeded;\n"
        "130 and 143 stopped by SIGINT and SIGTERM. The report is printed in all cases but 2.",
    .rows = bench_rows,
    .row_count = ARRAY_LEN(bench_rows),
    .positional = "URL",
    .positional_min = 0,
    .positional_max = 1,
};

static int bench_run(int argc, char **argv) {
    struct bench_options options = { .version = false };
    struct option_strings positionals = { .count = 0 };
    struct error err = { .text = "" };
    int code;
    if (cmd_parse(&bench_spec, argc, argv, &options, &positionals, &code) != 0)
        return code;
    if (options.version) {
        printf("srv bench %s\n", SRV_VERSION);
        return 0;
    }
    if (positionals.count == 0) {
        error_set(&err, 0, "URL is missing; give http://HOST[:PORT]/PATH");
        return cmd_fail(argv[0], EXIT_USAGE, &err);
    }
    options.run.url = positionals.items[0];
    code = loadgen_run(&options.run, &err);
    return err.text[0] != '\0' ? cmd_fail(argv[0], code, &err) : code;
}

const struct command cmd_bench = {
    .name = "bench",
    .summary = "load an HTTP server; ab's options and report, honest latencies",
    .options = &bench_spec,
    .run = bench_run,
};
