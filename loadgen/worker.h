/* SPDX-License-Identifier: MIT */
/* One loop with its connections and its counters: a thread of the run. Workers share struct live
 * only. */
#ifndef LOADGEN_WORKER_H
#define LOADGEN_WORKER_H

#include "loadgen/answers.h"
#include "loadgen/client.h"
#include "loadgen/live.h"
#include "loadgen/plan.h"
#include "loadgen/request.h"
#include "loadgen/samples.h"
#include "loadgen/tally.h"
#include "loadgen/target.h"

enum { WORKER_IN_BYTES = 65536 };

#define WORKER_PAUSE_MIN (10 * NSEC_PER_MSEC) /* what is shorter is a turn of a busy loop */

/* What a run consists of; all of it outlives the workers. */
struct worker_setup {
    const struct loadgen_config *config;
    const struct request *request;
    const struct target *target;
    const struct expect_body *expect;
    const struct loadgen_sources *sources; /* NULL: the system chooses */
    struct live *live;
    struct share share;
};

struct load_worker {
    struct loop *loop;
    const struct loadgen_config *config;
    const struct target *target;
    const struct request *request;
    const struct expect_body *expect;
    const struct loadgen_sources *sources;
    struct live *live;
    struct share share;
    struct slice request_bytes; /* of `request`: read on every turn */
    struct load_plan plan;
    struct tally tally;
    struct answers answers;
    struct live_part part;
    struct live_state state;
    struct samples samples;
    bool keeps_samples;
    bool is_warm; /* the first request that counts has begun */
    struct timeouts timeouts, partings, retries;
    struct parting parting; /* the first one, watched to learn what the server does */
    struct load_client *clients;
    struct load_client *idle; /* open model: those without a request, the last used first */
    char *in;                 /* WORKER_IN_BYTES that every recv goes to first */
    uint32_t client_count, started, busy; /* started: once; busy: not resting */

    struct timer stop_timer, drain_timer;
    struct timer arrival_timer; /* open model: the next planned request */
    struct timer ramp_timer;    /* the next connection to start */
    struct timer tick_timer;    /* every second: live_publish */
    struct timer row_timer;     /* a moment later, on the first worker: live_close_row */
    struct timer trial_timer;   /* the end of the trial */
    struct timer probe_timer;   /* many times a second: is the loop late, shall it stop? */

    nsec_t start, next_tick, ticked_at, probe_at;
    struct hist *lag; /* microseconds for which an event of any moment had to wait */
    nsec_t cpu;       /* spent by the thread on what is measured */
    nsec_t cpu_began; /* the thread's clock when that began */

    nsec_t pause_due;                /* no probe until then: the loop pauses */
    nsec_t pause_began, pause_ended; /* the last one; 0: none */
    nsec_t probe_cpu;                /* the thread's clock at the last probe */
    bool pausing;                    /* the last one may go on */
    bool found_idle;                 /* the planned request goes to a connection that was free */

    size_t turn;         /* connections begun: whose turn it is among the target's addresses */
    size_t source;       /* which of the source addresses the next one comes from */
    bool server_closes;  /* it has closed a connection that it should */
    bool server_lingers; /* it has not; nobody waits for it again */
    bool trial_began, trial_is_over; /* of waiting for it while that is unknown */
    bool starts_serially;            /* ab: the others wait for the first response */
    bool stopping;
    bool attends; /* the first worker has ended and stays for the others */
    enum run_end end;
};

/* Its share of the connections; nothing is connected yet. 0 or -errno with the reason. */
NODISCARD int worker_init(struct load_worker *w, const struct worker_setup *setup,
                          struct error *err);

/* Runs from `start` (CLOCK_MONOTONIC, about now) until the plan is done, the time is up, or
 * somebody asked for the end. The first worker then stays until the others have ended, too: its
 * loop has the signals, the rows and --abort-if. 0 or -errno (the loop failed); the tally is valid
 * either way. */
NODISCARD int worker_run(struct load_worker *w, nsec_t start);

/* From a callback of its loop: no further requests, the run ends, for the other workers too; what
 * is in flight is counted as such. */
void worker_stop(struct load_worker *w, enum run_end end);
void worker_free(struct load_worker *w);

/* The thread's processor time. */
nsec_t worker_cpu(void);

/* Notes that the loop has not run since the probe that was due: the process was stopped, was not
 * given the processor, or spent the time within one turn. */
void worker_pauses(struct load_worker *w, nsec_t now);

static inline void worker_look_for_pause(struct load_worker *w, nsec_t now) {
    if (UNLIKELY(now > w->pause_due))
        worker_pauses(w, now);
}

/* Copies what stands open at this moment, for --abort-if. */
void worker_look_at_state(struct load_worker *w, nsec_t now);

/* --- for clients ---------------------------------------------------------------------------- */

/* The next request of the plan, if one is due: sets c->planned and c->sample. */
bool worker_take(struct load_worker *w, nsec_t now, struct load_client *c);

/* The client's request has come to its end. */
void worker_answered(struct load_worker *w, struct load_client *c, const struct timing *timing,
                     nsec_t now);
void worker_failed(struct load_worker *w, struct load_client *c, enum failure reason,
                   const struct timing *timing, nsec_t now);

/* It has nothing to do for now. */
void worker_client_rests(struct load_worker *w, struct load_client *c);

/* Planned requests whose time has come but that nobody was free for: their users have waited, too.
 */
void worker_drop_due(struct load_worker *w, nsec_t now);

/* The first response has come: starts those that waited for it. */
void worker_start_rest(struct load_worker *w);

#endif
