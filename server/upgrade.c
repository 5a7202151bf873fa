/* SPDX-License-Identifier: MIT */
/* Hands the sockets to a new program, and tells the old one when it can go. */
#include "server/upgrade.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/path.h"
#include "base/slice.h"
#include "net/inherit.h"
#include "net/signals.h"
#include <errno.h>
#include <linux/limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PREDECESSOR "SRV_PREDECESSOR" /* the pid of the master that starts us */

static bool is_our_program(const char *path) {
    struct stat ours, its;

    return stat("/proc/self/exe", &ours) == 0 && stat(path, &its) == 0 &&
           ours.st_dev == its.st_dev && ours.st_ino == its.st_ino;
}

/* As it was called, links not resolved: a deployment may switch them. False when that does not lead
 * to this program, as when it was called through a script. */
static bool path_as_called(const char *word, char path[PATH_MAX]) {
    size_t len = 0;

    if (strchr(word, '/') == NULL)
        return path_search(getenv("PATH"), word, path, PATH_MAX) && is_our_program(path);
    if (word[0] != '/') {
        if (getcwd(path, PATH_MAX - 1) == NULL)
            return false;
        len = strlen(path);
        path[len++] = '/';
    }
    return (size_t)snprintf(path + len, PATH_MAX - len, "%s", word) < PATH_MAX - len &&
           is_our_program(path);
}

int upgrade_init(struct upgrade *u, char *const *argv, struct error *err) {
    uint64_t pid = 0;

    u->path = mem_alloc(PATH_MAX); /* more than a frame may hold */
    if (u->path == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    if (!path_as_called(argv[0], u->path) && realpath("/proc/self/exe", u->path) == NULL)
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
    mem_free(u->path);
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
    log_write(u->replaced ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR,
              "the upgraded program ended, this one %s pid=%d %s=%d",
              u->replaced ? "is leaving" : "goes on", (int)u->successor,
              WIFSIGNALED(status) ? "signal" : "exit_code",
              WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    u->successor = 0;
    return !u->replaced;
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
