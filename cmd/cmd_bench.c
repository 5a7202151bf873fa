/* SPDX-License-Identifier: MIT */
/* `srv bench`: from the command line to a run, or to a report merged from files. */
#include "base/alloc.h"
#include "cmd/bench_options.h"
#include "cmd/command.h"
#include "cmd/common.h"
#include "loadgen/merge.h"
#include "loadgen/run.h"
#include <errno.h>

/* What follows from other options. */
static void complete(struct loadgen_config *c, int64_t ramp_msec) {
    c->ramp = ramp_msec * NSEC_PER_MSEC;
    c->html = c->html || c->html_table != NULL || c->html_row != NULL || c->html_cell != NULL;
    if (c->concurrency > 0)
        return;
    c->concurrency = 1;
    if (c->rate > 0) {
        uint64_t budget = loadgen_config_budget(c);
        c->concurrency =
            budget < LOADGEN_CONCURRENCY_OPEN ? (int64_t)budget : LOADGEN_CONCURRENCY_OPEN;
    }
    if (c->concurrency < c->workers)
        c->concurrency = c->workers;
}

static int check_url(const struct bench_options *o, const struct option_strings *urls,
                     struct error *err) {
    if (o->tls_asked)
        return error_set(err, -EINVAL, "option -I: TLS is not in this build");
    if (urls->count == 0)
        return error_set(err, -EINVAL, "%s",
                         o->merge ? "--merge: give the JSON files to merge"
                                  : "URL is missing; give http://HOST[:PORT]/PATH");
    if (urls->count > 1 && !o->merge)
        return error_set(err, -EINVAL, "unexpected '%s': one URL is enough", urls->items[1]);
    return 0;
}

static int run_or_merge(struct bench_options *o, const struct option_strings *positionals,
                        struct error *err) {
    if (o->version) {
        printf("srv bench %s\n", SRV_VERSION);
        return 0;
    }
    if (check_url(o, positionals, err) != 0)
        return EXIT_USAGE;
    complete(&o->run, o->ramp_msec);
    if (o->merge)
        return loadgen_merge(&o->run, positionals, err);
    o->run.url = positionals->items[0];
    return loadgen_run(&o->run, err);
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
    if (cmd_parse(&bench_spec, argc, argv, options, &positionals, &code) == 0)
        code = run_or_merge(options, &positionals, &err);
    mem_free(options);
    return err.text[0] != '\0' ? cmd_fail(argv[0], code, &err) : code;
}

const struct command cmd_bench = {
    .name = "bench",
    .summary = "load an HTTP server; ab's options and report, honest latencies",
    .options = &bench_spec,
    .run = bench_run,
};
