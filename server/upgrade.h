/* SPDX-License-Identifier: MIT */
/* Replacing the binary without losing a request (USR2).
 *
 *   old master                              new master
 *   USR2: fork, exec the same path     ->   takes the sockets over, starts its workers
 *   RETIRE: its workers retire         <-   all workers are ready
 *   ends with its last worker
 *
 * A new master that cannot start changes nothing: the old one serves on. */
#ifndef SERVER_UPGRADE_H
#define SERVER_UPGRADE_H

#include "net/binds.h"
#include <sys/types.h>

struct upgrade {
    char *path;        /* of the program, as it was when we started */
    char *const *argv; /* of this process: the successor gets the same */
    pid_t predecessor; /* whom we replace; 0: nobody */
    pid_t successor;   /* who replaces us; 0: nobody yet */
    bool replaced;     /* by the successor: this program is leaving */
};

/* Call before anything changes the environment. 0 or -errno with a reason; upgrade_free then, too.
 */
NODISCARD int upgrade_init(struct upgrade *u, char *const *argv, struct error *err);

void upgrade_free(struct upgrade *u);

/* Starts the successor. What fails is logged. `control_fd` may be -1. */
void upgrade_start(struct upgrade *u, const struct binds *binds, int control_fd,
                   bool control_borrowed);

/* Whether the successor has just ended before it took over: this program is alone again. Logs that.
 */
NODISCARD bool upgrade_tend(struct upgrade *u);

/* Tells the predecessor that we serve. Does nothing without one; once. */
void upgrade_complete(struct upgrade *u);

#endif
