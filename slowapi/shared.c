/* SPDX-License-Identifier: MIT */
/* The mapping that the workers share, and its lock. */
#include "slowapi/shared.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

struct shared *shared_new(struct error *err) {
    pthread_mutexattr_t attr;

    /* Only what is used becomes resident: no reservation for the rest. */
    struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (shared == MAP_FAILED) {
        error_set(err, -errno, "cannot start: no shared memory: %s", strerror(errno));
        return NULL;
    }
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&shared->mutex, &attr);
    pthread_mutexattr_destroy(&attr);
    memcpy(shared->rules, "[]", sizeof("[]"));
    shared->started_at = clock_now();
    return shared;
}

void shared_free(struct shared *shared) {
    if (shared != NULL)
        munmap(shared, sizeof(*shared));
}

void shared_lock(struct shared *shared) {
    if (pthread_mutex_lock(&shared->mutex) == EOWNERDEAD)
        pthread_mutex_consistent(&shared->mutex);
}

void shared_unlock(struct shared *shared) {
    pthread_mutex_unlock(&shared->mutex);
}
