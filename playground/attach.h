/* SPDX-License-Identifier: MIT */
/* Shows what the threads of any process wait for, without touching it. */
#ifndef PLAYGROUND_ATTACH_H
#define PLAYGROUND_ATTACH_H

#include "base/clock.h"
#include "net/address.h"
#include <sys/types.h>

#define ATTACH_INTERVAL_DEFAULT NSEC_PER_SEC

struct attach_config {
    pid_t pid;           /* with all processes below it */
    nsec_t interval;     /* from one look to the next, more than 0 */
    nsec_t duration;     /* 0: until it ends */
    const char *control; /* srv serve's address for that, to be asked for its requests; or NULL */
    struct address control_address;
    const char *json_path; /* a line for each look; "-" is stdout, NULL: none */
};

/* Prints a picture at once and after each interval, until the duration is over, the process has
 * ended, or TERM, INT, HUP or QUIT comes. Looks less often when that would take more than 1 % of a
 * core. The exit code: 0, or EXIT_CANNOT after telling why it cannot be looked at or written. */
int attach_run(const struct attach_config *config);

#endif
