/* SPDX-License-Identifier: MIT */
/* A mutex in memory that processes share, which outlives a holder that dies. */
#ifndef BASE_ROBUST_MUTEX_H
#define BASE_ROBUST_MUTEX_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

/* To be called once, before fork. */
static inline void robust_mutex_init(pthread_mutex_t *mutex) {
    pthread_mutexattr_t attr;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(mutex, &attr);
    pthread_mutexattr_destroy(&attr);
}

/* True: the last holder died, and what the mutex guards may be half changed.
 * pthread_mutex_unlock(3) as ever. */
static inline bool robust_mutex_lock(pthread_mutex_t *mutex) {
    bool is_left = pthread_mutex_lock(mutex) == EOWNERDEAD;

    if (is_left)
        pthread_mutex_consistent(mutex);
    return is_left;
}

#endif
