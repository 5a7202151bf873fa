/* SPDX-License-Identifier: MIT */
/* Replacing the binary without losing a request (USR2).
 *
 *   old master                              new master
 *   USR2: fork, exec the same path     ->   takes the sockets over, starts its workers
 *   RETIRE: its workers retire         <-   all workers are ready
 *   ends with its last worker
 *
 * A new master that cannot start changes nothing: the old one serves on. One that is not ready in
 * time is ended. PID 1 is not replaced, nor the child of a container's init: the container would
 * end with it. */
#ifndef PROC_UPGRADE_H
#define PROC_UPGRADE_H

#include "base/clock.h"
#include "net/listeners.h"
#include <sys/types.h>

struct upgrade {
    char *path;             /* the program's, as it was when we started; NULL: not known */
    char *const *argv;      /* arguments of this process: the successor gets the same */
    pid_t predecessor;      /* the master that we replace; 0: none */
    pid_t successor;        /* the master that replaces us; 0: none yet */
    bool replaced;          /* by the successor: this program is leaving */
    bool given_up;          /* the successor was not ready in time, and was told to end */
    nsec_t act_at;          /* the successor is told to end, or killed, then; NSEC_NEVER: no */
    nsec_t patience, grace; /* spans: until it must be ready (0: for ever); to end in */
};

/* Call before anything changes the environment. `patience` and `grace` as above. 0 or -errno with a
 * reason; upgrade_free then, too. */
NODISCARD int upgrade_init(struct upgrade *u, char *const *argv, nsec_t patience, nsec_t grace,
                           struct error *err);

void upgrade_free(struct upgrade *u);

/* Starts the successor. What fails or is refused is logged. `control_fd` may be -1. */
void upgrade_start(struct upgrade *u, const struct listeners *listeners, int control_fd,
                   bool control_borrowed);

/* Ends a successor that takes too long. Returns when to come back; NSEC_NEVER: nothing is due.
 * `*ret_alone`: it has just ended before it took over, and this program is alone again. Logged. */
nsec_t upgrade_tend(struct upgrade *u, nsec_t now, bool *ret_alone);

/* The successor says that it serves. False: it was given up before, and does not. */
NODISCARD bool upgrade_accept(struct upgrade *u);

/* Tells the predecessor that we serve. Does nothing without one; once. */
void upgrade_complete(struct upgrade *u);

#endif
