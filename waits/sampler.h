/* SPDX-License-Identifier: MIT */
/* Looks at all threads of some processes and of the processes below them, and counts what they wait
 * for. Nothing is stopped or changed: what is read is /proc and the kernel's tables of sockets.
 *
 *   sampler_open(&s)
 *   sampler_take(s, &look, sample)      as often as wished; what it costs is CPU time of the caller
 *   sampler_close(s)
 *
 * Files of threads stay open between two samples, as long as descriptors are left. */
#ifndef WAITS_SAMPLER_H
#define WAITS_SAMPLER_H

#include "base/clock.h"
#include "base/error.h"
#include "waits/decode.h"
#include <sys/types.h>

#define SAMPLER_PROCESSES_MAX 1024  /* more are not looked at */
#define SAMPLER_THREADS_MAX   65536 /* in all processes; more are not looked at */
#define SAMPLER_NOTE_BYTES    240

/* Sampling is to take one in so many parts of a core. */
#define SAMPLER_COST_RATIO 100

struct sampler;

struct sampler_look {
    const pid_t *roots;
    size_t root_count;
    pid_t except;                    /* a process below them that is left out; 0: none */
    const struct decode_role *roles; /* names of servers that the processes connect to */
    size_t role_count;
};

struct wait_sample {
    uint32_t processes;
    struct wait_tally tally; /* waits of all their threads, sorted */
    nsec_t cost;             /* CPU time that it took to look */
    /* A line on what the kernel did not tell, and why; empty: the kernel told everything. */
    char note[SAMPLER_NOTE_BYTES];
};

/* 0 or -ENOMEM. */
NODISCARD int sampler_open(struct sampler **ret);
void sampler_close(struct sampler *s); /* NULL-safe */

/* Threads that come or go meanwhile are counted or not; each that is counted is in one group. 0,
 * -ESRCH (none of the roots is there any more) or -ENOMEM. */
NODISCARD int sampler_take(struct sampler *s, const struct sampler_look *look,
                           struct wait_sample *ret);

/* The time of the next look: `interval` after `now`, or later when looking would take too much of a
 * core (SAMPLER_COST_RATIO). */
nsec_t sampler_next(nsec_t now, nsec_t interval, const struct wait_sample *last);

/* Whether the process can be looked at. 0; or -errno with the reason in a line: there is none, it
 * is another user's, a thread of the kernel, or not permitted. */
NODISCARD int sampler_check(pid_t pid, struct error *err);

#endif
