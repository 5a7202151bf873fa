/* SPDX-License-Identifier: MIT */
/* Starts threads with their signals blocked. */
#include "net/thread.h"
#include <signal.h>

/* Signals of crashes are the thread's own: one that is blocked would end the process before its
 * handler can tell why. */
static void fill(sigset_t *set) {
    const int own[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };

    sigfillset(set);
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        sigdelset(set, own[i]);
}

/* The mask is inherited: blocked before, so that none hits the new thread in between. */
int thread_start(pthread_t *ret, size_t stack_bytes, void *(*run)(void *arg), void *arg) {
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    int rc;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, stack_bytes);
    if (ret == NULL)
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    fill(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(ret != NULL ? ret : &thread, &attr, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return -rc;
}
