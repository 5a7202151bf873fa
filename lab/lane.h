/* SPDX-License-Identifier: MIT */
/* A lane: a slow API, a server in front of it and a load, as real processes that end with this one.
 *
 *   stopped --start--> starting --> running --stop--> stopped
 *                          |           |
 *                          +-> failed <+      a process ended that should not have
 *
 *   lane_init; lane_start, lane_change, lane_do: never wait for longer than a killed process needs
 *   lane_poll: as often as lane_is_restless says, and every tenth of a second
 *   lane_ask: once every tenth of a second: asks the processes for figures
 */
#ifndef LAB_LANE_H
#define LAB_LANE_H

#include "lab/ask.h"
#include "lab/figures.h"
#include "playground/program.h"
#include "waits/sampler.h"

enum { LANE_ROWS = 2, LANE_WORD_BYTES = 64, LANE_WHY_BYTES = 512 };

enum lane_state { LANE_STOPPED, LANE_STARTING, LANE_RUNNING, LANE_FAILED };

enum { LANE_UPSTREAM, LANE_SERVER, LANE_LOAD, LANE_PROCESSES };

/* The last change, for people: what took it over, and how long that took. */
struct lane_change {
    char what[LANE_WORD_BYTES];
    const char *how; /* "" before the first */
    nsec_t began;
    double ms; /* below 0: not done yet */
    uint64_t count;
};

struct lane {
    struct loop *loop;
    const char *srv; /* path of the program */
    enum lane_state state;
    char why[LANE_WHY_BYTES]; /* the reason for a stop or a failure; or "" */
    struct lab_settings settings;
    struct lane_change change;
    uint64_t restarts; /* starts of the server, since the lane was made */

    struct play_child processes[LANE_PROCESSES];
    struct play_process rows[LANE_ROWS]; /* the words of the first two */
    char words[LANE_ROWS][PLAY_ARGS_MAX][LANE_WORD_BYTES];
    struct program_start starts[LANE_ROWS];
    bool workers_due; /* the master has to have more or fewer */
    nsec_t signalled_at;
    uint16_t upstream_port; /* stays when the slow API comes back; 0: none yet */
    bool upstream_down, upstream_frozen;
    bool rules_due, rules_known; /* to be sent; taken at least once */
    nsec_t deadline;             /* for a start */
    nsec_t load_again_at;        /* a load that ended by itself begins anew then; 0: it runs */

    int ticks_fd; /* the read end of what the load tells; -1: none */
    char tick[65536];
    size_t tick_len;
    bool tick_too_long;

    struct asker stats, requests, api;
    bool api_asked_rules;
    uint32_t turns;
    struct figures figures;

    struct sampler *sampler;     /* of the workers' threads */
    struct wait_sample *threads; /* the last sample */
    nsec_t threads_at;           /* the time of the next one */
};

/* 0 or -ENOMEM. */
NODISCARD int lane_init(struct lane *lane, struct loop *loop, const char *srv);
void lane_free(struct lane *lane);

/* Starts all three processes. 0; or -errno with a line, and the lane has failed. Harmless while it
 * runs. */
NODISCARD int lane_start(struct lane *lane, struct error *err);

/* Ends all processes; `why` stands beside the word "stopped", or is "". */
void lane_stop(struct lane *lane, const char *why);

/* Takes changed controls over, in a lane that runs by the cheapest means. 0 or -EINVAL with a line,
 * and nothing changed. */
NODISCARD int lane_change(struct lane *lane, const json_t *changes, struct error *err);

/* Does what a word says: "start", "stop", "kill-worker", "reload", "stop-upstream",
 * "freeze-upstream", "start-upstream". 0, or -errno with a line. */
NODISCARD int lane_do(struct lane *lane, const char *word, struct error *err);

/* Takes in what the processes say, and goes on with a start. */
void lane_poll(struct lane *lane);

/* Whether a start or a change is under way. */
bool lane_is_restless(const struct lane *lane);

void lane_ask(struct lane *lane);

/* Everything as JSON, for the page and for programs. NULL when out of memory. */
NODISCARD json_t *lane_json(const struct lane *lane, unsigned number);

#endif
