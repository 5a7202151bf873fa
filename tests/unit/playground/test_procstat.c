/* SPDX-License-Identifier: MIT */
/* Figures of this very process and of a small tree of children; sockets as the kernel sees them. */
#include "base/attr.h"
#include "playground/procstat.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
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
    struct procstat before = { 0 }, during = { 0 };
    pthread_t threads[THREADS];
    pthread_barrier_t barrier;
    assert_int_equal(procstat_add(getpid(), 0, &before), 0);
    assert_true(before.threads >= 1 && before.running >= 1);
    assert_true(before.processes == 1 && before.at > 0);

    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sleep_at_barrier, &barrier), 0);
    pthread_barrier_wait(&barrier);
    for (int tries = 0; tries < 200 && during.sleeping != before.sleeping + THREADS; tries++) {
        usleep(5000); /* until the last one really sleeps */
        during = (struct procstat){ 0 };
        assert_int_equal(procstat_add(getpid(), 0, &during), 0);
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
    struct procstat before = { 0 }, after = { 0 };
    pthread_t thread;
    assert_int_equal(procstat_add(getpid(), 0, &before), 0);
    assert_int_equal(pthread_create(&thread, NULL, burn, NULL), 0);
    pthread_join(thread, NULL);
    assert_int_equal(procstat_add(getpid(), 0, &after), 0);
    assert_true(after.cpu - before.cpu >= 20 * NSEC_PER_MSEC);
    assert_true(after.cpu - before.cpu < 2 * NSEC_PER_SEC);
}

static void memory_is_plausible(void **state) {
    (void)state;
    enum { SIZE = 32 << 20 };
    struct procstat before = { 0 }, after = { 0 };
    assert_int_equal(procstat_add(getpid(), 0, &before), 0);
    char *memory = malloc(SIZE);
    assert_non_null(memory);
    memset(memory, 1, SIZE);
    assert_int_equal(procstat_add(getpid(), 0, &after), 0);
    assert_true(after.rss_bytes >= before.rss_bytes + SIZE / 2);
    assert_true(memory[SIZE - 1] == 1);
    free(memory);
    assert_true(procstat_memory_peak(getpid(), 0) >= SIZE);
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
            if (fork() == 0) {
                prctl(PR_SET_NAME, "a worker");
                while (i == 0 || write(ready[1], "x", 1) == 1)
                    pause();
            }
        if (write(ready[1], "x", 1) < 0)
            _exit(1);
        for (;;)
            pause();
    }
    setpgid(master, master);
    char byte;
    for (int i = 0; i < 2; i++) /* the master, and a worker with its name */
        assert_int_equal(read(ready[0], &byte, 1), 1);
    struct procstat sample = { 0 }, fewer = { 0 };
    assert_int_equal(procstat_add(master, 0, &sample), 0);
    pid_t worker = procstat_find_child(master, "a worker");
    assert_int_equal(procstat_add(master, worker, &fewer), 0);
    pid_t none = procstat_find_child(master, "a work");
    kill(-master, SIGKILL);
    waitpid(master, NULL, 0);
    close(ready[0]);
    close(ready[1]);

    assert_int_equal(sample.processes, 3);
    assert_true(worker > 0 && worker != master);
    assert_int_equal(fewer.processes, 2);
    assert_int_equal(none, 0);
    assert_true(sample.threads >= 3);
    assert_int_equal(procstat_add(master, 0, &sample), -ESRCH);
    assert_int_equal(procstat_memory_peak(master, 0), 0);
}

static void sockets_are_counted_at_both_ends(void **state) {
    (void)state;
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0), clients[3];
    assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(clients[i], (struct sockaddr *)&address, len), 0);
    }

    uint16_t ports[2] = { 0, ntohs(address.sin_port) };
    struct procstat_sockets counts[2];
    procstat_count_sockets(ports, 2, counts);
    assert_int_equal(counts[0].accepted, 0);
    assert_int_equal(counts[0].made, 0);
    assert_int_equal(counts[1].accepted, ARRAY_LEN(clients));
    assert_int_equal(counts[1].made, ARRAY_LEN(clients));

    /* What the server has said, and then closed, its client has yet to take. */
    int accepted = accept(listener, NULL, NULL);
    assert_true(accepted >= 0);
    close(accepted);
    procstat_count_sockets(ports, 2, counts);
    assert_int_equal(counts[1].accepted, ARRAY_LEN(clients) - 1);
    assert_int_equal(counts[1].made, ARRAY_LEN(clients));
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        close(clients[i]);
    procstat_count_sockets(ports, 2, counts);
    assert_int_equal(counts[1].made, 0);
    close(listener);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_and_sleepers_are_counted),
        cmocka_unit_test(cpu_of_ended_threads_counts),
        cmocka_unit_test(memory_is_plausible),
        cmocka_unit_test(a_master_and_its_workers_are_one_tree),
        cmocka_unit_test(sockets_are_counted_at_both_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
