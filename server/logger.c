/* SPDX-License-Identifier: MIT */
/* The logger process: from a pipe to a file that can be rotated. */
#include "server/logger.h"
#include "base/log.h"
#include "net/title.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PIPE_BYTES = 1048576, CHUNK_BYTES = 65536, KEPT_FDS = 1000 };

/* What the signal handlers need: of the logger process, and of those that pass USR1 on to it. */
static volatile sig_atomic_t wants_reopen;
static volatile pid_t usr1_target;

static void note_reopen(int signo UNUSED) {
    wants_reopen = 1;
}

static void pass_usr1_on(int signo UNUSED) {
    int saved = errno;

    kill(usr1_target, SIGUSR1);
    errno = saved;
}

/* --- the process ------------------------------------------------------------------ */

static int open_file(const char *path) {
    if (strcmp(path, "-") == 0)
        return dup(STDOUT_FILENO);
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static void complain(const char *what, const char *path) {
    static struct log_rate rate = { .per_second = 1 };

    log_limited(&rate, LOG_LEVEL_ERROR, "%s path=%s error=\"%s\"", what, path,
                strerrordesc_np(errno));
}

static void reopen(int *fd, const char *path) {
    int fresh = open_file(path);

    wants_reopen = 0;
    if (fresh < 0) {
        complain("cannot reopen the log", path); /* the old file is better than none */
        return;
    }
    close(*fd);
    *fd = fresh;
}

/* Lines are lost while the disk is full; writing goes on when it is not. */
static void write_all(int fd, const char *data, size_t size, const char *path) {
    while (size > 0) {
        ssize_t n = write(fd, data, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            complain("cannot write the log, lines are lost", path);
            return;
        }
        data += n;
        size -= (size_t)n;
    }
}

static __attribute__((noreturn)) void be_logger(int in, int out, const char *path) {
    struct sigaction on_usr1 = { .sa_handler = note_reopen }; /* no SA_RESTART: it ends the read */
    char *chunk = malloc(CHUNK_BYTES);
    ssize_t n;

    title_set("srv log", "srv serve: log");
    in = fcntl(in, F_DUPFD_CLOEXEC, KEPT_FDS);   /* and nothing else: a socket that we held open */
    out = fcntl(out, F_DUPFD_CLOEXEC, KEPT_FDS); /* would outlive those who listen on it */
    close_range(STDERR_FILENO + 1, KEPT_FDS - 1, 0);
    sigaction(SIGUSR1, &on_usr1, NULL);
    signal(SIGINT, SIG_IGN); /* the terminal's; it ends when the last writer has closed the pipe */
    signal(SIGTERM, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    while (chunk != NULL && ((n = read(in, chunk, CHUNK_BYTES)) != 0)) {
        if (wants_reopen)
            reopen(&out, path);
        if (n > 0)
            write_all(out, chunk, (size_t)n, path);
        else if (errno != EINTR)
            break;
    }
    free(chunk);
    close(out);
    _exit(0);
}

/* --- those who write ---------------------------------------------------------------- */

static int start(struct logger *l, int out, struct error *err) {
    struct sigaction pass_on = { .sa_handler = pass_usr1_on, .sa_flags = SA_RESTART };
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return error_set(err, -errno, "cannot make a pipe: %s", strerrordesc_np(errno));
    if (fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES) < 0)
        log_write(LOG_LEVEL_DEBUG, "the log pipe stays small error=\"%s\"", strerrordesc_np(errno));
    l->pid = fork();
    if (l->pid == 0) {
        close(fds[1]);
        be_logger(fds[0], out, l->path);
    }
    close(fds[0]);
    l->pipe_fd = fds[1];
    if (l->pid < 0 || fcntl(fds[1], F_SETFL, O_NONBLOCK) < 0)
        return error_set(err, -errno, "cannot start the logger: %s", strerrordesc_np(errno));
    usr1_target = l->pid;
    sigaction(SIGUSR1, &pass_on, NULL);
    return 0;
}

int logger_start(struct logger *l, const char *path, struct error *err) {
    int out, rc;

    *l = (struct logger){ .path = path, .pipe_fd = -1 };
    out = open_file(path);
    if (out < 0)
        return error_set(err, -errno, "cannot open the log '%s': %s", path, strerrordesc_np(errno));
    rc = start(l, out, err);
    close(out);
    return rc;
}

bool logger_write(const struct logger *l, struct slice line) {
    ssize_t n;

    do
        n = write(l->pipe_fd, line.ptr, line.len);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)line.len;
}

void logger_reopen(const struct logger *l) {
    if (l->pid > 0)
        kill(l->pid, SIGUSR1);
}

void logger_stop(struct logger *l) {
    if (l->pipe_fd >= 0)
        close(l->pipe_fd);
    l->pipe_fd = -1;
    if (l->pid > 0)
        waitpid(l->pid, NULL, 0);
    l->pid = 0;
    signal(SIGUSR1, SIG_IGN);
}
