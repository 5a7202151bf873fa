/* SPDX-License-Identifier: MIT */
/* The probe looks at this very process and at a small tree of children. */
#include "playground/probe.h"
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define THREADS 5

static void *sleep_at_barrier(void *barrier) {
    pthread_barrier_wait(barrier);
    pthread_barrier_wait(barrier);
    return NULL;
}

/* Sanitizers may run a thread of their own: counts are compared with what was there before. */
static void threads_and_sleepers_are_counted(void **state) {
    (void)state;
    struct probe_sample before = { 0 }, during = { 0 };
    pthread_t threads[THREADS];
    pthread_barrier_t barrier;
    assert_int_equal(probe_add(getpid(), &before), 0);
    assert_true(before.threads >= 1 && before.running >= 1);
    assert_true(before.processes == 1 && before.at > 0);

    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sleep_at_barrier, &barrier), 0);
    pthread_barrier_wait(&barrier);
    for (int tries = 0; tries < 200 && during.sleeping != before.sleeping + THREADS; tries++) {
        usleep(5000); /* until the last one really sleeps */
        during = (struct probe_sample){ 0 };
        assert_int_equal(probe_add(getpid(), &during), 0);
    }
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&barrier);

    assert_int_equal(during.threads, before.threads + THREADS);
    assert_int_equal(during.sleeping, before.sleeping + THREADS);
}

static void *burn(void *unused) {
    (void)unused;
    struct timespec spent;
    do {
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
    } while (spent.tv_nsec < 20 * NSEC_PER_MSEC && spent.tv_sec == 0);
    return NULL;
}

static void cpu_of_ended_threads_counts(void **state) {
    (void)state;
    struct probe_sample before = { 0 }, after = { 0 };
    pthread_t thread;
    assert_int_equal(probe_add(getpid(), &before), 0);
    assert_int_equal(pthread_create(&thread, NULL, burn, NULL), 0);
    pthread_join(thread, NULL);
    assert_int_equal(probe_add(getpid(), &after), 0);
    assert_true(after.cpu - before.cpu >= 20 * NSEC_PER_MSEC);
    assert_true(after.cpu - before.cpu < 2 * NSEC_PER_SEC);
}

static void memory_is_plausible(void **state) {
    (void)state;
    enum { SIZE = 32 << 20 };
    struct probe_sample before = { 0 }, after = { 0 };
    assert_int_equal(probe_add(getpid(), &before), 0);
    char *memory = malloc(SIZE);
    assert_non_null(memory);
    memset(memory, 1, SIZE);
    assert_int_equal(probe_add(getpid(), &after), 0);
    assert_true(after.rss_bytes >= before.rss_bytes + SIZE / 2);
    assert_true(memory[SIZE - 1] == 1);
    free(memory);
    assert_true(probe_memory_peak(getpid()) >= SIZE);
}

/* A master with two workers, the master's stdout tells when they are there. */
static void a_master_and_its_workers_are_one_tree(void **state) {
    (void)state;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t master = fork();
    assert_true(master >= 0);
    if (master == 0) {
        setpgid(0, 0);
        for (int i = 0; i < 2; i++)
            if (fork() == 0)
                for (;;)
                    pause();
        if (write(ready[1], "x", 1) < 0)
            _exit(1);
        for (;;)
            pause();
    }
    setpgid(master, master);
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    struct probe_sample sample = { 0 };
    assert_int_equal(probe_add(master, &sample), 0);
    kill(-master, SIGKILL);
    waitpid(master, NULL, 0);
    close(ready[0]);
    close(ready[1]);

    assert_int_equal(sample.processes, 3);
    assert_true(sample.threads >= 3);
    assert_int_equal(probe_add(master, &sample), -ESRCH);
    assert_int_equal(probe_memory_peak(master), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_and_sleepers_are_counted),
        cmocka_unit_test(cpu_of_ended_threads_counts),
        cmocka_unit_test(memory_is_plausible),
        cmocka_unit_test(a_master_and_its_workers_are_one_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
