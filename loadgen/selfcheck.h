/* SPDX-License-Identifier: MIT */
/* Was it the server that was measured, or the generator? What limits the generator itself: its
 * processor time, its loop's lateness, ports, descriptors, and the listen queue on loopback. */
#ifndef LOADGEN_SELFCHECK_H
#define LOADGEN_SELFCHECK_H

#include "loadgen/tally.h"
#include "loadgen/times.h"
#include "net/address.h"

struct selfcheck {
    nsec_t span;      /* of what was measured */
    nsec_t cpu;       /* of all workers, within it */
    double busiest;   /* share (0..1) of a processor that the busiest worker used */
    struct hist *lag; /* microseconds for which an event of any moment had to wait */
    uint64_t descriptors_max;
    uint64_t ports, ports_waiting; /* local ports of the range; those that TIME_WAIT keeps from the
                                      target */
    uint64_t overflows, drops;     /* listen queues of this machine, during the run */
    uint64_t overflows_before, drops_before;
};

/* 0 or -ENOMEM. */
NODISCARD int selfcheck_init(struct selfcheck *s);
void selfcheck_free(struct selfcheck *s);

/* Around the run. `span` is that of what was measured, `to` are the `count`
 * addresses that connections went to. */
void selfcheck_begin(struct selfcheck *s);
void selfcheck_end(struct selfcheck *s, nsec_t span, const struct address *to, size_t count);

/* After selfcheck_end, for each worker: processor time and lateness. */
void selfcheck_add_worker(struct selfcheck *s, nsec_t cpu, const struct hist *lag);

/* Whether the generator, not the server, was the limit; `text`, of SELFCHECK_TEXT_BYTES, then says
 * why. `seconds` is the span of what was measured. */
#define SELFCHECK_TEXT_BYTES 192
bool selfcheck_verdict(const struct selfcheck *s, struct times total, const struct pauses *pauses,
                       double seconds, char *text);

#endif
