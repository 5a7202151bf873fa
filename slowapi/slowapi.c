/* SPDX-License-Identifier: MIT */
/* Opens the sockets, says where it listens, and hands over to the workers. */
#include "slowapi/slowapi.h"
#include "net/listener.h"
#include "net/prefork.h"
#include "net/resolve.h"
#include "slowapi/worker.h"
#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>

#define RESOLVE_TIMEOUT (10 * NSEC_PER_SEC)
#define LEAVE_TIME (1 * NSEC_PER_SEC) /* for a worker that gave up waiting, to end by itself */

struct service {
    const struct slowapi_config *config;
    int fds[SLOWAPI_BINDS_MAX];
    struct address bound[SLOWAPI_BINDS_MAX];
    size_t count;
};

static int find_address(const struct endpoint *e, struct address *ret, struct error *err) {
    struct io_block blocking;
    struct resolved found;

    int rc = address_of_endpoint(e, true, ret);
    if (rc == -ENAMETOOLONG)
        return error_set(err, rc, "cannot listen on unix:%.*s: the path is too long",
                         (int)slice_take(e->host, 200).len, e->host.ptr);
    if (rc != -ENOENT)
        return rc;

    io_block_init(&blocking, -1);
    rc = resolve(&blocking.io, e, deadline_after(clock_now(), RESOLVE_TIMEOUT), &found, err);
    if (rc == -ETIMEDOUT)
        error_set(err, rc, "cannot look up %.*s: no answer", (int)slice_take(e->host, 200).len,
                  e->host.ptr);
    if (rc == 0)
        *ret = found.addresses[0];
    return rc;
}

static int open_sockets(struct service *s, struct error *err) {
    for (; s->count < s->config->endpoint_count; s->count++) {
        struct address at;

        int rc = find_address(&s->config->endpoints[s->count], &at, err);
        if (rc < 0)
            return rc;
        rc = listener_open(&at, (int)s->config->backlog, &s->bound[s->count], err);
        if (rc < 0)
            return rc;
        s->fds[s->count] = rc;
    }
    return 0;
}

static void close_sockets(struct service *s) {
    for (size_t i = 0; i < s->count; i++)
        listener_close(s->fds[i], &s->bound[i]);
}

/* One write(2) each, so that a script that waits for the line never sees half of it. */
static void say_where(const struct service *s) {
    char text[ADDRESS_TEXT_BYTES];

    for (size_t i = 0; i < s->count; i++) {
        bool is_unix = s->bound[i].any.sa_family == AF_UNIX;
        address_format(&s->bound[i], text);
        fprintf(stderr, "srv slowapi: listening on %s%s%s\n", is_unix ? "" : "http://", text,
                is_unix ? "" : "/");
    }
}

/* Each sleeper holds a descriptor, and the soft limit is often 1024. */
static void raise_descriptor_limit(void) {
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_write(LOG_LEVEL_WARN, "cannot raise the limit of open descriptors error=\"%s\"",
                  strerror(errno));
}

static int run_forked(void *arg, unsigned index UNUSED) {
    const struct service *s = arg;
    struct error err;

    if (worker_run(s->config, s->fds, s->count, prefork_worker_ready, &err) == 0)
        return 0;
    log_write(LOG_LEVEL_ERROR, "worker failed error=\"%s\"", err.text);
    return EXIT_CANNOT;
}

static int serve(struct service *s, struct error *err) {
    if (s->config->workers == 1)
        return worker_run(s->config, s->fds, s->count, NULL, err);

    const struct prefork_config prefork = {
        .name = "srv slowapi",
        .workers = (unsigned)s->config->workers,
        .graceful_timeout = s->config->graceful_timeout + LEAVE_TIME,
        .worker = run_forked,
        .arg = s,
    };
    return prefork_run(&prefork);
}

int slowapi_run(const struct slowapi_config *config, struct error *err) {
    struct service service = { .config = config };

    raise_descriptor_limit();
    int rc = open_sockets(&service, err);
    if (rc == 0) {
        say_where(&service);
        rc = serve(&service, err);
    }
    close_sockets(&service);
    return rc;
}
