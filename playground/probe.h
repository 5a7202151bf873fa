/* SPDX-License-Identifier: MIT */
/* What `top -H` would show of a process and the workers below it, read from /proc (proc(5)). */
#ifndef PLAYGROUND_PROBE_H
#define PLAYGROUND_PROBE_H

#include "base/attr.h"
#include "base/clock.h"
#include <stdint.h>
#include <sys/types.h>

#define PROBE_PROCESSES_MAX 256 /* of one tree; more are not looked at */

struct probe_sample {
    nsec_t at; /* when it was begun */
    uint32_t processes;
    uint32_t threads, running, sleeping; /* sleeping: states S and D */
    nsec_t
        cpu; /* user and system time of these processes since their start, ended threads included */
    uint64_t rss_bytes; /* resident now; pages that processes share count in each of them */
};

/* Adds the tree of `root` to the sample, which the caller zeroed. A tree is followed through the
 * children of each process's main thread: masters fork from there. Processes that end meanwhile are
 * left out. 0, or -ESRCH when `root` is gone. */
NODISCARD int probe_add(pid_t root, struct probe_sample *sample);

/* Sum over the living processes of the tree of the most that each ever had resident (VmHWM); 0 when
 * gone. */
uint64_t probe_memory_peak(pid_t root);

#endif
