/* SPDX-License-Identifier: MIT */
/* Was it the server that was measured, or the generator? What limits the generator itself: its
 * processor time, its loop's lateness, ports, descriptors, and the listen queue on loopback. */
#ifndef LOADGEN_SELFCHECK_H
#define LOADGEN_SELFCHECK_H

#include "base/clock.h"
#include "base/hist.h"

struct selfcheck {
    nsec_t began, span; /* monotonic; what the run took */
    nsec_t cpu;         /* of all workers */
    double busiest;     /* share (0..1) of a processor that the busiest worker used */
    struct hist *lag;   /* microseconds by which loops were late */
    uint64_t descriptors_max;
    uint64_t ports, ports_waiting; /* local ports of the range; sockets in TIME_WAIT */
    uint64_t overflows, drops;     /* listen queues of this machine, during the run */
    uint64_t overflows_before, drops_before;
};

/* 0 or -ENOMEM. */
NODISCARD int selfcheck_init(struct selfcheck *s);
void selfcheck_free(struct selfcheck *s);

/* Around the run. */
void selfcheck_begin(struct selfcheck *s);
void selfcheck_end(struct selfcheck *s);

/* After selfcheck_end, for each worker: processor time and lateness. */
void selfcheck_add_worker(struct selfcheck *s, nsec_t cpu, const struct hist *lag);

/* Why the generator was the limit; NULL when it was not. `text` has SELFCHECK_TEXT_BYTES. */
#define SELFCHECK_TEXT_BYTES 160
const char *selfcheck_verdict(const struct selfcheck *s, char *text);

#endif
