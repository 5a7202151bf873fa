/* SPDX-License-Identifier: MIT */
/* Threads of this process that come and go while they are counted, and too little memory. */
#include "base/alloc.h"
#include "waits/sampler.h"
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static uint32_t sum(const struct wait_sample *s) {
    uint32_t threads = 0;
    for (size_t i = 0; i < s->tally.count; i++)
        threads += s->tally.groups[i].threads;
    return threads;
}

static struct sampler_look look_at(const pid_t *pid) {
    return (struct sampler_look){ .roots = pid, .root_count = 1 };
}

static void *end_at_once(void *unused) {
    return unused;
}

static atomic_bool done;

static void *start_and_end(void *unused) {
    while (!atomic_load(&done)) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, end_at_once, NULL) == 0)
            pthread_join(thread, NULL);
    }
    return unused;
}

static void sums_equal_threads_that_come_and_go(void **state) {
    (void)state;
    struct wait_sample *sample = mem_alloc(sizeof(*sample));
    struct sampler *s;
    pthread_t threads[4];
    pid_t pid = getpid();
    struct sampler_look look = look_at(&pid);
    assert_int_equal(sampler_open(&s), 0);
    atomic_store(&done, false);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, start_and_end, NULL), 0);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(sampler_take(s, &look, sample), 0);
        assert_true(sample->tally.threads >= 1 + ARRAY_LEN(threads));
        assert_int_equal(sum(sample), sample->tally.threads);
        assert_int_equal(sample->processes, 1);
    }
    atomic_store(&done, true);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    sampler_close(s);
    mem_free(sample);
}

/* Its children are counted with it, until they are waited for; then it is gone. */
static void a_process_that_ends_is_told(void **state) {
    (void)state;
    struct wait_sample *sample = mem_alloc(sizeof(*sample));
    struct sampler *s;
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        pid_t child = fork();
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* nothing may outlive the test */
        while (child < 0 || write(ready[1], "x", 1) == 1)
            pause();
        _exit(1);
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(read(ready[0], &byte, 1), 1);
    struct sampler_look look = look_at(&pid);
    assert_int_equal(sampler_open(&s), 0);
    assert_int_equal(sampler_take(s, &look, sample), 0);
    assert_int_equal(sample->processes, 2);
    assert_int_equal(sum(sample), sample->tally.threads);

    kill(pid, SIGKILL);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(sampler_take(s, &look, sample), 0);
    assert_int_equal(sample->tally.groups[0].wait.kind, WAIT_ENDED);
    assert_int_equal(sample->tally.threads, 1);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(sampler_take(s, &look, sample), -ESRCH);
    sampler_close(s);
    mem_free(sample);
    close(ready[0]);
    close(ready[1]);
}

static int take_once(void) {
    struct wait_sample *sample = mem_alloc(sizeof(*sample));
    struct sampler *s = NULL;
    pid_t pid = getpid();
    struct sampler_look look = look_at(&pid);
    int rc = sample == NULL ? -ENOMEM : sampler_open(&s);
    if (rc == 0)
        rc = sampler_take(s, &look, sample);
    sampler_close(s);
    mem_free(sample);
    return rc;
}

static void too_little_memory_is_told(void **state) {
    (void)state;
    for (long n = 0;; n++) {
        mem_fail_after(n);
        int rc = take_once();
        bool failed = mem_failed();
        mem_fail_after(-1);
        if (!failed) {
            assert_int_equal(rc, 0);
            break;
        }
        assert_int_equal(rc, -ENOMEM);
    }
}

static void looking_takes_its_share(void **state) {
    (void)state;
    struct wait_sample *sample = mem_calloc(1, sizeof(*sample));
    sample->cost = NSEC_PER_MSEC;
    assert_int_equal(sampler_next(5, NSEC_PER_SEC, sample), 5 + NSEC_PER_SEC);
    assert_int_equal(sampler_next(5, NSEC_PER_MSEC, sample), 5 + 100 * NSEC_PER_MSEC);
    mem_free(sample);
}

static void what_cannot_be_looked_at_is_told(void **state) {
    (void)state;
    struct error err;
    assert_int_equal(sampler_check(getpid(), &err), 0);
    assert_int_equal(sampler_check(4194304, &err), -ESRCH); /* above every number */
    assert_string_equal(err.text, "there is no process 4194304");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_equal_threads_that_come_and_go),
        cmocka_unit_test(a_process_that_ends_is_told),
        cmocka_unit_test(too_little_memory_is_told),
        cmocka_unit_test(looking_takes_its_share),
        cmocka_unit_test(what_cannot_be_looked_at_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
