/* SPDX-License-Identifier: MIT */
/* The lab: one page over lanes of real processes, on the loop of one thread. */
#ifndef LAB_LAB_H
#define LAB_LAB_H

#include "base/clock.h"
#include <stdbool.h>

struct lab_config {
    const char *bind; /* HOST:PORT; loopback unless allow_remote */
    bool allow_remote;
    const char *token;   /* NULL: a random one */
    nsec_t idle;         /* lanes stop when nobody has looked for so long */
    const char *program; /* path of srv */
};

#define LAB_TOKEN_BYTES_MIN 16

/* Serves until TERM, INT, QUIT or HUP. Returns the exit code, after telling why. The calling
 * program has one thread. */
int lab_run(const struct lab_config *config);

#endif
