/* SPDX-License-Identifier: MIT */
/* Hands the sockets to a new program, and tells the old one when it can go. */
#include "proc/upgrade.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/path.h"
#include "base/slice.h"
#include "proc/child.h"
#include "proc/inherit.h"
#include "proc/signals.h"
#include <errno.h>
#include <fcntl.h>
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

/* The path as it was called, links not resolved: a deployment may switch them. False when that does
 * not lead to this program, as when it was called through a script. */
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

int upgrade_init(struct upgrade *u, char *const *argv, nsec_t patience, nsec_t grace,
                 struct error *err) {
    uint64_t pid = 0;

    u->path = mem_alloc(PATH_MAX); /* more than a frame may hold */
    if (u->path == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    if (!path_as_called(argv[0], u->path) && realpath("/proc/self/exe", u->path) == NULL) {
        mem_free(u->path); /* without /proc all works but an upgrade */
        u->path = NULL;
    }
    u->argv = argv;
    u->patience = patience;
    u->grace = grace;
    u->act_at = NSEC_NEVER;
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
                                                       const struct listeners *listeners,
                                                       int control_fd, bool control_borrowed) {
    char text[24];
    sigset_t none;
    int rc;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    snprintf(text, sizeof(text), "%d", (int)parent);
    rc = setenv(PREDECESSOR, text, 1) < 0 ? -errno : 0;
    if (rc == 0)
        rc = inherit_exec(u->path, u->argv, listeners, control_fd, control_borrowed);
    log_write(LOG_LEVEL_ERROR, "upgrade failed path=%s error=\"%s\"", u->path,
              strerrordesc_np(-rc));
    _exit(EXIT_CANNOT);
}

bool upgrade_accept(struct upgrade *u) {
    u->replaced = !u->given_up;
    if (u->replaced)
        u->act_at = NSEC_NEVER;
    return u->replaced;
}

/* Ends the successor: asks at first, since some of its workers may be serving already. */
static void give_up(struct upgrade *u, nsec_t now) {
    log_write(LOG_LEVEL_ERROR, "the upgraded program is not ready in time, %s it pid=%d",
              u->given_up ? "killing" : "ending", (int)u->successor);
    kill(u->successor, u->given_up ? SIGKILL : SIGTERM);
    u->act_at = u->given_up ? NSEC_NEVER : deadline_after(now, u->grace);
    u->given_up = true;
}

/* Drops what the successor said last, while it was being ended. The master blocks the signal. */
static void forget_given_up(struct upgrade *u) {
    const struct timespec now = { 0 };
    sigset_t retire;

    sigemptyset(&retire);
    sigaddset(&retire, SIGRETIRE);
    while (u->given_up && sigtimedwait(&retire, NULL, &now) > 0)
        ;
    u->given_up = false;
}

nsec_t upgrade_tend(struct upgrade *u, nsec_t now, bool *ret_alone) {
    char end[CHILD_END_BYTES];
    int status;

    *ret_alone = false;
    if (u->successor == 0)
        return NSEC_NEVER;
    if (!child_reap(u->successor, &status)) {
        if (now >= u->act_at)
            give_up(u, now);
        return u->act_at;
    }
    log_write(u->replaced ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR,
              "the upgraded program ended, this one %s pid=%d%s",
              u->replaced ? "is leaving" : "goes on", (int)u->successor, child_end(status, end));
    u->successor = 0;
    u->act_at = NSEC_NEVER;
    forget_given_up(u);
    *ret_alone = !u->replaced;
    return NSEC_NEVER;
}

/* The inits that containers are given (docker run --init): each ends with its only child. */
static bool parent_ends_with_us(void) {
    static const char *const inits[] = { "docker-init", "tini", "dumb-init", "catatonit" };
    char name[32] = "";
    int fd = getppid() == 1 ? open("/proc/1/comm", O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = fd >= 0 ? read(fd, name, sizeof(name) - 1) : -1;
    bool found = false;

    if (fd >= 0)
        close(fd);
    name[strcspn(name, "\n")] = '\0';
    for (size_t i = 0; n > 0 && i < ARRAY_LEN(inits); i++)
        found = found || strcmp(name, inits[i]) == 0;
    return found;
}

/* The reason why there can be no successor; NULL: there can be one. */
static const char *why_not(const struct upgrade *u) {
    if (u->path == NULL)
        return "the path of this program is not known, since there is no /proc/self/exe";
    if (getpid() == 1)
        return "this process is PID 1, and its container would end with it; replace the container";
    if (parent_ends_with_us())
        return "the container's init would end with this process; replace the container";
    return NULL;
}

void upgrade_start(struct upgrade *u, const struct listeners *listeners, int control_fd,
                   bool control_borrowed) {
    pid_t parent = getpid(), pid;

    if (u->successor != 0) {
        log_write(LOG_LEVEL_WARN, "an upgrade is on its way pid=%d", (int)u->successor);
        return;
    }
    if (why_not(u) != NULL) {
        log_write(LOG_LEVEL_ERROR, "upgrade refused: %s", why_not(u));
        return;
    }
    pid = child_fork(0); /* the successor outlives this process */
    if (pid == 0)
        become_successor(u, parent, listeners, control_fd, control_borrowed);
    if (pid < 0) {
        log_write(LOG_LEVEL_ERROR, "upgrade failed error=\"%s\"", strerrordesc_np(-pid));
        return;
    }
    u->successor = pid;
    u->act_at = timeout_after(clock_now(), u->patience);
    log_write(LOG_LEVEL_INFO, "upgrade started path=%s pid=%d", u->path, (int)u->successor);
}

void upgrade_complete(struct upgrade *u) {
    if (u->predecessor == 0)
        return;
    if (getppid() != u->predecessor || kill(u->predecessor, SIGRETIRE) < 0)
        log_write(LOG_LEVEL_WARN, "predecessor is gone pid=%d", (int)u->predecessor);
    u->predecessor = 0;
}
