/* SPDX-License-Identifier: MIT */
/* Child processes: forked without a loss, reaped, told of in one phrase, and started again with a
 * growing pause when they keep dying.
 *
 *   pid = child_fork(SIGKILL);            0 in the child, which unblocks signals when it is ready
 *   child_began(&respawn, pid, now);      in the parent, also when the fork failed
 *   child_reap(pid, &status)              true once it has ended:
 *   child_died(&respawn, served, now);    the next start is due at respawn.start_at
 *
 * How a child is asked to end differs from one kind to the other, and is left to those who know it:
 * prefork's workers, helpers, the successor of an upgrade, the children of srv play. */
#ifndef PROC_CHILD_H
#define PROC_CHILD_H

#include "base/attr.h"
#include "base/clock.h"
#include <stdbool.h>
#include <sys/types.h>

/* Forks. Buffered output of stdio is flushed before, else both would write it. No signal hits the
 * child before it is ready: all are blocked in it. When the parent dies the kernel sends the child
 * `death_signal` (0: none). The pid, 0 in the child, or -errno. */
NODISCARD pid_t child_fork(int death_signal);

/* The kernel sends `signo` to the caller when its parent, `parent`, dies; raised at once when that
 * has died already. For a child that changes its user, which takes child_fork's wish back.
 * prctl(2), PR_SET_PDEATHSIG. */
void child_die_with_parent(int signo, pid_t parent);

/* A status for which the kernel left no trace: who ignores SIGCHLD, as PID 1 does (proc/signals.h),
 * finds nothing to wait for. */
#define CHILD_STATUS_UNKNOWN (-1)

/* Whether the child has ended, without waiting for that; its pid is free for others then.
 * *ret_status is as of waitpid(2), or CHILD_STATUS_UNKNOWN. */
NODISCARD bool child_reap(pid_t pid, int *ret_status);

/* Waits until the child has ended. Its status as of waitpid(2), or CHILD_STATUS_UNKNOWN. */
int child_wait(pid_t pid);

enum { CHILD_END_BYTES = 40 };

/* The end of a child for a line of the log: " signal=SIGSEGV core=yes", " exit_code=1", or nothing
 * when that is not known. Returns `text`, of CHILD_END_BYTES. */
const char *child_end(int status, char *text);

/* The pace of respawns: at once, unless those before died young, too. */
struct child_respawn {
    unsigned early_deaths; /* in a row */
    nsec_t born_at;
    nsec_t start_at; /* NSEC_NEVER while it runs */
};

/* After a fork; a `pid` below 0 means that it failed, and is tried again after 100 ms. */
void child_began(struct child_respawn *r, pid_t pid, nsec_t now);

/* After a death; `served`: it was ready before. A death in the first second, or before it served,
 * counts as early. The first early death costs no pause, the second 100 ms, then it doubles up to
 * 5 s. */
void child_died(struct child_respawn *r, bool served, nsec_t now);

#endif
