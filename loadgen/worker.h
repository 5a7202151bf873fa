/* SPDX-License-Identifier: MIT */
/* One loop with its connections and its counters. A worker shares nothing that changes with another
 * one. */
#ifndef LOADGEN_WORKER_H
#define LOADGEN_WORKER_H

#include "loadgen/client.h"
#include "loadgen/plan.h"
#include "loadgen/request.h"
#include "loadgen/tally.h"
#include "loadgen/target.h"

enum { WORKER_IN_BYTES = 65536 };

/* Why a run ended. */
enum worker_end {
    WORKER_END_DONE,   /* all requests have ended */
    WORKER_END_TIME,   /* the time limit */
    WORKER_END_ERROR,  /* a socket error without -r */
    WORKER_END_SIGNAL, /* the user */
};

struct worker {
    struct loop *loop;
    const struct loadgen_config *config;
    const struct request *request;
    const struct target *target;
    struct slice request_bytes; /* of `request`: read on every turn */
    struct plan plan;
    struct tally tally;
    struct timeouts timeouts, partings;
    struct timer stop_timer;
    struct client *clients;
    char *in;                    /* WORKER_IN_BYTES that every recv goes to first */
    uint32_t client_count, busy; /* busy: not resting */
    uint64_t ended, progress_at, progress_step;
    size_t address;     /* which of the target's addresses new connections go to */
    bool server_closes; /* it does close connections that it should; assumed until it does not */
    bool stopping;
    enum worker_end end;
};

/* `concurrency` connections; nothing is connected yet. Everything passed must outlive it. 0 or
 * -errno with the reason. */
NODISCARD int worker_init(struct worker *w, const struct loadgen_config *config,
                          const struct request *request, const struct target *target,
                          struct error *err);

/* Opens all connections and runs until the plan is done, the time is up or worker_stop. 0 or -errno
 * (the loop failed); the tally is valid either way. */
NODISCARD int worker_run(struct worker *w);

/* From a callback of its loop: no further requests, the run ends; what is in flight is counted as
 * such. */
void worker_stop(struct worker *w, enum worker_end end);
void worker_free(struct worker *w);

/* For clients: a request has come to its end; a client has nothing more to do. */
void worker_request_ended(struct worker *w, nsec_t now);
void worker_client_rests(struct worker *w);

#endif
