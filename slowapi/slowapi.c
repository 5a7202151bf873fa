/* SPDX-License-Identifier: MIT */
/* Opens the sockets, says where it listens, and hands over to the workers. */
#include "slowapi/slowapi.h"
#include "base/log.h"
#include "net/binds.h"
#include "net/control.h"
#include "net/listener.h"
#include "proc/prefork.h"
#include "proc/signals.h"
#include "slowapi/reactor.h"
#include <unistd.h>

/* For a worker that ends its graceful stop by itself, before the master would kill it. */
#define LEAVE_TIME (1 * NSEC_PER_SEC)

struct service {
    const struct slowapi_config *config;
    struct binds binds;
    struct shared *shared;
    struct address control_at;
    struct logger logger; /* open when setup.access_log says so */
    struct reactor_setup setup;
};

static int run_forked(void *arg, unsigned index) {
    struct service *s = arg;
    struct error err;

    if (reactor_run(&s->setup, index, prefork_worker_ready, &err) == 0)
        return 0;
    log_write(LOG_LEVEL_ERROR, "worker failed error=\"%s\"", err.text);
    return EXIT_CANNOT;
}

/* The rules are shared by the workers: none has to be replaced, and no client notices. */
static void reload(void *arg) {
    struct service *s = arg;

    rules_reload(s->shared, s->config->rules);
}

/* The master's own copies would keep them open until the last worker has left. */
static void refuse(void *arg) {
    struct service *s = arg;

    binds_refuse(&s->binds);
}

static void reopen_log(void *arg) {
    const struct service *s = arg;

    logger_reopen(&s->logger);
}

static nsec_t tend_logger(void *arg, nsec_t now) {
    struct service *s = arg;

    return logger_tend(&s->logger, now);
}

static bool owns(void *arg, pid_t pid) {
    const struct service *s = arg;

    return pid == s->logger.helper.pid;
}

static int serve(struct service *s, struct error *err) {
    const struct prefork_config prefork = {
        .name = "srv slowapi",
        .workers = (unsigned)s->config->workers,
        .graceful_timeout = s->config->graceful_timeout + LEAVE_TIME,
        .worker = run_forked,
        .reload = reload,
        .stopping = refuse,
        .reopen_logs = s->setup.access_log != NULL ? reopen_log : NULL,
        .tend = s->setup.access_log != NULL ? tend_logger : NULL,
        .owns = s->setup.access_log != NULL ? owns : NULL,
        .arg = s,
    };

    if (s->config->workers == 1) {
        signals_bury_orphans();
        return reactor_run(&s->setup, 0, NULL, err);
    }
    return prefork_run(&prefork);
}

/* What the options ask for beside the listening sockets. */
static int open_rest(struct service *s, struct error *err) {
    const struct slowapi_config *config = s->config;
    int rc = 0;

    s->shared = shared_new((uint32_t)config->sequences, (uint32_t)config->queues, err);
    if (s->shared == NULL)
        return -ENOMEM;
    s->shared->delay_max = config->delay_max;
    if (config->rules != NULL)
        rc = rules_load(s->shared, config->rules, err);
    if (rc == 0 && config->access_log != NULL) {
        const struct privileges as_it_is = { .changes_user = false };
        s->setup.access_log = &s->logger;
        rc = logger_open(&s->logger, config->access_log, &as_it_is, err);
        if (rc == 0)
            rc = logger_start(&s->logger, "srv slowapi", err);
    }
    if (rc == 0 && config->control != NULL) {
        s->setup.control_fd = control_listen(config->control, &s->control_at, err);
        rc = s->setup.control_fd < 0 ? s->setup.control_fd : 0;
    }
    s->setup.config = config;
    s->setup.binds = &s->binds;
    s->setup.shared = s->shared;
    return rc;
}

static void announce(const struct service *s) {
    char text[ADDRESS_TEXT_BYTES];

    if (s->config->control != NULL)
        log_say("srv slowapi: control on %s%s\n",
                s->control_at.any.sa_family == AF_UNIX ? "" : "http://",
                address_format(&s->control_at, text));
    signals_defer();
    binds_announce(&s->binds, "srv slowapi");
}

int slowapi_run(const struct slowapi_config *config, struct error *err) {
    struct service service = { .config = config, .setup = { .control_fd = -1 } };

    signals_ignore_foreign();
    binds_raise_descriptor_limit();
    int rc = open_rest(&service, err);
    if (rc == 0)
        rc = binds_open(&service.binds, &config->binds, (int)config->backlog, err);
    if (rc == 0) {
        announce(&service);
        rc = serve(&service, err);
        binds_close(&service.binds);
    }
    if (service.setup.control_fd >= 0)
        listener_close(service.setup.control_fd, &service.control_at);
    if (service.setup.access_log != NULL)
        logger_close(&service.logger);
    shared_free(service.shared);
    return rc;
}
