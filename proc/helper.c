/* SPDX-License-Identifier: MIT */
/* Forks helper processes, buries them, and starts them again. */
#include "proc/helper.h"
#include "base/log.h"
#include "proc/respawn.h"
#include "proc/signals.h"
#include "proc/title.h"
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KILL_PATIENCE   NSEC_PER_SEC
#define LOOK_EVERY_NSEC 1000000
#define NO_STATUS       (-1)

/* --- in the child ----------------------------------------------------------------------- */

/* The parent's handlers would write to descriptors that it shares with us. */
static void settle_signals(void) {
    const int ignored[] = { SIGTERM, SIGINT,  SIGQUIT, SIGHUP,   SIGUSR1,
                            SIGUSR2, SIGPIPE, SIGXFSZ, SIGRETIRE };
    sigset_t none;

    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        signal(ignored[i], SIG_IGN);
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
}

/* The least descriptor to keep that is not below `from`; INT32_MAX: none. */
static int next_kept(const struct helper *h, int from) {
    int least = INT32_MAX;

    for (size_t i = 0; i < h->fd_count; i++)
        if (h->fds[i] >= from && h->fds[i] < least)
            least = h->fds[i];
    return least;
}

/* A socket that it held open would outlive those who listen on it, or speak over it. */
static void close_others(const struct helper *h) {
    int from = STDERR_FILENO + 1, kept;

    while ((kept = next_kept(h, from)) != INT32_MAX) {
        if (kept > from)
            close_range((unsigned)from, (unsigned)kept - 1, 0);
        from = kept + 1;
    }
    close_range((unsigned)from, ~0U, 0);
}

/* Without exit(3): what that would flush, or check for leaks, is the parent's. */
static __attribute__((noreturn)) void be_helper(const struct helper *h, pid_t parent) {
    char comm[16];

    settle_signals();
    if (!h->outlives)
        signals_die_with_parent(SIGKILL, parent);
    close_others(h);
    snprintf(comm, sizeof(comm), "srv %s", h->name);
    title_set(comm, "%s: %s", h->program, h->name);
    _exit(h->run(h->arg));
}

/* --- in the parent ---------------------------------------------------------------------- */

int helper_start(struct helper *h) {
    pid_t parent = getpid();
    sigset_t all, before;

    fflush(NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* none may hit the child in between */
    h->pid = fork();
    if (h->pid == 0)
        be_helper(h, parent);
    int rc = h->pid < 0 ? -errno : 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);

    h->born_at = clock_now();
    h->start_at = deadline_after(h->born_at, RESPAWN_PAUSE_MIN_NSEC);
    if (rc < 0)
        h->pid = 0;
    return rc;
}

/* Who ignores SIGCHLD, as PID 1 does (proc/signals.h), finds nothing to wait for. */
static bool has_ended(struct helper *h, int *status) {
    pid_t pid = waitpid(h->pid, status, WNOHANG);

    if (pid < 0)
        *status = NO_STATUS;
    return pid == h->pid || (pid < 0 && errno == ECHILD);
}

/* One that ends by itself, again and again, has told the reason itself. */
static void log_death(const struct helper *h, int status) {
    if (status == NO_STATUS)
        log_write(LOG_LEVEL_ERROR, "%s process died pid=%d", h->name, (int)h->pid);
    else if (WIFSIGNALED(status))
        log_write(LOG_LEVEL_ERROR, "%s process died pid=%d signal=SIG%s", h->name, (int)h->pid,
                  sigabbrev_np(WTERMSIG(status)));
    else if (h->deaths <= 1)
        log_write(LOG_LEVEL_ERROR, "%s process died pid=%d exit_code=%d", h->name, (int)h->pid,
                  WEXITSTATUS(status));
}

static void bury(struct helper *h, int status, nsec_t now) {
    h->deaths = now - h->born_at < RESPAWN_YOUNG_NSEC ? h->deaths + 1 : 0;
    log_death(h, status);
    h->pid = 0;
    h->start_at = deadline_after(now, respawn_pause(h->deaths));
}

nsec_t helper_tend(struct helper *h, nsec_t now) {
    static struct log_rate rate = { .per_second = 1 };
    int status = NO_STATUS, rc;

    if (h->pid > 0 && has_ended(h, &status))
        bury(h, status, now);
    if (h->pid > 0)
        return NSEC_NEVER;
    if (h->start_at > now)
        return h->start_at;
    rc = helper_start(h);
    if (rc == 0 && h->deaths <= 1)
        log_write(LOG_LEVEL_INFO, "%s process started pid=%d", h->name, (int)h->pid);
    if (rc == 0)
        return NSEC_NEVER;
    log_limited(&rate, LOG_LEVEL_ERROR, "cannot start the %s process error=\"%s\"", h->name,
                strerrordesc_np(-rc));
    return h->start_at;
}

static bool ends_until(struct helper *h, nsec_t until) {
    const struct timespec pause = { .tv_nsec = LOOK_EVERY_NSEC };
    int status;

    while (!has_ended(h, &status)) {
        if (clock_now() >= until)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

bool helper_stop(struct helper *h, nsec_t patience) {
    nsec_t now = clock_now();
    bool ends = true;

    if (h->pid == 0)
        return true;
    kill(h->pid, SIGCONT);
    if (patience == 0 || !ends_until(h, deadline_after(now, patience))) {
        ends = false;
        kill(h->pid, SIGKILL);
        if (!ends_until(h, deadline_after(clock_now(), KILL_PATIENCE)))
            log_write(LOG_LEVEL_WARN, "%s process does not end pid=%d", h->name, (int)h->pid);
    }
    h->pid = 0;
    return ends;
}
