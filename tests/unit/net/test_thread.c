/* SPDX-License-Identifier: MIT */
/* Threads that signals do not hit. */
#include "net/thread.h"
#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define STACK_BYTES ((size_t)256 * 1024)

struct seen {
    sem_t done;
    sigset_t mask;
    size_t stack_bytes;
    int detached;
};

static void *look(void *arg) {
    struct seen *seen = arg;
    pthread_attr_t attr;

    pthread_getattr_np(pthread_self(), &attr);
    pthread_attr_getstacksize(&attr, &seen->stack_bytes);
    pthread_attr_getdetachstate(&attr, &seen->detached);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, NULL, &seen->mask);
    sem_post(&seen->done);
    return arg;
}

static void assert_seen(const struct seen *seen, int detached) {
    assert_int_equal(seen->detached, detached);
    assert_int_equal(seen->stack_bytes, STACK_BYTES);
    assert_true(sigismember(&seen->mask, SIGTERM) && sigismember(&seen->mask, SIGRTMIN));
}

static void a_thread_can_be_joined(void **state) {
    struct seen seen = { .detached = -1 };
    pthread_t thread;
    void *ret = NULL;

    (void)state;
    sem_init(&seen.done, 0, 0);
    assert_int_equal(thread_start(&thread, STACK_BYTES, look, &seen), 0);
    pthread_join(thread, &ret);
    assert_ptr_equal(ret, &seen);
    assert_seen(&seen, PTHREAD_CREATE_JOINABLE);
    sem_destroy(&seen.done);
}

static void a_thread_may_be_left_alone(void **state) {
    struct seen seen = { .detached = -1 };
    sigset_t mask;

    (void)state;
    sem_init(&seen.done, 0, 0);
    assert_int_equal(thread_start(NULL, STACK_BYTES, look, &seen), 0);
    while (sem_wait(&seen.done) < 0 && errno == EINTR)
        ;
    assert_seen(&seen, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    assert_false(sigismember(&mask, SIGTERM)); /* signals are for us, as before */
    sem_destroy(&seen.done);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_can_be_joined),
        cmocka_unit_test(a_thread_may_be_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
