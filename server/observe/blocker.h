/* SPDX-License-Identifier: MIT */
/* Finds out what a loop's thread does while a turn takes too long: a thread beside it reads
 * /proc/thread-self/syscall of the loop's thread (proc(5)), and looks in its stack for the library
 * that made the call.
 *
 * A thread of the same process always may, another process only where ptrace(2) may. What cannot be
 * found out is left out: in a process that has changed its user the file is root's. */
#ifndef SERVER_BLOCKER_H
#define SERVER_BLOCKER_H

#include "net/loop.h"
#include <sys/types.h>

enum { BLOCKER_TEXT_BYTES = 128 };

struct blocker;

/* Watches the turns of the calling thread's loop that take `warn` or longer. NULL: the kernel does
 * not let us, or there is no thread for it. blocker_free. */
struct blocker *blocker_watch(const struct loop *loop, nsec_t warn);
void blocker_free(struct blocker *b); /* NULL-safe */

/* Writes " in=poll(2)", the call in which another process's first thread is now, where ptrace(2)
 * would be allowed; "" elsewhere. */
void blocker_ask(pid_t pid, char text[BLOCKER_TEXT_BYTES]);

/* Writes what was seen for most of the turn that began at that time: " in=poll(2)
 * near=libpq.so.5:PQexec" with the library and the function of it that called; " in=cpu" when the
 * thread computed, or was ready to; "" when nothing is known. Never blocks for long. NULL-safe. */
void blocker_tell(struct blocker *b, nsec_t began, char text[BLOCKER_TEXT_BYTES]);

#endif
