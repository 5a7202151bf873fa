/* SPDX-License-Identifier: MIT */
/* What a worker tells its master: that it serves, that it lives, that it wants a successor. */
#include "proc/prefork_worker.h"
#include "base/log.h"
#include "proc/prefork.h"
#include "proc/signals.h"
#include <errno.h>
#include <signal.h>
#include <string.h>

/* Where a worker tells its news; the functions that do it have no argument to find it by. */
static struct prefork_board *own_board;
static pid_t own_master;

void prefork_worker_init(struct prefork_board *board, pid_t master) {
    own_board = board;
    own_master = master;
}

static void tell_news(atomic_bool *what) {
    atomic_store(what, true);
    if (kill(own_master, SIGNEWS) < 0 && errno != ESRCH)
        log_write(LOG_LEVEL_ERROR, "cannot tell the master error=\"%s\"", strerror(errno));
}

void prefork_worker_ready(void) {
    prefork_worker_beat();
    if (own_board != NULL)
        tell_news(&own_board->ready);
}

void prefork_worker_replace(void) {
    if (own_board != NULL && !atomic_load(&own_board->replace))
        tell_news(&own_board->replace);
}

void prefork_worker_beat(void) {
    if (own_board != NULL)
        atomic_store_explicit(&own_board->beat_at, clock_now(), memory_order_relaxed);
}
