/* SPDX-License-Identifier: MIT */
/* Forks and reaps children, and paces their respawn. */
#include "proc/child.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define YOUNG_NSEC     NSEC_PER_SEC
#define PAUSE_MIN_NSEC (100 * NSEC_PER_MSEC)
#define PAUSE_MAX_NSEC (5 * NSEC_PER_SEC)

pid_t child_fork(int death_signal) {
    pid_t parent = getpid(), pid;
    sigset_t all, before;

    fflush(NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid == 0) {
        if (death_signal != 0)
            child_die_with_parent(death_signal, parent);
        return 0;
    }
    if (pid < 0)
        pid = -errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pid;
}

void child_die_with_parent(int signo, pid_t parent) {
    prctl(PR_SET_PDEATHSIG, signo);
    if (getppid() != parent) /* the parent died before the kernel was told */
        raise(signo);
}

bool child_reap(pid_t pid, int *ret_status) {
    pid_t got = waitpid(pid, ret_status, WNOHANG);

    if (got < 0)
        *ret_status = CHILD_STATUS_UNKNOWN;
    return got == pid || (got < 0 && errno == ECHILD);
}

int child_wait(pid_t pid) {
    int status = CHILD_STATUS_UNKNOWN;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return status;
}

const char *child_end(int status, char *text) {
    text[0] = '\0';
    if (status == CHILD_STATUS_UNKNOWN)
        return text;
    if (!WIFSIGNALED(status))
        snprintf(text, CHILD_END_BYTES, " exit_code=%d", WEXITSTATUS(status));
    else if (sigabbrev_np(WTERMSIG(status)) == NULL) /* a real-time signal */
        snprintf(text, CHILD_END_BYTES, " signal=%d", WTERMSIG(status));
    else
        snprintf(text, CHILD_END_BYTES, " signal=SIG%s%s", sigabbrev_np(WTERMSIG(status)),
                 WCOREDUMP(status) ? " core=yes" : "");
    return text;
}

/* The pause after so many early deaths in a row. */
static nsec_t pause_after(unsigned early_deaths) {
    if (early_deaths <= 1)
        return 0;
    if (early_deaths > 8) /* the shift below has passed the most by then */
        return PAUSE_MAX_NSEC;
    return nsec_min(PAUSE_MIN_NSEC << (early_deaths - 2), PAUSE_MAX_NSEC);
}

void child_began(struct child_respawn *r, pid_t pid, nsec_t now) {
    r->born_at = now;
    r->start_at = pid < 0 ? deadline_after(now, PAUSE_MIN_NSEC) : NSEC_NEVER;
}

void child_died(struct child_respawn *r, bool served, nsec_t now) {
    bool was_young = now - r->born_at < YOUNG_NSEC;

    r->early_deaths = served && !was_young ? 0 : r->early_deaths + 1;
    r->start_at = deadline_after(now, pause_after(r->early_deaths));
}
