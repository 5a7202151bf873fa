/* SPDX-License-Identifier: MIT */
/* Prefork with real processes: each test forks a master, looks at its workers through shared
 * memory, and signals it. */
#include "proc/prefork.h"

#include "base/attr.h"
#include "base/log.h"
#include "base/slice.h"
#include "proc/signals.h"
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE \
    (20 * NSEC_PER_SEC) /* of a loaded machine; nothing here takes a second otherwise */
#define SLOTS 4

/* What the processes of a test know of each other. */
struct board {
    atomic_int pids[SLOTS];    /* of the worker that serves under this index */
    atomic_int starts, leaves; /* workers that began; that left on their own accord */
    atomic_int signos[SLOTS];  /* what the worker was told last */
    atomic_int fail_first;     /* that many starts fail before they are ready */
    atomic_int reloads;
    char log[1 << 16];
};

struct fixture {
    struct board *board;
    int log_fd;
    pid_t master;
    void (*reload)(void *arg);
};

static void nap(void) {
    nanosleep(&(struct timespec){ .tv_nsec = 2 * NSEC_PER_MSEC }, NULL);
}

static int fake_worker(void *arg, unsigned index) {
    struct board *board = arg;
    sigset_t set;
    int start = atomic_fetch_add(&board->starts, 1);

    if (start < atomic_load(&board->fail_first))
        return 7;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGQUIT);
    sigaddset(&set, SIGRETIRE);
    sigprocmask(SIG_BLOCK, &set, NULL);
    prefork_worker_ready();
    atomic_store(&board->pids[index], getpid());

    int signo;
    do {
        signo = sigwaitinfo(&set, NULL);
        if (signo > 0)
            atomic_store(&board->signos[index], signo);
    } while (signo != SIGTERM && signo != SIGINT && signo != SIGQUIT && signo != SIGRETIRE);
    atomic_store(&board->pids[index], 0);
    atomic_fetch_add(&board->leaves, 1);
    return 0;
}

/* Blocks TERM and QUIT and works on. */
static int deaf_worker(void *arg, unsigned index) {
    struct board *board = arg;
    sigset_t set;

    sigfillset(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    prefork_worker_ready();
    atomic_store(&board->pids[index], getpid());
    for (nsec_t end = clock_now() + PATIENCE; clock_now() < end;)
        nap();
    return 0;
}

static int set_up(void **state) {
    static struct fixture f;

    f.board =
        mmap(NULL, sizeof(*f.board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    f.log_fd = memfd_create("log", MFD_CLOEXEC);
    f.master = 0;
    f.reload = NULL;
    *state = &f;
    return f.board == MAP_FAILED || f.log_fd < 0 ? -1 : 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;

    if (f->master != 0) {
        kill(f->master, SIGKILL);
        waitpid(f->master, NULL, 0);
    }
    munmap(f->board, sizeof(*f->board));
    close(f->log_fd);
    return 0;
}

static const char *tell_index(void *arg, unsigned index) {
    return arg != NULL && index == 0 ? "doing=\"the first\"" : "doing=wrong";
}

static nsec_t timeout; /* of the masters that are started */

static void start(struct fixture *f, unsigned workers, int (*worker)(void *, unsigned),
                  nsec_t graceful_timeout) {
    struct prefork_config config = { .name = "srv test",
                                     .title = "fake",
                                     .workers = workers,
                                     .graceful_timeout = graceful_timeout,
                                     .worker = worker,
                                     .reload = f->reload,
                                     .timeout = timeout,
                                     .doing = tell_index,
                                     .arg = f->board };

    f->master = fork();
    if (f->master == 0) {
        log_set_fd(f->log_fd);
        log_set_level(LOG_LEVEL_DEBUG);
        _exit(prefork_run(&config));
    }
    assert_true(f->master > 0);
}

static pid_t serving(const struct fixture *f, unsigned index) {
    return atomic_load(&f->board->pids[index]);
}

/* Waits until another than `before` serves under the index. */
static pid_t await_worker(const struct fixture *f, unsigned index, pid_t before) {
    nsec_t end = clock_now() + PATIENCE;

    while (serving(f, index) == 0 || serving(f, index) == before) {
        if (clock_now() > end)
            fail_msg("no worker %u", index);
        nap();
    }
    return serving(f, index);
}

/* As a subreaper this process inherits the orphans, so that none stays a zombie. */
static void await_gone(pid_t pid) {
    nsec_t end = clock_now() + PATIENCE;

    while (waitpid(pid, NULL, WNOHANG) == 0 || kill(pid, 0) == 0) {
        if (clock_now() > end)
            fail_msg("process %d is still there", (int)pid);
        nap();
    }
}

static void await_count(atomic_int *counter, int value) {
    nsec_t end = clock_now() + PATIENCE;

    while (atomic_load(counter) != value) {
        if (clock_now() > end)
            fail_msg("counted %d instead of %d", atomic_load(counter), value);
        nap();
    }
}

static int exit_code_of_master(struct fixture *f) {
    nsec_t end = clock_now() + PATIENCE;
    int status;

    while (waitpid(f->master, &status, WNOHANG) == 0) {
        if (clock_now() > end)
            fail_msg("the master does not leave");
        nap();
    }
    f->master = 0;
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static bool logged(const struct fixture *f, const char *text) {
    ssize_t n = pread(f->log_fd, f->board->log, sizeof(f->board->log) - 1, 0);

    f->board->log[n > 0 ? n : 0] = '\0';
    return strstr(f->board->log, text) != NULL;
}

static void term_stops_gracefully(void **state) {
    struct fixture *f = *state;

    start(f, 2, fake_worker, PATIENCE);
    await_worker(f, 0, 0);
    await_worker(f, 1, 0);
    kill(f->master, SIGTERM);
    assert_int_equal(exit_code_of_master(f), 0);
    assert_int_equal(f->board->leaves, 2);
    assert_int_equal(f->board->starts, 2);
    assert_int_equal(f->board->signos[1], SIGTERM);
}

static void int_stops_at_once(void **state) {
    struct fixture *f = *state;

    start(f, 2, fake_worker, PATIENCE);
    await_worker(f, 0, 0);
    await_worker(f, 1, 0);
    kill(f->master, SIGINT);
    assert_int_equal(exit_code_of_master(f), 0);
    assert_int_equal(f->board->signos[0], SIGQUIT);
}

static void killed_worker_is_replaced_at_once_under_its_index(void **state) {
    struct fixture *f = *state;

    start(f, 2, fake_worker, PATIENCE);
    pid_t first = await_worker(f, 0, 0), second = await_worker(f, 1, 0);
    nsec_t before = clock_now();
    kill(second, SIGKILL);
    assert_int_not_equal(await_worker(f, 1, second), second);
    if (clock_now() - before > 200 * NSEC_PER_MSEC)
        print_message("replaced after %d ms\n", (int)((clock_now() - before) / NSEC_PER_MSEC));
    assert_int_equal(serving(f, 0), first);

    kill(f->master, SIGTERM);
    assert_int_equal(exit_code_of_master(f), 0);
    assert_true(logged(f, "worker=2 pid="));
    assert_true(logged(f, "signal=SIGKILL"));
}

static void deaf_worker_is_killed_after_the_graceful_timeout(void **state) {
    struct fixture *f = *state;

    start(f, 1, deaf_worker, 50 * NSEC_PER_MSEC);
    pid_t worker = await_worker(f, 0, 0);
    kill(f->master, SIGTERM);
    assert_int_equal(exit_code_of_master(f), 0);
    await_gone(worker);
    assert_true(logged(f, "did not leave in time"));
}

static void second_term_does_not_wait(void **state) {
    struct fixture *f = *state;

    start(f, 1, deaf_worker, NSEC_NEVER);
    await_worker(f, 0, 0);
    kill(f->master, SIGTERM);
    nsec_t end = clock_now() + PATIENCE;
    while (!logged(f, "signal=SIGTERM") && clock_now() < end)
        nap();
    kill(f->master, SIGTERM);
    assert_int_equal(exit_code_of_master(f), 0);
}

static void gives_up_when_no_worker_starts(void **state) {
    struct fixture *f = *state;

    f->board->fail_first = 1000;
    start(f, 1, fake_worker, PATIENCE);
    assert_int_equal(exit_code_of_master(f), PREFORK_EXIT_NO_START);
    assert_int_equal(f->board->starts, 3);
    assert_true(logged(f, "exit_code=7"));
    assert_true(logged(f, "giving up"));
}

static void tries_again_when_the_first_starts_fail(void **state) {
    struct fixture *f = *state;

    f->board->fail_first = 2;
    start(f, 1, fake_worker, PATIENCE);
    await_worker(f, 0, 0);
    kill(f->master, SIGTERM);
    assert_int_equal(exit_code_of_master(f), 0);
    assert_int_equal(f->board->starts, 3);
}

static void workers_leave_when_the_master_is_killed(void **state) {
    struct fixture *f = *state;

    start(f, 2, fake_worker, PATIENCE);
    pid_t first = await_worker(f, 0, 0), second = await_worker(f, 1, 0);
    kill(f->master, SIGKILL);
    waitpid(f->master, NULL, 0);
    f->master = 0;
    await_count(&f->board->leaves, 2);
    await_gone(first);
    await_gone(second);
    assert_int_equal(f->board->signos[0], SIGINT);
}

static void ttin_and_ttou_change_the_number(void **state) {
    struct fixture *f = *state;

    start(f, 1, fake_worker, PATIENCE);
    pid_t first = await_worker(f, 0, 0);
    kill(f->master, SIGTTIN);
    await_worker(f, 1, 0);
    kill(f->master, SIGTTOU);
    await_count(&f->board->leaves, 1);
    assert_int_equal(f->board->signos[1], SIGRETIRE);

    kill(f->master, SIGTTOU); /* the last one stays */
    nsec_t end = clock_now() + PATIENCE;
    while (!logged(f, "the last worker stays") && clock_now() < end)
        nap();
    assert_int_equal(serving(f, 0), first);

    kill(f->master, SIGTTIN);
    await_worker(f, 1, 0);
    kill(f->master, SIGTERM);
    assert_int_equal(exit_code_of_master(f), 0);
    assert_int_equal(f->board->starts, 3);
}

static void hup_replaces_the_workers_one_by_one(void **state) {
    struct fixture *f = *state;

    start(f, 1, fake_worker, PATIENCE);
    pid_t first = await_worker(f, 0, 0);
    kill(f->master, SIGHUP);
    assert_int_not_equal(await_worker(f, 1, 0), first);
    await_count(&f->board->signos[0], SIGRETIRE);
    await_count(&f->board->leaves, 1);
    kill(f->master, SIGTERM);
    assert_int_equal(exit_code_of_master(f), 0);
    assert_int_equal(f->board->starts, 2);
}

static void count_reload(void *arg) {
    atomic_fetch_add(&((struct board *)arg)->reloads, 1);
}

static void hup_reloads_instead_where_that_is_enough(void **state) {
    struct fixture *f = *state;

    f->reload = count_reload;
    start(f, 1, fake_worker, PATIENCE);
    await_worker(f, 0, 0);
    kill(f->master, SIGHUP);
    await_count(&f->board->reloads, 1);
    kill(f->master, SIGTERM);
    assert_int_equal(exit_code_of_master(f), 0);
    assert_int_equal(f->board->starts, 1);
    assert_int_equal(f->board->signos[0], SIGTERM);
}

static void successor_that_cannot_start_leaves_the_old_worker_alone(void **state) {
    struct fixture *f = *state;

    start(f, 1, fake_worker, PATIENCE);
    pid_t first = await_worker(f, 0, 0);
    atomic_store(&f->board->fail_first, 3); /* starts 0 was ready; 1 and 2 are not */
    kill(f->master, SIGHUP);
    await_count(&f->board->starts, 3);
    assert_int_equal(serving(f, 0), first);
    assert_int_equal(f->board->signos[0], 0);
    await_worker(f, 1, 0);
    await_count(&f->board->signos[0], SIGRETIRE);
    kill(f->master, SIGTERM);
    assert_int_equal(exit_code_of_master(f), 0);
}

static void retired_master_ends_with_its_workers(void **state) {
    struct fixture *f = *state;

    start(f, 2, fake_worker, PATIENCE);
    await_worker(f, 0, 0);
    await_worker(f, 1, 0);
    kill(f->master, SIGRETIRE);
    assert_int_equal(exit_code_of_master(f), 0);
    assert_int_equal(f->board->leaves, 2);
    assert_int_equal(f->board->starts, 2);
}

/* Serves nothing and wants a successor at once; the successor stays. */
static int tired_worker(void *arg, unsigned index) {
    struct board *board = arg;

    if (atomic_load(&board->starts) == 0)
        prefork_worker_replace();
    return fake_worker(arg, index);
}

static void worker_can_ask_for_a_successor(void **state) {
    struct fixture *f = *state;

    start(f, 1, tired_worker, PATIENCE);
    await_worker(f, 1, 0);
    await_count(&f->board->leaves, 1);
    kill(f->master, SIGTERM);
    assert_int_equal(exit_code_of_master(f), 0);
    assert_int_equal(f->board->starts, 2);
}

/* Beats until the first of them has served for a while, then keeps silent. */
static int faint_worker(void *arg, unsigned index) {
    struct board *board = arg;
    bool is_first = atomic_fetch_add(&board->starts, 1) == 0;

    prefork_worker_ready();
    atomic_store(&board->pids[index], getpid());
    for (unsigned i = 0; !is_first || i < 100; i++) {
        prefork_worker_beat();
        nap();
    }
    pause(); /* every signal ends it */
    return 9;
}

static void silent_worker_is_killed_and_replaced(void **state) {
    struct fixture *f = *state;

    timeout = 500 * NSEC_PER_MSEC;
    start(f, 1, faint_worker, PATIENCE);
    timeout = 0;
    pid_t first = await_worker(f, 0, 0);
    assert_int_not_equal(await_worker(f, 0, first), first);
    assert_true(logged(f, "worker is stuck"));
    assert_true(logged(f, "doing=\"the first\""));
    assert_true(logged(f, "signal=SIGABRT"));
    kill(f->master, SIGTERM);
    assert_int_equal(exit_code_of_master(f), 0);
    assert_int_equal(f->board->starts, 2);
}

static void stopped_worker_takes_the_second_signal(void **state) {
    struct fixture *f = *state;

    timeout = 500 * NSEC_PER_MSEC;
    start(f, 1, fake_worker, PATIENCE);
    timeout = 0;
    pid_t first = await_worker(f, 0, 0);
    kill(first, SIGSTOP);
    assert_int_not_equal(await_worker(f, 0, first), first);
    assert_true(logged(f, "signal=SIGKILL"));
    kill(f->master, SIGTERM);
    assert_int_equal(exit_code_of_master(f), 0);
}

static void ready_without_a_master_does_nothing(void **state) {
    (void)state;

    prefork_worker_ready();
}

#define PREFORK_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        PREFORK_TEST(term_stops_gracefully),
        PREFORK_TEST(int_stops_at_once),
        PREFORK_TEST(killed_worker_is_replaced_at_once_under_its_index),
        PREFORK_TEST(deaf_worker_is_killed_after_the_graceful_timeout),
        PREFORK_TEST(second_term_does_not_wait),
        PREFORK_TEST(gives_up_when_no_worker_starts),
        PREFORK_TEST(tries_again_when_the_first_starts_fail),
        PREFORK_TEST(workers_leave_when_the_master_is_killed),
        PREFORK_TEST(ttin_and_ttou_change_the_number),
        PREFORK_TEST(hup_replaces_the_workers_one_by_one),
        PREFORK_TEST(hup_reloads_instead_where_that_is_enough),
        PREFORK_TEST(successor_that_cannot_start_leaves_the_old_worker_alone),
        PREFORK_TEST(retired_master_ends_with_its_workers),
        PREFORK_TEST(worker_can_ask_for_a_successor),
        PREFORK_TEST(silent_worker_is_killed_and_replaced),
        PREFORK_TEST(stopped_worker_takes_the_second_signal),
        cmocka_unit_test(ready_without_a_master_does_nothing),
    };
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
