/* SPDX-License-Identifier: MIT */
/* Opens the sockets, says where it listens, and hands over to the workers. */
#include "slowapi/slowapi.h"
#include "net/binds.h"
#include "net/prefork.h"
#include "slowapi/reactor.h"

/* For a worker that ends its graceful stop by itself, before the master would kill it. */
#define LEAVE_TIME (1 * NSEC_PER_SEC)

struct service {
    const struct slowapi_config *config;
    struct binds binds;
};

static int run_forked(void *arg, unsigned index UNUSED) {
    struct service *s = arg;
    struct error err;

    if (reactor_run(s->config, &s->binds, prefork_worker_ready, &err) == 0)
        return 0;
    log_write(LOG_LEVEL_ERROR, "worker failed error=\"%s\"", err.text);
    return EXIT_CANNOT;
}

static int serve(struct service *s, struct error *err) {
    const struct prefork_config prefork = {
        .name = "srv slowapi",
        .workers = (unsigned)s->config->workers,
        .graceful_timeout = s->config->graceful_timeout + LEAVE_TIME,
        .worker = run_forked,
        .arg = s,
    };

    if (s->config->workers == 1)
        return reactor_run(s->config, &s->binds, NULL, err);
    return prefork_run(&prefork);
}

int slowapi_run(const struct slowapi_config *config, struct error *err) {
    struct service service = { .config = config };

    binds_raise_descriptor_limit();
    int rc = binds_open(&service.binds, &config->binds, (int)config->backlog, err);
    if (rc < 0)
        return rc;

    binds_announce(&service.binds, "srv slowapi");
    rc = serve(&service, err);
    binds_close(&service.binds);
    return rc;
}
