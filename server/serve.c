/* SPDX-License-Identifier: MIT */
/* From a configuration to listening sockets to workers. */
#include "server/serve.h"
#include "net/binds.h"
#include "net/prefork.h"
#include "server/model.h"
#include "server/overview.h"
#include "server/pidfile.h"
#include <stdio.h>

struct serve {
    const struct serve_config *config;
    struct binds binds;
    struct stats *stats; /* by worker index - 1 */
};

static int complain(const struct error *err) {
    fprintf(stderr, "srv serve: %s\n", err->text);
    return EXIT_CANNOT;
}

static void ready_alone(void) {
}

static int run_worker(struct serve *s, unsigned index, void (*ready)(void)) {
    struct error err = { "" };
    struct worker worker = {
        .config = s->config,
        .index = index,
        .listen_fds = s->binds.fds,
        .listen_count = s->binds.count,
        .stats = &s->stats[index - 1],
        .ready = ready,
    };

    stats_start(worker.stats, s->config->control != NULL);
    return s->config->model->run(&worker, &err) < 0 ? complain(&err) : 0;
}

static int prefork_worker(void *arg, unsigned index) {
    return run_worker(arg, index + 1, prefork_worker_ready);
}

static int run_workers(struct serve *s) {
    struct prefork_config prefork = {
        .name = "srv serve",
        .title = s->config->model->name,
        .workers = (unsigned)s->config->workers,
        .graceful_timeout = s->config->graceful_timeout,
        .worker = prefork_worker,
        .arg = s,
    };

    return prefork_run(&prefork);
}

/* With its control endpoint beside it. */
static int serve(struct serve *s, struct error *err) {
    unsigned count = s->config->workers > 0 ? PREFORK_WORKERS_MAX : 1;
    struct overview overview = { .config = s->config,
                                 .count = count,
                                 .listen_fds = s->binds.fds,
                                 .listen_count = s->binds.count };
    int code;

    overview.stats = s->stats = stats_new(count, err);
    if (s->stats == NULL || overview_start(&overview, err) < 0)
        return complain(err);
    binds_announce(&s->binds, "srv serve");
    code = s->config->workers > 0 ? run_workers(s) : run_worker(s, 1, ready_alone);
    overview_stop(&overview);
    return code;
}

int serve_run(const struct serve_config *config) {
    struct serve s = { .config = config };
    struct error err = { "" };
    int code;

    binds_raise_descriptor_limit();
    if (binds_open(&s.binds, &config->binds, (int)config->backlog, &err) < 0)
        return complain(&err);
    if (pidfile_write(config->pid_path, &err) < 0) {
        binds_close(&s.binds);
        return complain(&err);
    }
    for (size_t i = 0; i < s.binds.count; i++)
        if (config->protocols[i] == PROTOCOL_UWSGI)
            s.binds.schemes[i] = "uwsgi";
    code = serve(&s, &err);
    pidfile_remove(config->pid_path);
    binds_close(&s.binds);
    return code;
}
