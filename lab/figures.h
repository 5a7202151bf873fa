/* SPDX-License-Identifier: MIT */
/* The figures of a lane: what the load generator, the server and the slow API told in the last
 * seconds, and the arithmetic beside it: Little's law, the ceiling, and what limits now. */
#ifndef LAB_FIGURES_H
#define LAB_FIGURES_H

#include "base/slice.h"
#include "lab/settings.h"
#include "loadgen/band.h"
#include "playground/procstat.h"
#include <sys/types.h>

enum {
    FIGURES_TICKS = 50,   /* tenths of a second that percentiles are of */
    FIGURES_RECENT = 20,  /* ticks among them that rates are of */
    FIGURES_WORKERS = 64, /* workers whose CPU time is followed */
    FIGURES_BARS = 500,   /* requests that are shown */
};

/* A tenth of a second of the load. */
struct figures_tick {
    double seconds, mean_us;
    uint64_t ended, failed, in_flight;
    uint32_t bands[BANDS_MAX];
    uint32_t tops[BANDS_MAX]; /* the largest latency in each, in microseconds */
};

/* CPU time and answers of all workers so far, of about every tenth of a second. */
struct figures_cost {
    nsec_t cpu;
    uint64_t answers;
};

struct figures {
    struct figures_tick *ticks; /* FIGURES_TICKS of them */
    uint32_t tick_count, tick_next;
    json_t *last_tick; /* counts from the start of the load */

    struct figures_cost costs[FIGURES_TICKS];
    uint32_t cost_count, cost_next;
    nsec_t cpu;
    struct {
        pid_t pid;
        nsec_t cpu;
    } known[FIGURES_WORKERS];

    json_t *server;   /* the sums of its workers */
    json_t *statuses; /* answers so far, by status */
    json_t *upstream; /* the slow API's counters */
    json_t *bars;     /* requests of the server, one by one */
    uint32_t by_wait[8], requests;
    pid_t workers[FIGURES_WORKERS];
    uint32_t worker_count;
    uint32_t serving; /* workers that are ready, or about to be */
    nsec_t stats_at;  /* the time of both */
    bool is_blind;    /* the server tells nothing of its requests: it is an original */
};

/* 0 or -ENOMEM. */
NODISCARD int figures_init(struct figures *f);
void figures_free(struct figures *f);

/* Forgets what the load generator told, what the server told, or what the slow API told: another
 * process takes its place. */
void figures_forget_load(struct figures *f);
void figures_forget_server(struct figures *f);
void figures_forget_upstream(struct figures *f);

/* Take in a line of `srv bench --ticks`, and answers of control endpoints: /stats and /requests of
 * serve, /stats of slowapi. What is none is left out. `upstream_port` tells calls of the slow API
 * from others that libraries wait for. */
void figures_take_tick(struct figures *f, struct slice line);
void figures_take_stats(struct figures *f, struct slice body);
void figures_take_requests(struct figures *f, struct slice body, uint16_t upstream_port);

/* Takes in what the kernel tells of a server that has no control endpoint. */
void figures_take_processes(struct figures *f, const struct procstat *sample);
void figures_take_upstream(struct figures *f, struct slice body);

/* The slow API, as the lane has left it. */
enum figures_upstream { UPSTREAM_UP, UPSTREAM_DOWN, UPSTREAM_FROZEN };

/* Everything as JSON. NULL when out of memory. */
NODISCARD json_t *figures_json(const struct figures *f, const struct lab_settings *s,
                               enum figures_upstream upstream);

/* The names of what a request waits for, in the order of the numbers in bars. NULL when out of
 * memory. */
NODISCARD json_t *figures_waits_json(void);

#endif
