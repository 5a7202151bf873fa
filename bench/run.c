/* SPDX-License-Identifier: MIT */
/* Prepares a load, and lets workers do runs of it; each leaves its report, whatever ended it. */
#include "bench/run.h"
#include "base/alloc.h"
#include "bench/conditions.h"
#include "bench/dashboard.h"
#include "bench/metrics.h"
#include "bench/output.h"
#include "bench/scrape.h"
#include "bench/summary.h"
#include "loadgen/mix.h"
#include "loadgen/report.h"
#include "loadgen/selfcheck.h"
#include "loadgen/worker.h"
#include "net/socket.h"
#include "net/thread.h"
#include "proc/signals.h"
#include <errno.h>
#include <inttypes.h>
#include <signal.h>

enum {
    OTHER_DESCRIPTORS = 32, /* per worker: epoll, timers, signals, and room to spare */
    THREAD_STACK_BYTES = 1 << 20,
};

struct thread {
    pthread_t id;
    struct load_worker worker;
    nsec_t start;
    int rc;
    bool is_running;
};

struct load_setup {
    struct target target;
    struct request request;
    struct expect_body expect;
    struct secure secure;
    struct loadgen_sources sources;
    struct load_moment start; /* the moment that is asked for */
    struct load_mix *mix;     /* NULL: the one request */
    struct secure *secures;   /* a mix's, by the number of the host */
    size_t secure_count;
    bool defers_signals; /* between runs */
};

struct load_run {
    const struct loadgen_config *config;
    const struct load_setup *setup;
    struct live live;
    struct selfcheck check;
    struct summary summary;
    struct load_started started;
    struct report report;
    bool has_report;
    struct thread *threads; /* the first one is ours */
    uint32_t count;
    int signo;               /* the signal that stopped it; 0: none */
    struct signals *signals; /* from load_run_go on, unless they are deferred */
};

/* Raises the soft limit of descriptors to the hard one. */
static int raise_descriptors(const struct loadgen_config *c, size_t hosts, struct error *err) {
    uint64_t limit;
    int rc = socket_raise_limit(&limit);
    if (rc < 0)
        return error_set(err, rc, "cannot raise the limit of descriptors: %s",
                         strerrordesc_np(-rc));
    uint64_t others = (uint64_t)OTHER_DESCRIPTORS * loadgen_config_workers(c);
    if ((uint64_t)c->concurrency * hosts + others > limit)
        return error_set(err, -EINVAL,
                         "--concurrency %" PRId64 "%s needs more descriptors than the %" PRIu64
                         " that this process may have (ulimit -Hn)",
                         c->concurrency, hosts > 1 ? ", for each host," : "", limit);
    return 0;
}

static void on_signal(void *arg, int signo) {
    struct load_run *run = arg;
    if (signo == SIGUSR1)
        return;
    run->signo = signo;
    live_stop(&run->live, RUN_END_SIGNAL); /* the first worker may have ended before the others */
    clients_stop(&run->threads[0].worker, RUN_END_SIGNAL);
}

static const char *stopped_by(const struct load_run *run) {
    switch (live_end(&run->live)) {
    case RUN_END_DONE:
    case RUN_END_TIME:
        return NULL;
    case RUN_END_ERROR:
        return "error";
    case RUN_END_CHANGE:
        return "a change of the file that requests come from";
    case RUN_END_ABORT:
        return run->live.aborted_by;
    case RUN_END_SIGNAL:
        break;
    }
    if (run->signo == SIGINT)
        return "SIGINT";
    return run->signo == SIGTERM ? "SIGTERM" : "a signal";
}

static int exit_code(const struct load_run *run, const struct report *report) {
    enum run_end end = live_end(&run->live);
    if (end == RUN_END_SIGNAL)
        return LOADGEN_EXIT_SIGNAL + run->signo;
    if (end == RUN_END_ERROR || end == RUN_END_CHANGE || report->counters->connections == 0)
        return EXIT_CANNOT;
    if (end == RUN_END_ABORT || conditions_hold(report))
        return LOADGEN_EXIT_THRESHOLD;
    return report->counters->succeeded > 0 ? 0 : LOADGEN_EXIT_NO_SUCCESS;
}

/* --- the workers ------------------------------------------------------------------------------ */

static void *thread_main(void *arg) {
    struct thread *thread = arg;
    thread->rc = worker_run(&thread->worker, thread->start);
    return NULL;
}

/* Signals are the first thread's, which has the loop that knows them. */
static int start_threads(struct load_run *run, nsec_t start, struct error *err) {
    int rc = 0;
    run->threads[0].start = start;
    for (uint32_t i = 1; i < run->count && rc == 0; i++) {
        struct thread *thread = &run->threads[i];
        thread->start = start;
        rc = thread_start(&thread->id, THREAD_STACK_BYTES, thread_main, thread);
        thread->is_running = rc == 0;
    }
    if (rc != 0) {
        live_stop(&run->live, RUN_END_ERROR);
        return error_set(err, rc, "cannot start a thread: %s", strerrordesc_np(-rc));
    }
    return 0;
}

/* Runs all and gathers what they counted in the first one. */
static int run_workers(struct load_run *run, nsec_t start, struct error *err) {
    struct thread *first = &run->threads[0];
    int rc = start_threads(run, start, err);
    if (rc == 0)
        thread_main(first);
    for (uint32_t i = 1; i < run->count; i++) {
        struct thread *thread = &run->threads[i];
        if (!thread->is_running)
            continue;
        pthread_join(thread->id, NULL);
        counters_merge(&first->worker.counters, &thread->worker.counters);
        names_merge(first->worker.counters.names, thread->worker.counters.names);
        answers_merge(&first->worker.answers, &thread->worker.answers);
        if (thread->rc != 0 && rc == 0)
            rc = thread->rc;
    }
    if (rc == 0 && first->rc != 0)
        rc = first->rc;
    if (rc != 0 && err->text[0] == '\0')
        error_set(err, rc, "the event loop failed: %s", strerrordesc_np(-rc));
    counters_settle(&first->worker.counters);
    return rc;
}

static void check_workers(struct load_run *run) {
    const struct counters *t = &run->threads[0].worker.counters;
    const struct resolved *to = &run->setup->target.addresses;
    selfcheck_end(&run->check, t->last_end - t->first_start, to->addresses, to->count);
    for (uint32_t i = 0; i < run->count; i++) {
        struct load_worker *w = &run->threads[i].worker;
        selfcheck_add_worker(&run->check, w->cpu, w->lateness.lag);
    }
}

/* --- the start -------------------------------------------------------------------------------- */

static bool awaits_start(const struct load_run *run) {
    return run->config->start.kind != LOAD_START_AT_ONCE;
}

/* Finds when the load begins. Nothing makes up for a moment that passed while we prepared. */
static struct load_moment find_start(struct load_run *run) {
    struct load_moment start = run->setup->start;
    nsec_t now = clock_now();
    run->started.was_awaited = awaits_start(run);
    if (!awaits_start(run))
        return (struct load_moment){ now, clock_wall() };
    nsec_t missed = run->started.missed = nsec_max(now - start.mono, 0);
    return (struct load_moment){ start.mono + missed, start.wall + missed };
}

static void look_at_start(struct load_run *run) {
    for (uint32_t i = 0; i < run->count; i++)
        run->started.late = nsec_max(run->started.late, run->threads[i].worker.begin_late);
    run->started.clock = load_clock_look();
}

static void tell_start(const struct load_run *run) {
    char text[CLOCK_TEXT_BYTES];
    const struct load_moment *start = &run->setup->start;
    double seconds = (double)(start->mono - clock_now()) / (double)NSEC_PER_SEC;
    if (awaits_start(run) && !run->config->quiet)
        fprintf(stderr, "srv bench: the load begins at %s, in %.3f s\n",
                clock_format(start->wall, text), seconds);
}

/* --- a run ------------------------------------------------------------------------------------ */

static int make_report(struct load_run *run, nsec_t started_wall, struct error *err) {
    const struct load_setup *setup = run->setup;
    struct load_worker *first = &run->threads[0].worker;
    if (summary_init(&run->summary, run->config, &first->counters, &run->check) != 0)
        return error_set(err, -ENOMEM, "out of memory for the report");
    run->report = (struct report){
        .config = run->config,
        .target = &setup->target,
        .request = &setup->request,
        .counters = &first->counters,
        .answers = &first->answers,
        .samples = &first->counters.samples,
        .live = &run->live,
        .check = &run->check,
        .mix = setup->mix,
        .summary = &run->summary,
        .sections = output_sections,
        .started_mono = run->live.measure_from,
        .started_wall = started_wall,
        .started = &run->started,
        .stopped_by = stopped_by(run),
    };
    run->has_report = true;
    return 0;
}

int load_run_go(struct load_run *run, struct error *err) {
    struct load_worker *first = &run->threads[0].worker;
    struct server_metrics **metrics = &first->counters.server_metrics;
    if (scrape_before(run->config, metrics, err) != 0) /* a signal ends us meanwhile */
        return EXIT_CANNOT;
    struct signals *signals = signals_new(first->loop, on_signal, run, err);
    if (signals == NULL)
        return EXIT_CANNOT;
    if (selfcheck_begin(&run->check) != 0) {
        signals_free(signals);
        error_set(err, -ENOMEM, "out of memory");
        return EXIT_CANNOT;
    }
    tell_start(run);
    struct load_moment start = find_start(run);
    nsec_t warmup = run->config->warmup;
    run->live.measure_from = start.mono + warmup;
    int rc = run_workers(run, start.mono, err);
    look_at_start(run);
    int signo = scrape_after(run->config, *metrics, counters_ended(&first->counters));
    if (signo != 0)
        on_signal(run, signo);
    if (run->setup->defers_signals) {
        signals_defer();
        signals_free(signals);
    } else {
        run->signals = signals;
    }
    live_finish(&run->live, first->counters.last_end);
    check_workers(run);
    if (make_report(run, start.wall + warmup, err) != 0 || rc != 0)
        return EXIT_CANNOT;
    return exit_code(run, &run->report);
}

const struct report *load_run_report(const struct load_run *run) {
    return run->has_report ? &run->report : NULL;
}

/* --- preparing -------------------------------------------------------------------------------- */

static int init_workers(struct load_run *run, struct error *err) {
    const struct load_setup *load = run->setup;
    uint32_t count = loadgen_config_workers(run->config);
    run->threads = mem_calloc(count, sizeof(*run->threads));
    if (run->threads == NULL || live_init(&run->live, run->config) != 0)
        return error_set(err, -ENOMEM, "out of memory");
    struct worker_setup setup = {
        .config = run->config,
        .request = &load->request,
        .target = &load->target,
        .expect = &load->expect,
        .secure = &load->secure,
        .mix = load->mix,
        .secures = load->secures,
        .sources = load->sources.count > 0 ? &load->sources : NULL,
        .live = &run->live,
        .share = { .count = count },
    };
    for (; setup.share.index < count; setup.share.index++) {
        int rc = worker_init(&run->threads[setup.share.index].worker, &setup, err);
        if (rc != 0)
            return rc;
        run->count++;
    }
    return 0;
}

int load_run_new(struct load_run **ret, const struct load_setup *setup,
                 const struct loadgen_config *config, struct error *err) {
    struct load_run *run = mem_calloc(1, sizeof(*run)); /* large for a stack */
    *ret = NULL;
    if (run == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    run->config = config;
    run->setup = setup;
    int rc = init_workers(run, err);
    if (rc != 0)
        load_run_free(run);
    else
        *ret = run;
    return rc;
}

void load_run_free(struct load_run *run) {
    if (run == NULL)
        return;
    signals_free(run->signals);
    for (uint32_t i = 0; i < run->count; i++)
        worker_free(&run->threads[i].worker);
    mem_free(run->threads);
    live_free(&run->live);
    summary_free(&run->summary);
    selfcheck_free(&run->check);
    mem_free(run);
}

/* A fault in the values is a matter of usage, a fault of the world is not. */
static int code_of(int rc) {
    return rc == -EINVAL ? EXIT_USAGE : EXIT_CANNOT;
}

static size_t hosts_of(const struct load_setup *load) {
    return load->mix != NULL ? mix_target_count(load->mix) : 1;
}

static int check_targets(const struct load_setup *load, const struct loadgen_config *config,
                         struct error *err) {
    const struct target *targets[MIX_TARGETS_MAX] = { &load->target };
    for (size_t i = 1; i < hosts_of(load); i++)
        targets[i] = mix_target(load->mix, i);
    return target_check(targets, hosts_of(load), config, err);
}

/* A mix has the requests and hosts that differ from the first. */
static int prepare_mix(struct load_setup *load, const struct loadgen_config *config,
                       struct error *err) {
    int rc = mix_open(&load->mix, config, &load->target, err);
    if (rc != 0 || load->mix == NULL)
        return rc;
    if (hosts_of(load) > 1 && loadgen_config_varies_connections(config))
        return error_set(err, -EINVAL, "--stages of connections need requests to one host");
    load->secures = mem_calloc(hosts_of(load), sizeof(*load->secures));
    if (load->secures == NULL)
        return error_set(err, -ENOMEM, "out of memory for the hosts");
    for (size_t i = 0; i < hosts_of(load) && rc == 0; i++) {
        rc = secure_init(&load->secures[i], config, mix_target(load->mix, i), err);
        load->secure_count++;
    }
    return rc;
}

static int prepare(struct load_setup *load, const struct loadgen_config *config,
                   struct error *err) {
    int rc = loadgen_config_check(config, err);
    if (rc == 0)
        rc = scrape_check(config, err);
    if (rc == 0)
        rc = load_start_find(&config->start, &load->start, err);
    if (rc == 0)
        rc = target_parse(&load->target, config->url, err);
    if (rc == 0)
        rc = target_via(&load->target, config->proxy, config->unix_path, err);
    if (rc == 0 && config->sources != NULL)
        rc = loadgen_parse_sources(config->sources, &load->sources, err);
    if (rc == 0)
        rc = request_build(&load->request, config, &load->target, err);
    if (rc == 0)
        rc = prepare_mix(load, config, err);
    if (rc == 0)
        rc = check_targets(load, config, err);
    if (rc == 0 && load->mix == NULL)
        rc = secure_init(&load->secure, config, &load->target, err);
    if (rc == 0)
        rc = raise_descriptors(config, hosts_of(load), err);
    return rc;
}

/* A name that is not found, and the like, is a fault of the world, whatever its code. */
static int complete(struct load_setup *load, const struct loadgen_config *config,
                    struct error *err) {
    if (config->verbosity >= VERBOSE_HEADS && load->mix == NULL)
        request_show(&load->request);
    int rc = target_resolve(&load->target, config, err);
    for (size_t i = 1; i < hosts_of(load) && rc == 0; i++)
        rc = target_resolve(mix_target(load->mix, i), config, err);
    if (rc == 0 && expect_body_init(&load->expect, config->expect_body) != 0)
        rc = error_set(err, -ENOMEM, "out of memory");
    return rc == 0 ? 0 : EXIT_CANNOT;
}

int load_setup_new(struct load_setup **ret, const struct loadgen_config *config,
                   struct error *err) {
    struct load_setup *load = mem_calloc(1, sizeof(*load));
    *ret = NULL;
    if (load == NULL) {
        error_set(err, -ENOMEM, "out of memory");
        return EXIT_CANNOT;
    }
    int rc = prepare(load, config, err);
    int code = rc == 0 ? complete(load, config, err) : code_of(rc);
    if (code != 0)
        load_setup_free(load);
    else
        *ret = load;
    return code;
}

void load_setup_defer_signals(struct load_setup *load) {
    load->defers_signals = true;
    signals_defer();
}

void load_setup_free(struct load_setup *load) {
    if (load == NULL)
        return;
    expect_body_free(&load->expect);
    request_free(&load->request);
    secure_free(&load->secure);
    for (size_t i = 0; i < load->secure_count; i++)
        secure_free(&load->secures[i]);
    mem_free(load->secures);
    mix_free(load->mix);
    mem_free(load);
}

/* --- one run that is told --------------------------------------------------------------------- */

static int run_and_tell(struct load_run *run, struct load_output *output,
                        struct load_metrics *metrics, struct error *err) {
    const struct loadgen_config *config = run->config;
    if (config->time_is_ours && !config->quiet)
        fprintf(stderr, "srv bench: neither --time nor --requests: loading for %.0f s\n",
                (double)config->time_limit / (double)NSEC_PER_SEC);
    output_start(config, &run->setup->target);
    output_watch(output, &run->live);
    if (metrics != NULL && metrics_start(metrics, &run->live, err) != 0)
        return EXIT_CANNOT;
    struct dashboard dashboard;
    if (run->live.has_screen)
        dashboard_open(&dashboard, &run->live, stderr);
    int code = load_run_go(run, err);
    signals_enforce(); /* Ctrl-C once more does not cut the report, but what is stuck */
    if (run->live.has_screen)
        dashboard_close(&dashboard);
    if (metrics != NULL)
        metrics_run_ended(metrics);
    if (!run->has_report)
        return code;
    if (output_report(output, &run->report, err) != 0)
        code = EXIT_CANNOT;
    signals_free(run->signals); /* all is written: now it ends us */
    run->signals = NULL;
    if (metrics != NULL && config->look.metrics_hold > 0)
        metrics_hold(metrics, config->look.metrics_hold);
    return code;
}

int loadgen_run(const struct loadgen_config *config, struct error *err) {
    struct load_output output = { .files = { NULL } };
    struct load_setup *setup;
    struct load_run *run = NULL;
    struct load_metrics *metrics = NULL;
    err->text[0] = '\0';
    int code = load_setup_new(&setup, config, err);
    if (code != 0)
        return code;
    code = EXIT_CANNOT;
    int rc = output_open(&output, config, err);
    if (rc == 0 && config->look.metrics_address != NULL)
        rc = metrics_open(&metrics, config->look.metrics_address, err);
    if (rc == 0 && load_run_new(&run, setup, config, err) == 0)
        code = run_and_tell(run, &output, metrics, err);
    metrics_free(metrics);
    output_close(&output);
    load_run_free(run);
    load_setup_free(setup);
    return code;
}
