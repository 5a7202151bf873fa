/* SPDX-License-Identifier: MIT */
/* The figures that `top -H` would show of a process and the workers below it, read from /proc
 * (proc(5)), and the kernel's count of connections. */
#ifndef PLAYGROUND_PROCSTAT_H
#define PLAYGROUND_PROCSTAT_H

#include "base/attr.h"
#include "base/clock.h"
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PROCSTAT_PROCESSES_MAX 256 /* in one tree; more are not looked at */

struct procstat {
    nsec_t at; /* the time of its begin */
    uint32_t processes;
    uint32_t threads, running, sleeping; /* sleeping: states S and D */
    nsec_t cpu;         /* user and system time of these processes, ended threads included */
    uint64_t rss_bytes; /* resident now; pages that processes share count in each of them */
};

/* Adds the tree of `root`, without the process `except` (0: all), to the sample, which the caller
 * zeroed. A tree is followed through the
 * children of each process's main thread: masters fork from there. Processes that end meanwhile are
 * left out. 0, or -ESRCH when `root` is gone. */
NODISCARD int procstat_add(pid_t root, pid_t except, struct procstat *sample);

/* The child of `parent` that has that name (15 bytes count), or 0. */
pid_t procstat_find_child(pid_t parent, const char *name);

/* Sum over the living processes of the tree of the most that each ever had resident (VmHWM); 0 when
 * gone. */
uint64_t procstat_memory_peak(pid_t root, pid_t except);

/* TCP connections of this host to one port, seen from both of their ends. */
struct procstat_sockets {
    uint32_t accepted; /* established, in the server's backlog or beyond it */
    uint32_t made;     /* from clients that connect, or wait for the rest of their answer */
};

/* Counts those to each of `ports`; 0 is the port of nobody. All 0 when the kernel does not tell.
 * sock_diag(7) */
void procstat_count_sockets(const uint16_t *ports, size_t count, struct procstat_sockets *ret);

#endif
