/* SPDX-License-Identifier: MIT */
/* The playgrounds, as data: a new one is a row in catalogue.c and no code. */
#ifndef PLAYGROUND_CATALOGUE_H
#define PLAYGROUND_CATALOGUE_H

#include "base/clock.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLAY_PROCESSES_MAX   6
#define PLAY_ARGS_MAX        32
#define PLAY_SLOTS_UNLIMITED UINT32_MAX
#define PLAY_SLOW_API        "slowapi"
#define PLAY_DB_POOL         10    /* srv serve's --db-pool when it is not given */
#define PLAY_ALL             "all" /* the word that stands for every row */

/* What the best time for a load is made of. */
enum play_ideal {
    PLAY_IDEAL_WAVES, /* requests wait side by side, as many as there are slots */
    /* Side by side for the first half of the delay, which is spent in the API. The second half: */
    PLAY_IDEAL_TURNS,   /* one after the other */
    PLAY_IDEAL_DB_POOL, /* PLAY_DB_POOL at once */
    PLAY_IDEAL_CPUS,    /* as many at once as there are CPUs */
};

struct play_load {
    uint32_t requests, concurrency; /* 1 at least */
    nsec_t delay;                   /* of every request, spent in the slow API; 0 or more */
    bool varied;                    /* answers differ in length, and may: bench's -l */
};

struct program;

/* One long-running process of a playground. Its words may contain {bind}, the address to listen on,
 * and {NAME}, the address of the process called NAME, which stands before it in the list. Those of
 * srv may contain {control}, where it is asked how many requests are in flight. */
struct play_process {
    const char *name;                /* what messages and {NAME} call it */
    const struct program *program;   /* what it is, see program.h; NULL: a subcommand of srv */
    const char *package;             /* Debian's, for a program that may be missing */
    const char *args[PLAY_ARGS_MAX]; /* ended by NULL; without "srv" */
    uint16_t port_by_hand;           /* where --explain puts it; the runner takes a free port */
    bool measured;   /* its process tree fills the columns threads, CPU and memory */
    uint16_t status; /* of its answers, in a playground that shows a failure; 0: 200 */
};

struct playground {
    const char *name;    /* one lower-case word, unique */
    const char *alias;   /* the tutorial's scenario, shared by the rows that come from it; NULL when
                            it is ours alone */
    const char *peer_of; /* the row of ours that does the same job; NULL for rows of ours */
    const char *title;   /* one line, for --list */
    const char *shows;   /* two sentences, for --explain */
    const char *notice;  /* one sentence, printed under the table */
    struct play_process
        processes[PLAY_PROCESSES_MAX]; /* in starting order; the last one takes the load */
    struct play_load load;
    uint32_t
        slots; /* requests that the model can let wait at the same time, or PLAY_SLOTS_UNLIMITED */
    enum play_ideal ideal;
    double tutorial_seconds; /* what the tutorial reports for this load; 0 when it has no figure */
    const char
        *tutorial_has; /* what differs there, beside its figure ("1 worker"); NULL: nothing */
};

/* What the user wants different from the row's own load. */
struct play_overrides {
    uint32_t requests, concurrency; /* 0: as the row says */
    bool has_delay;
    nsec_t delay;
};

extern const struct playground catalogue[];
extern const size_t catalogue_count;

/* Whether `word` is the row's name, its alias, or "all". */
bool catalogue_matches(const struct playground *row, const char *word);

/* The name or alias, of a row or of one of the originals, that `word` was probably meant to be, or
 * NULL when nothing is near. */
const char *catalogue_closest(const char *word);

size_t catalogue_process_count(const struct playground *row);

/* Whether the first process is the slow API; else the server calls nobody but itself. */
bool catalogue_has_slow_api(const struct playground *row);

/* What requests are answered with. Not 200 when the playground shows a failure: then all of them
 * have to fail. */
uint16_t catalogue_status(const struct playground *row);

/* Whether the process that takes the load stands in front of the server, and is not measured. */
bool catalogue_has_proxy(const struct playground *row);

/* Whether the same requests come at the same pace, with the same delay. */
bool catalogue_same_load(const struct play_load *a, const struct play_load *b);

/* The row's load with the overrides put in; concurrency is never above the number of requests,
 * since the rest would idle. */
struct play_load catalogue_load(const struct playground *row,
                                const struct play_overrides *overrides);

/* Waves of `slots` requests, each as long as the delay: ceil(n / min(slots, c)) * delay; by turns,
 * half of that and n * delay / 2; and where the second half has places of its own, half a delay and
 * ceil(n / places) * delay / 2 when that is more. What is left above it is overhead. */
nsec_t catalogue_ideal(const struct playground *row, const struct play_load *load);

/* That formula with the numbers in it: "ceil(10 / 1) x 1s". Returns `text`, cut to `size`. */
const char *catalogue_ideal_formula(const struct playground *row, const struct play_load *load,
                                    char *text, size_t size);

#endif
