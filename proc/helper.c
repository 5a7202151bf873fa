/* SPDX-License-Identifier: MIT */
/* Forks helper processes, reaps them, and starts them again. */
#include "proc/helper.h"
#include "base/log.h"
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
static __attribute__((noreturn)) void be_helper(const struct helper *h) {
    char comm[16];

    settle_signals();
    close_others(h);
    snprintf(comm, sizeof(comm), "srv %s", h->name);
    title_set(comm, "%s: %s", h->program, h->name);
    _exit(h->run(h->arg));
}

/* --- in the parent ---------------------------------------------------------------------- */

int helper_start(struct helper *h) {
    pid_t pid = child_fork(h->outlives ? 0 : SIGKILL);

    if (pid == 0)
        be_helper(h);
    child_began(&h->respawn, pid, clock_now());
    h->pid = pid > 0 ? pid : 0;
    return pid > 0 ? 0 : pid;
}

/* A helper that ends by itself, again and again, has told the reason itself. */
static void count_death(struct helper *h, int status, nsec_t now) {
    bool by_itself = status != CHILD_STATUS_UNKNOWN && WIFEXITED(status);
    char end[CHILD_END_BYTES];

    child_died(&h->respawn, true, now);
    if (!by_itself || h->respawn.early_deaths <= 1)
        log_write(LOG_LEVEL_ERROR, "%s process died pid=%d%s", h->name, (int)h->pid,
                  child_end(status, end));
    h->pid = 0;
}

nsec_t helper_tend(struct helper *h, nsec_t now) {
    static struct log_rate rate = { .per_second = 1 };
    int status, rc;

    if (h->pid > 0 && child_reap(h->pid, &status))
        count_death(h, status, now);
    if (h->pid > 0)
        return NSEC_NEVER;
    if (h->respawn.start_at > now)
        return h->respawn.start_at;
    rc = helper_start(h);
    if (rc == 0 && h->respawn.early_deaths <= 1)
        log_write(LOG_LEVEL_INFO, "%s process started pid=%d", h->name, (int)h->pid);
    if (rc == 0)
        return NSEC_NEVER;
    log_limited(&rate, LOG_LEVEL_ERROR, "cannot start the %s process error=\"%s\"", h->name,
                strerrordesc_np(-rc));
    return h->respawn.start_at;
}

static bool ends_until(struct helper *h, nsec_t until) {
    const struct timespec pause = { .tv_nsec = LOOK_EVERY_NSEC };
    int status;

    while (!child_reap(h->pid, &status)) {
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
