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
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PREDECESSOR "SRV_PREDECESSOR" /* the pid of the master that starts us */

/* Allocated; NULL without memory. */
static char *below(const char *folder, int len, const char *word) {
    char *path;

    return asprintf(&path, "%.*s/%s", len, folder, word) < 0 ? NULL : path;
}

static bool is_our_program(const char *path) {
    struct stat ours, its;

    return stat("/proc/self/exe", &ours) == 0 && stat(path, &its) == 0 &&
           ours.st_dev == its.st_dev && ours.st_ino == its.st_ino;
}

/* As it was called, links not resolved: a deployment may switch them. NULL when that does not lead
 * to this program, as when it was called through a script. */
static char *path_as_called(const char *word) {
    struct slice rest = slice_str(getenv("PATH"));
    char *folder, *path = NULL;

    if (strchr(word, '/') != NULL) {
        folder = word[0] == '/' ? NULL : getcwd(NULL, 0);
        path = folder != NULL ? below(folder, (int)strlen(folder), word) : strdup(word);
        free(folder);
    }
    while (strchr(word, '/') == NULL && rest.len > 0 && path == NULL) {
        struct slice part = slice_cut(&rest, ':');

        path = part.len > 0 && part.ptr[0] == '/' ? below(part.ptr, (int)part.len, word) : NULL;
        if (path != NULL && access(path, X_OK) < 0) {
            free(path);
            path = NULL;
        }
    }
    if (path != NULL && !is_our_program(path)) {
        free(path);
        path = NULL;
    }
    return path;
}

int upgrade_init(struct upgrade *u, char *const *argv, struct error *err) {
    uint64_t pid = 0;

    u->path = path_as_called(argv[0]);
    if (u->path == NULL)
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
    free(u->path); /* the C library's */
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
