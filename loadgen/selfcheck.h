/* SPDX-License-Identifier: MIT */
/* Was it the server that was measured, or the generator? What limits the generator itself: its
 * processor time, its loop's lateness, ports, descriptors, and the listen queue on loopback. */
#ifndef LOADGEN_SELFCHECK_H
#define LOADGEN_SELFCHECK_H

#include "loadgen/counters.h"
#include "loadgen/percentile.h"
#include "net/address.h"

#define SELFCHECK_PROBE_PERIOD (20 * NSEC_PER_MSEC)
#define SELFCHECK_PAUSE_MIN    (10 * NSEC_PER_MSEC) /* a shorter one is a turn of a busy loop */

/* The lateness of one loop, looked at many times a second. */
struct lateness {
    struct hist *lag;                /* microseconds for which an event of any moment had to wait */
    struct pauses *pauses;           /* the counters' */
    nsec_t probe_at;                 /* the next one */
    nsec_t probe_cpu;                /* the thread's clock at the last probe */
    nsec_t pause_due;                /* no probe until then: the loop pauses */
    nsec_t pause_began, pause_ended; /* the last one; 0: none */
    bool pausing;                    /* the last one may go on */
};

struct selfcheck {
    nsec_t span;      /* length of what was measured */
    nsec_t cpu;       /* spent by all workers, within it */
    double busiest;   /* share (0..1) of a processor that the busiest worker used */
    struct hist *lag; /* microseconds for which an event of any moment had to wait */
    uint64_t descriptors_max;
    uint64_t ports, ports_waiting; /* local ports of the range; those that TIME_WAIT keeps from the
                                      target */
    uint64_t overflows, drops;     /* listen queues of this machine, during the run */
    uint64_t overflows_before, drops_before;
};

/* Around the run. `span` is that of what was measured, `to` are the `count` addresses that
 * connections went to. selfcheck_begin returns 0 or -ENOMEM. */
NODISCARD int selfcheck_begin(struct selfcheck *s);
void selfcheck_end(struct selfcheck *s, nsec_t span, const struct address *to, size_t count);
void selfcheck_free(struct selfcheck *s);

/* After selfcheck_end, for each worker: processor time and lateness. */
void selfcheck_add_worker(struct selfcheck *s, nsec_t cpu, const struct hist *lag);

/* Whether the generator, not the server, was the limit; `text`, of SELFCHECK_TEXT_BYTES, then says
 * why. `seconds` is the span of what was measured. */
#define SELFCHECK_TEXT_BYTES 192
bool selfcheck_verdict(const struct selfcheck *s, struct times total, const struct pauses *pauses,
                       double seconds, char *text);

/* Begins to look, at `now`; `lag` and `pauses` are set. */
void selfcheck_watch(struct lateness *l, nsec_t now);

/* Looks how late the loop is; nothing before the next look is due. */
void selfcheck_probe(struct lateness *l, nsec_t now);

/* Notes that the loop has not run since the probe that was due: the process was stopped, was not
 * given the processor, or spent the time within one turn. */
void selfcheck_note_pause(struct lateness *l, nsec_t now);

static inline void selfcheck_look(struct lateness *l, nsec_t now) {
    if (UNLIKELY(now > l->pause_due))
        selfcheck_note_pause(l, now);
}

#endif
