/* SPDX-License-Identifier: MIT */
/* A small process beside the workers, forked from whoever watches it and started again when it
 * dies.
 *
 *   helper_start(&h);                                at the start
 *   next = helper_tend(&h, now);                     now and then: by the master, or by the loop of
 *                                                    a process that has no master
 *   helper_stop(&h, patience);                       at the end
 *
 * It has no descriptors but 0, 1, 2 and those it keeps, and it ignores what terminals and service
 * managers send to all processes at once: its parent ends it, or what it reads from does.
 *
 * A parent with threads may start one, too: then `run` must keep to what glibc makes good after a
 * fork (malloc and stdio), and stay away from other locks (time zones, name look-ups). */
#ifndef PROC_HELPER_H
#define PROC_HELPER_H

#include "proc/child.h"
#include <stddef.h>

enum { HELPER_FDS_MAX = 3 };

struct helper {
    const char *program;   /* for ps: "srv serve" */
    const char *name;      /* for the log, and "PROGRAM: NAME" for ps */
    int (*run)(void *arg); /* in the child; returns its exit code */
    void *arg;
    int fds[HELPER_FDS_MAX]; /* descriptors that it keeps */
    size_t fd_count;
    bool outlives; /* the process ends by itself when its parent is gone */

    pid_t pid; /* 0: not running */
    struct child_respawn respawn;
};

/* 0 or -errno: then helper_tend tries again. */
NODISCARD int helper_start(struct helper *h);

/* Starts it again when it has died: at once, or with a growing pause (0.1 to 5 s) when it keeps
 * dying soon. Returns when to come back at the latest; NSEC_NEVER while it runs. */
nsec_t helper_tend(struct helper *h, nsec_t now);

/* Waits `patience` for it to end, and kills it then. Also when it has been stopped (SIGSTOP). False
 * when it was killed here. */
bool helper_stop(struct helper *h, nsec_t patience);

#endif
