/* SPDX-License-Identifier: MIT */
/* Prepares a run, lets the worker do it, and prints what came out, whatever ended it. */
#include "loadgen/run.h"
#include "loadgen/report.h"
#include "loadgen/verbose.h"
#include "loadgen/worker.h"
#include "net/signals.h"
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/resource.h>

enum { OTHER_DESCRIPTORS = 32 }; /* standard streams, epoll, timers, signals, and room to spare */

struct run {
    const struct loadgen_config *config;
    struct target target;
    struct request request;
    struct worker worker;
    int signo; /* that stopped it; 0: none */
};

/* Raises the soft limit of descriptors to the hard one. */
static int raise_descriptors(const struct loadgen_config *c, struct error *err) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return error_set(err, -errno, "cannot read the limit of descriptors: %s", strerror(errno));
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return error_set(err, -errno, "cannot raise the limit of descriptors: %s", strerror(errno));
    if ((uint64_t)c->concurrency + OTHER_DESCRIPTORS > limit.rlim_max)
        return error_set(err, -EINVAL,
                         "--concurrency %" PRId64 " needs more descriptors than the %" PRIu64
                         " that this process may have (ulimit -Hn)",
                         c->concurrency, (uint64_t)limit.rlim_max);
    return 0;
}

static void on_signal(void *arg, int signo) {
    struct run *run = arg;
    if (signo == SIGUSR1)
        return;
    run->signo = signo;
    worker_stop(&run->worker, WORKER_END_SIGNAL);
}

static const char *stopped_by(const struct run *run) {
    if (run->worker.end == WORKER_END_ERROR)
        return "error";
    if (run->worker.end != WORKER_END_SIGNAL)
        return NULL;
    switch (run->signo) {
    case SIGINT:
        return "SIGINT";
    case SIGTERM:
        return "SIGTERM";
    default:
        return "a signal";
    }
}

static int write_json(const struct report *report, struct error *err) {
    const char *path = report->config->json_path;
    bool to_stdout = strcmp(path, "-") == 0;
    FILE *out = to_stdout ? stdout : fopen(path, "we");
    int rc = out != NULL ? report_json(out, report) : -errno;
    if (!to_stdout && out != NULL && fclose(out) != 0 && rc == 0)
        rc = -errno;
    if (rc != 0)
        return error_set(err, rc, "cannot write %s: %s", path, strerror(-rc));
    return 0;
}

static int exit_code(const struct run *run) {
    const struct tally *t = &run->worker.tally;
    if (run->worker.end == WORKER_END_SIGNAL)
        return LOADGEN_EXIT_SIGNAL + run->signo;
    if (run->worker.end == WORKER_END_ERROR || t->connections == 0)
        return EXIT_CANNOT;
    return t->succeeded > 0 ? 0 : LOADGEN_EXIT_NO_SUCCESS;
}

/* With JSON on stdout the text goes where it does not disturb. */
static FILE *text_stream(const struct loadgen_config *c) {
    return c->json_path != NULL && strcmp(c->json_path, "-") == 0 ? stderr : stdout;
}

static int load(struct run *run, struct error *err) {
    FILE *out = text_stream(run->config);
    struct signals *signals = signals_new(run->worker.loop, on_signal, run, err);
    if (signals == NULL)
        return EXIT_CANNOT;
    report_text_start(out, run->config, &run->target);
    int rc = worker_run(&run->worker);
    signals_free(signals);

    struct report report = {
        .config = run->config,
        .target = &run->target,
        .request = &run->request,
        .tally = &run->worker.tally,
        .stopped_by = stopped_by(run),
    };
    report_text(out, &report);
    if (run->config->json_path != NULL && write_json(&report, err) != 0)
        return EXIT_CANNOT;
    if (rc != 0) {
        error_set(err, rc, "the event loop failed: %s", strerror(-rc));
        return EXIT_CANNOT;
    }
    return exit_code(run);
}

/* What is wrong with the values is a matter of usage, what is wrong with the world is not. */
static int code_of(int rc) {
    return rc == -EINVAL ? EXIT_USAGE : EXIT_CANNOT;
}

int loadgen_run(const struct loadgen_config *config, struct error *err) {
    struct run run = { .config = config };
    err->text[0] = '\0';
    int rc = loadgen_config_check(config, err);
    if (rc == 0)
        rc = target_parse(&run.target, config->url, err);
    if (rc == 0)
        rc = raise_descriptors(config, err);
    if (rc == 0)
        rc = request_build(&run.request, config, &run.target, err);
    if (rc != 0)
        return code_of(rc);
    if (config->verbosity >= VERBOSE_REQUEST)
        verbose_request(&run.request);

    int code = EXIT_CANNOT;
    rc = target_resolve(&run.target, config->timeout, err);
    if (rc == 0)
        rc = worker_init(&run.worker, config, &run.request, &run.target, err);
    if (rc == 0) {
        code = load(&run, err);
        worker_free(&run.worker);
    }
    request_free(&run.request);
    return code;
}
