/* SPDX-License-Identifier: MIT */
/* Signals of a worker, delivered on its loop. */
#ifndef PROC_SIGNALS_H
#define PROC_SIGNALS_H

#include "net/loop.h"
#include <signal.h>

/* Between our own processes only, and real-time, so that no terminal and no user sends them by
 * chance. */
#define SIGNEWS   SIGRTMIN       /* to a master: a worker has written on its board */
#define SIGRETIRE (SIGRTMIN + 1) /* to both: a successor is there; leave without loss */

struct signals;

/* First thing in a server: nobody dies of what is for a master (USR1, USR2, TTIN, TTOU, IO), or is
 * stopped by it, or dies of a log that has reached its limit (XFSZ) or that nobody reads any more
 * (PIPE). Inherited by children; a master blocks its signals and gets them all the same.
 *
 * As PID 1 of a container it also keeps signals to stop until somebody accepts them, since the
 * kernel gives PID 1 no default actions: a TERM that comes early would be lost. */
void signals_ignore_foreign(void);

/* For a process that serves without a master: as PID 1 it inherits orphans, which the kernel buries
 * from now on. What waitpid(2) says of its own children then is ECHILD, once they have ended. */
void signals_bury_orphans(void);

/* Before the server tells where it listens: signals to stop wait, until who can stop well accepts
 * them. Inherited by children. */
void signals_defer(void);

/* Calls `on_signal` on the loop for TERM, INT, QUIT, HUP and RETIRE, as often as the handler ran;
 * they are accepted from here on; SIGPIPE is ignored. One per process. NULL with a reason. */
NODISCARD struct signals *signals_new(struct loop *loop, void (*on_signal)(void *arg, int signo),
                                      void *arg, struct error *err);
void signals_free(struct signals *s);

/* Calls `on_signal` for TERM, INT, QUIT and RETIRE from the handler itself, on whichever thread it
 * hits: only what signal-safety(7) allows. For a process whose threads wait in the kernel. SIGHUP
 * and SIGPIPE are ignored. Until signals_hold. */
void signals_catch(void (*on_signal)(void *arg, int signo), void *arg);

/* "At once" means at once: a process that has not come to signals_hold or signals_free a second
 * after INT, QUIT or a second TERM, because a thread is stuck in a call that nothing interrupts, is
 * ended by SIGALRM. After signals_new or signals_catch. */
void signals_enforce(void);

/* For a server that has stopped and is about to end: more signals to stop change nothing, least of
 * all its exit code. They stay blocked. */
void signals_hold(void);

#endif
