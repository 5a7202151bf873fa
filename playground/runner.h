/* SPDX-License-Identifier: MIT */
/* Runs one playground: starts its processes, loads them, samples them, stops them. */
#ifndef PLAYGROUND_RUNNER_H
#define PLAYGROUND_RUNNER_H

#include "playground/result.h"

struct runner_address {
    const char *name, *url;
    const char *control_url; /* where it tells of itself; empty when it does not */
};

struct runner {
    const char *program; /* path of srv: what the row's commands are subcommands of */
    int cancel_fd;       /* becoming readable ends the run; only polled */
    /* About 20 times a second while the load runs; may be NULL. */
    void (*on_sample)(void *arg, const struct play_result *so_far, const struct series_point *now);
    /* When not NULL: called after the load with the addresses of the processes, which then stay
     * until cancel_fd is readable (0 is returned) or one of them ends. */
    void (*on_keep)(void *arg, const struct play_result *result,
                    const struct runner_address *addresses, size_t count);
    void *arg;
};

/* Whatever it returns, none of the processes that it started is left. 0 (look at ret->failed);
 * -ENOPKG with a line that names what is not installed; -ECANCELED; or another -errno with a line
 * that says what could not be done. `ret` is for result_free in every case. */
NODISCARD int runner_run(const struct runner *runner, const struct playground *row,
                         const struct play_load *load, struct play_result *ret, struct error *err);

#endif
