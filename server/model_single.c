/* SPDX-License-Identifier: MIT */
/* Model `single`: one thread that serves one request at a time; whoever comes next waits in the
 * backlog. */
#include "base/log.h"
#include "net/binds.h"
#include "server/model.h"
#include "server/session.h"
#include "server/upstream.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int single_run(struct worker *worker, struct error *err);

const struct model model_single = {
    .name = "single",
    .summary = "one thread, one request at a time; everybody else waits",
    .run = single_run,
};

/* What the signal handler needs; a process has one set of handlers, so these are globals. */
static volatile sig_atomic_t stopping;
static int stop_fd = -1;   /* readable: accept no more */
static int cancel_fd = -1; /* readable: give up the request in progress, too */

static void on_signal(int signo) {
    int saved = errno;
    int fd = signo == SIGTERM && !stopping ? stop_fd : cancel_fd;
    uint64_t one = 1;
    ssize_t n;

    stopping = 1;
    n = write(stop_fd, &one, sizeof(one));
    if (fd != stop_fd)
        n = write(fd, &one, sizeof(one));
    if (n < 0)
        _exit(EXIT_CANNOT); /* an eventfd that refuses one more: cannot happen, and must not hang */
    errno = saved;
}

static int catch_signals(void) {
    static const int signals[] = { SIGTERM, SIGINT, SIGQUIT };
    struct sigaction action = { .sa_handler = on_signal };

    stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (stop_fd < 0 || cancel_fd < 0)
        return -errno;
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        if (sigaction(signals[i], &action, NULL) < 0)
            return -errno;
    return 0;
}

static void serve_client(const struct worker *worker, struct io *io, int fd) {
    enum session_end end = SESSION_CLOSE;
    struct session session;

    session_init(&session, worker, fd);
    session.last = true; /* a kept connection would hold the only thread */
    switch (session_read(&session, io)) {
    case SESSION_READY:
        end = session_serve(&session, io);
        break;
    case SESSION_REFUSED:
        end = session_write_refusal(&session, io);
        break;
    case SESSION_MORE:
    case SESSION_CLOSED:
        break;
    }
    if (end == SESSION_LINGER)
        session_linger(&session, io);
    session_free(&session);
    io_close(io, fd);
}

/* Another worker was faster, the client left, or descriptors ran out: the last must not spin. */
static void accept_failed(void) {
    static struct log_rate rate = { .per_second = 1 };

    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
        return;
    log_limited(&rate, LOG_LEVEL_WARN, "accept failed error=\"%s\"", strerrordesc_np(errno));
    poll(NULL, 0, 100);
}

/* Nothing is accepted while a request runs: that is the model. */
static int serve_until_stopped(const struct worker *worker, struct io *io) {
    struct pollfd fds[BINDS_MAX + 1] = { { .fd = stop_fd, .events = POLLIN } };
    nfds_t count = 1;
    int fd;

    for (size_t i = 0; i < worker->listen_count; i++)
        fds[count++] = (struct pollfd){ .fd = worker->listen_fds[i], .events = POLLIN };
    for (;;) {
        if (poll(fds, count, -1) < 0 && errno != EINTR)
            return -errno;
        if (stopping)
            return 0;
        for (nfds_t i = 1; i < count && !stopping; i++) {
            if (fds[i].revents == 0)
                continue;
            fd = accept4(fds[i].fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd >= 0)
                serve_client(worker, io, fd);
            else
                accept_failed();
        }
    }
}

static int single_run(struct worker *worker, struct error *err) {
    struct upstream_config upstream = { .url = worker->config->upstream_url,
                                        .timeout = worker->config->upstream_timeout };
    struct io_block block;
    int rc = catch_signals();

    if (rc < 0)
        return error_set(err, rc, "cannot catch signals: %s", strerrordesc_np(-rc));
    io_block_init(&block, cancel_fd);
    worker->upstream = upstream_new(&upstream, NULL, err);
    if (worker->upstream == NULL)
        return -EINVAL;
    worker->ready();
    rc = serve_until_stopped(worker, &block.io);
    if (rc < 0)
        error_set(err, rc, "cannot accept connections: %s", strerrordesc_np(-rc));
    upstream_free(worker->upstream);
    close(stop_fd);
    close(cancel_fd);
    return rc;
}
