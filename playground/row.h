/* SPDX-License-Identifier: MIT */
/* A playground as data, and all that follows from it without running it. */
#ifndef PLAYGROUND_ROW_H
#define PLAYGROUND_ROW_H

#include "base/clock.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLAY_PROCESSES_MAX   6
#define PLAY_ARGS_MAX        32
#define PLAY_SLOTS_UNLIMITED UINT32_MAX
#define PLAY_UNKNOWN         UINT32_MAX /* a count that nobody told */
#define PLAY_SLOW_API        "slowapi"
#define PLAY_DB_POOL         10 /* srv serve's --db-pool when it is not given */

/* The parts that the best time for a load is made of. */
enum play_ideal {
    PLAY_IDEAL_WAVES, /* requests wait side by side, one for each slot */
    /* Side by side for the first half of the delay, which is spent in the API. The second half: */
    PLAY_IDEAL_TURNS,   /* one after the other */
    PLAY_IDEAL_DB_POOL, /* PLAY_DB_POOL at once */
    PLAY_IDEAL_CPUS,    /* one on each CPU */
};

struct play_load {
    uint32_t requests, concurrency; /* 1 at least */
    nsec_t delay;                   /* spent in the slow API by every request; 0 or more */
    bool varied;                    /* answers differ in length, and may: bench's -l */
    bool kept;                      /* clients keep their connections: bench's -k */
};

struct program;

/* One long-running process of a playground. Its words may contain {bind}, the address to listen on,
 * and {NAME}, the address of the process called NAME, which stands before it in the list. Those of
 * srv may contain {control}, where it is asked how many requests are in flight, and {certificate}
 * and {key}, the files of one that speaks https. */
struct play_process {
    const char *name;                /* stands in messages and for {NAME} */
    const struct program *program;   /* see program.h; NULL: a subcommand of srv */
    const char *package;             /* Debian's, for a program that may be missing */
    const char *args[PLAY_ARGS_MAX]; /* ended by NULL; without "srv" */
    uint16_t port_by_hand;           /* for --explain; the runner takes a free port */
    bool names_port; /* srv's words have {bind} twice: its port is chosen before it starts */
    bool speaks_tls; /* with a certificate that is made for the run, which bench trusts */
    bool measured;   /* columns threads, CPU and memory are about its process tree */
    uint16_t status; /* answers have it, in a playground that shows a failure; 0: 200 */
};

struct playground {
    const char *name;  /* one lower-case word, unique */
    const char *alias; /* the tutorial's scenario, shared by the rows that come from it; or NULL */
    const char *peer_of; /* the row of ours that does the same job; NULL for rows of ours */
    const char *title;   /* one line, for --list */
    const char *shows;   /* two sentences, for --explain */
    const char *notice;  /* one sentence, printed under the table */
    /* In starting order; the last one takes the load. */
    struct play_process processes[PLAY_PROCESSES_MAX];
    struct play_load load;
    uint32_t slots; /* requests that may wait at the same time, or PLAY_SLOTS_UNLIMITED */
    enum play_ideal ideal;
    double tutorial_seconds;  /* the tutorial's figure for this load; 0 when it has none */
    const char *tutorial_has; /* the difference there, beside its figure ("1 worker"); or NULL */
};

/* Wishes of the user against the row's own load. */
struct play_overrides {
    uint32_t requests, concurrency; /* 0: as the row says */
    bool has_delay;
    nsec_t delay;
    bool kept; /* in addition to rows that say so */
};

size_t row_process_count(const struct playground *row);

/* Whether the first process is the slow API; else the server calls nobody but itself. */
bool row_has_slow_api(const struct playground *row);

/* The status of a process' answers. Not 200 when the playground shows a failure: then all requests
 * have to fail. */
uint16_t row_process_status(const struct play_process *process);

/* The row's load with the overrides put in; concurrency is never above the number of requests,
 * since the rest would idle. */
struct play_load row_load(const struct playground *row, const struct play_overrides *overrides);

/* The time that the tutorial reports for this very load, or 0. */
double row_tutorial_seconds(const struct playground *row, const struct play_load *load);

/* Waves of `slots` requests, each as long as the delay: ceil(n / min(slots, c)) * delay; by turns,
 * half of that and n * delay / 2; and where the second half has places of its own, half a delay and
 * ceil(n / places) * delay / 2 when that is more. All time above it is overhead. */
nsec_t row_ideal(const struct playground *row, const struct play_load *load);

/* The formula of row_ideal with the numbers in it: "ceil(10 / 1) x 1s". Returns `text`, cut to
 * `size`. */
const char *row_ideal_formula(const struct playground *row, const struct play_load *load,
                              char *text, size_t size);

#endif
