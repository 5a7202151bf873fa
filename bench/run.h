/* SPDX-License-Identifier: MIT */
/* Runs: the load is prepared once; each run of it goes from a configuration to a report in memory.
 *
 *   load_setup_new(&setup, config, err)       the target is looked up, the request is built
 *     load_run_new(&run, setup, step, err)      its workers; nothing is connected yet
 *     load_run_go(run, err)                     loads, and counts
 *     load_run_report(run)                      what came out
 *     load_run_free(run)                        the next run may differ in rate and times
 *   load_setup_free(setup)
 */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include "loadgen/config.h"

struct load_setup;
struct load_run;
struct report;

/* Checks the configuration, which stays, and prepares what runs share: constant from then on. 0;
 * EXIT_USAGE (a value that cannot be sent, too few descriptors), EXIT_CANNOT (a name that is not
 * found, a file that cannot be read); `err` tells, and *ret is NULL. */
NODISCARD int load_setup_new(struct load_setup **ret, const struct loadgen_config *config,
                             struct error *err);
void load_setup_free(struct load_setup *setup);

/* For who has several runs: signals to stop that come between them wait for the next one, which
 * they end at once. */
void load_setup_defer_signals(struct load_setup *setup);

/* Makes the workers of one run. `config` stays; it is that of the setup, or a checked one that
 * differs in how much is sent and when: rate, arrivals, seed, connections, requests and times. 0 or
 * -errno, and *ret is NULL. */
NODISCARD int load_run_new(struct load_run **ret, const struct load_setup *setup,
                           const struct loadgen_config *config, struct error *err);
void load_run_free(struct load_run *run);

/* Runs it, once, from now on; one run at a time in a process: TERM, INT, QUIT and HUP end it while
 * it goes on. Prints nothing but the progress that the configuration asks for. Returns the exit
 * code that the run would give the program: 0; EXIT_CANNOT (nothing could be connected, a socket
 * error without -r, and what `err` tells); LOADGEN_EXIT_*. */
NODISCARD int load_run_go(struct load_run *run, struct error *err);

/* After load_run_go, until load_run_free; NULL when that could not make one. */
const struct report *load_run_report(const struct load_run *run);

/* One run of its own, with all that is printed and written. Returns the exit code: those of
 * load_setup_new and load_run_go; EXIT_CANNOT when a file cannot be written. `err` is empty, or
 * holds the line that explains the code when the report does not. */
NODISCARD int loadgen_run(const struct loadgen_config *config, struct error *err);

#endif
