/* SPDX-License-Identifier: MIT */
/* Hands the sockets to a new program, and tells the old one when it can go. */
#include "server/upgrade.h"
#include "base/log.h"
#include "base/slice.h"
#include "net/inherit.h"
#include "net/signals.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PREDECESSOR "SRV_PREDECESSOR" /* the pid of the master that starts us */

int upgrade_init(struct upgrade *u, char *const *argv, struct error *err) {
    uint64_t pid = 0;

    u->path = realpath("/proc/self/exe", NULL);
    if (u->path == NULL)
        return error_set(err, -errno, "cannot read /proc/self/exe: %s", strerrordesc_np(errno));
    u->argv = argv;
    u->successor = 0;
    if (slice_parse_u64(slice_str(getenv(PREDECESSOR)), INT32_MAX, &pid) < 0 ||
        (pid_t)pid != getppid())
        pid = 0; /* left over in an environment, or it has died meanwhile */
    u->predecessor = (pid_t)pid;
    unsetenv(PREDECESSOR);
    return 0;
}

void upgrade_free(struct upgrade *u) {
    free(u->path); /* realpath's */
}

/* The master blocks its signals and waits for them: the new program must not inherit that. */
static __attribute__((noreturn)) void become_successor(const struct upgrade *u, pid_t parent,
                                                       const struct binds *binds, int control_fd,
                                                       bool control_borrowed) {
    char text[24];
    sigset_t none;
    int rc;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    snprintf(text, sizeof(text), "%d", (int)parent);
    rc = setenv(PREDECESSOR, text, 1) < 0 ? -errno : 0;
    if (rc == 0)
        rc = inherit_exec(u->path, u->argv, binds, control_fd, control_borrowed);
    log_write(LOG_LEVEL_ERROR, "upgrade failed path=%s error=\"%s\"", u->path,
              strerrordesc_np(-rc));
    _exit(EXIT_CANNOT);
}

bool upgrade_tend(struct upgrade *u) {
    int status;

    if (u->successor == 0 || waitpid(u->successor, &status, WNOHANG) != u->successor)
        return false;
    log_write(LOG_LEVEL_ERROR, "the upgraded program ended, this one goes on pid=%d %s=%d",
              (int)u->successor, WIFSIGNALED(status) ? "signal" : "exit_code",
              WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    u->successor = 0;
    return true;
}

void upgrade_start(struct upgrade *u, const struct binds *binds, int control_fd,
                   bool control_borrowed) {
    pid_t parent = getpid();

    if (u->successor != 0) {
        log_write(LOG_LEVEL_WARN, "an upgrade is on its way pid=%d", (int)u->successor);
        return;
    }
    fflush(NULL);
    u->successor = fork();
    if (u->successor == 0)
        become_successor(u, parent, binds, control_fd, control_borrowed);
    if (u->successor < 0) {
        u->successor = 0;
        log_write(LOG_LEVEL_ERROR, "upgrade failed error=\"%s\"", strerrordesc_np(errno));
        return;
    }
    log_write(LOG_LEVEL_INFO, "upgrade started path=%s pid=%d", u->path, (int)u->successor);
}

void upgrade_complete(struct upgrade *u) {
    if (u->predecessor == 0)
        return;
    if (getppid() != u->predecessor || kill(u->predecessor, SIGRETIRE) < 0)
        log_write(LOG_LEVEL_WARN, "predecessor is gone pid=%d", (int)u->predecessor);
    u->predecessor = 0;
}
