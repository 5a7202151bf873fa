/* SPDX-License-Identifier: MIT */
/* A master process and its workers: fork, watch, respawn, stop. The master serves nothing and has
 * one thread.
 *
 * The master understands
 *
 *   TERM        stop gracefully: after graceful_delay workers get TERM, and KILL a second after
 *               graceful_timeout; a second one is as INT
 *   INT, QUIT   stop at once: workers get QUIT, and KILL after a second
 *   TTIN, TTOU  one worker more, one less (it gets RETIRE), never below one
 *   HUP         reload, where there is such a function; else replace every worker, if they may be
 *               replaced: see below
 *   USR1        reopen_logs
 *   USR2        upgrade: see proc/upgrade.h
 *   IO          something that `tend` looks after has news
 *   RETIRE      a successor serves on the same sockets: workers retire, the master ends with them
 *
 * Replacing: a successor is started in a free slot; when it is ready, the old worker gets RETIRE
 * (proc/signals.h), which tells it to take no new connections, to answer what it has, each time
 * with `Connection: close`, and to leave when no connection is left, at the latest after
 * graceful_timeout.
 *
 * A worker that shows no sign of life for `timeout` gets ABRT, and KILL after a second.
 *
 * A worker that dies is replaced under the same index: at once, or with a growing pause (100 ms to
 * 5 s) when it keeps dying within its first second. A worker whose master died gets SIGINT from
 * the kernel (PR_SET_PDEATHSIG) and leaves at once: nobody is left to replace it or to end it.
 *
 * A master that is PID 1 of a container also buries the orphans that the kernel gives it. */
#ifndef PROC_PREFORK_H
#define PROC_PREFORK_H

#include "base/clock.h"
#include "base/error.h"
#include <stdbool.h>
#include <sys/types.h>

#define PREFORK_WORKERS_MAX   1024
#define PREFORK_EXIT_NO_START 3

enum prefork_verdict { PREFORK_REPLACE, PREFORK_KEEP, PREFORK_WAIT };

struct prefork_config {
    const char *name;                         /* process titles and log lines: "srv serve" */
    const char *title;                        /* shown for workers: "green"; may be NULL */
    unsigned workers;                         /* 1..PREFORK_WORKERS_MAX; 1 still has a master */
    nsec_t graceful_timeout;                  /* after TERM, which workers keep, too */
    nsec_t graceful_delay;                    /* span from TERM to the begin of the stop */
    int (*worker)(void *arg, unsigned index); /* runs in the child; its result is the exit code */
    void (*all_ready)(void *arg);             /* once, in the master; or NULL */
    void (*reopen_logs)(void *arg);           /* USR1, in the master; or NULL */
    void (*reload)(void *arg);                /* HUP, in the master; NULL: replace the workers */
    /* HUP without `reload`: whether workers may be replaced, `anew` for each HUP. Never waits:
     * after PREFORK_WAIT it is asked again (not anew) whenever a child has died or `tend` is due.
     * NULL: they always may. */
    enum prefork_verdict (*may_replace)(void *arg, bool anew);
    void (*upgrade)(void *arg);  /* USR2, in the master; or NULL */
    bool (*replaced)(void *arg); /* RETIRE, in the master: false leaves all as it is; or NULL */
    void (*leaving)(void *arg);  /* graceful_delay begins; or NULL */
    void (*stopping)(void *arg); /* the workers were just told to stop, all of them; or NULL */
    /* Looks after other children of the master, whenever one has died, after SIGIO and when it
     * asked for: now, to the time of its next look (NSEC_NEVER: none is due). Or NULL. */
    nsec_t (*tend)(void *arg, nsec_t now);
    /* Whether that is one of these other children. NULL: there are none. */
    bool (*owns)(void *arg, pid_t pid);
    nsec_t timeout; /* a ready worker that does not beat for so long is killed; 0: none is */
    /* Tells what a stuck worker does, for the log; or NULL. */
    const char *(*doing)(void *arg, unsigned index);
    void *arg;
};

/* A worker calls it when it can serve. Workers of a fresh master that die before that are not
 * respawned for ever (back-off, then give up). */
void prefork_worker_ready(void);

/* A worker asks to be replaced, as by HUP; it serves on until its successor is ready. Safe from any
 * thread; more than once is as once. */
void prefork_worker_replace(void);

/* A worker made progress; with a timeout, to be called at least every half of it. Costs one look at
 * the clock, or none where the time is `now`; any thread. */
void prefork_worker_beat(void);
void prefork_worker_beat_at(nsec_t now);

/* Returns the exit code of the whole: 0 after a graceful stop, 3 when workers cannot even start. */
NODISCARD int prefork_run(const struct prefork_config *config);

#endif
