/* SPDX-License-Identifier: MIT */
/* Threads beside those that serve: signals are not for them. */
#ifndef NET_THREAD_H
#define NET_THREAD_H

#include "base/attr.h"
#include <pthread.h>

/* Calls run(arg) on a new thread, with a stack of that size and all signals blocked but those of
 * crashes. *ret is to be
 * joined; with NULL the thread is detached. 0 or -errno: no thread (-EAGAIN). */
NODISCARD int thread_start(pthread_t *ret, size_t stack_bytes, void *(*run)(void *arg), void *arg);

#endif
