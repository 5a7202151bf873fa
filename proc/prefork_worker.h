/* SPDX-License-Identifier: MIT */
/* The worker's side of prefork: what it tells its master, in memory that both share. */
#ifndef NET_PREFORK_WORKER_H
#define NET_PREFORK_WORKER_H

#include "base/clock.h"
#include <stdatomic.h>
#include <sys/types.h>

struct prefork_board {
    atomic_bool ready;
    atomic_bool replace;     /* it wants a successor */
    _Atomic(nsec_t) beat_at; /* when it last made progress */
};

/* In the new process, before it serves: where to tell the news. */
void prefork_worker_init(struct prefork_board *board, pid_t master);

#endif
