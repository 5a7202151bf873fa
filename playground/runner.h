/* SPDX-License-Identifier: MIT */
/* Runs one playground: starts its processes, loads them, samples them, stops them. */
#ifndef PLAYGROUND_RUNNER_H
#define PLAYGROUND_RUNNER_H

#include "playground/result.h"

struct runner_address {
    const char *name, *url;
    const char *control_url; /* the control endpoint's; empty when it has none */
    bool lists_requests;     /* at that endpoint, as srv serve does; else it has /stats alone */
};

struct runner {
    const char *program; /* path of srv: what the row's commands are subcommands of */
    int cancel_fd;       /* becoming readable ends the run; only polled */
    /* About 20 times a second while the load runs; may be NULL. */
    void (*on_sample)(void *arg, const struct play_result *so_far, const struct series_point *now);
    /* Called after the load, unless NULL, with the addresses of the processes, which then stay
     * until cancel_fd is readable (0 is returned) or one of them ends. */
    void (*on_keep)(void *arg, const struct play_result *result,
                    const struct runner_address *addresses, size_t count);
    void *arg;
};

/* Leaves none of the processes that it started, however it ends. 0 (look at ret->failed), and `ret`
 * is for result_free; -ENOPKG with a line that names what is not installed; -ECANCELED; or another
 * -errno with a line that says what could not be done: then `ret` holds the row and its load. */
NODISCARD int runner_run(const struct runner *runner, const struct playground *row,
                         const struct play_load *load, struct play_result *ret, struct error *err);

#endif
