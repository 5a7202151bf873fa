/* SPDX-License-Identifier: MIT */
/* Children: what they say, how they end, and that none of them stays; /bin/sh stands in for srv. */
#include "base/attr.h"
#include "playground/process.h"
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void start(struct play_child *p, const char *script, int pass_fd) {
    char *argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, strdup(script), NULL };
    struct process_spec spec = {
        .name = "sh", .path = "/bin/sh", .argv = argv, .pass_fd = pass_fd
    };
    struct error err;
    assert_int_equal(process_spawn(p, &spec, &err), 0);
    free(argv[2]);
}

static void wait_end(struct play_child *p) {
    for (int tries = 0; tries < 1000 && !process_ended(p); tries++) {
        usleep(10000);
        process_read(p);
    }
    assert_true(process_ended(p));
}

static void wait_url(struct play_child *p) {
    for (int tries = 0; tries < 1000 && p->url[0] == '\0'; tries++) {
        usleep(10000);
        process_read(p);
    }
    assert_true(p->url[0] != '\0');
}

static bool exists(pid_t pid) {
    return kill(pid, 0) == 0 || errno != ESRCH;
}

static void address_and_last_line_are_learned(void **state) {
    (void)state;
    struct play_child p;
    start(&p,
          "echo first >&2; echo 'srv x: control on http://127.0.0.1:78' >&2; "
          "echo 'srv x: listening on http://127.0.0.1:77/ model=y' >&2; echo last "
          ">&2; echo >&2; exit 3",
          -1);
    wait_end(&p);
    assert_string_equal(p.url, "http://127.0.0.1:77/");
    assert_string_equal(p.control_url, "http://127.0.0.1:78");
    assert_string_equal(p.last_line, "last");
    assert_int_equal(p.exit_code, 3);
    process_stop_all(&p, 1, clock_now());
    assert_int_equal(p.pid, 0);
    assert_int_equal(p.log_fd, -1);
}

static void reason_is_kept_when_more_is_said(void **state) {
    (void)state;
    struct play_child p;
    start(&p, "echo 'x: FATAL:  first' >&2; echo 'x: error: why' >&2; echo 'x: I leave' >&2", -1);
    wait_end(&p);
    assert_string_equal(p.last_line, "x: error: why");
    process_stop_all(&p, 1, clock_now());
}

static void first_address_wins_and_long_lines_are_cut(void **state) {
    (void)state;
    struct play_child p;
    start(&p,
          "echo 'a: listening on http://h:1/' >&2; echo 'a: listening on http://h:2/' >&2;"
          "head -c 100000 /dev/zero | tr '\\0' x >&2; echo >&2",
          -1);
    wait_end(&p);
    process_read(&p);
    assert_string_equal(p.url, "http://h:1/");
    assert_int_equal(strlen(p.last_line), PROCESS_LINE_BYTES - 1);
    process_stop_all(&p, 1, clock_now());
}

static void missing_program_shows_as_127(void **state) {
    (void)state;
    struct play_child p;
    char *argv[] = { (char[]){ "nothing" }, NULL };
    struct process_spec spec = {
        .name = "nothing", .path = "/nonexistent/program", .argv = argv, .pass_fd = -1
    };
    struct error err;
    assert_int_equal(process_spawn(&p, &spec, &err), 0);
    wait_end(&p);
    assert_int_equal(p.exit_code, 127);
    assert_non_null(strstr(p.last_line, "cannot execute"));
    process_stop_all(&p, 1, clock_now());
}

static void passed_descriptor_can_be_written_by_path(void **state) {
    (void)state;
    struct play_child p;
    char text[20] = "";
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_true(fd >= 0);
    start(&p, "echo report > /dev/fd/3", fd);
    wait_end(&p);
    assert_int_equal(p.exit_code, 0);
    process_stop_all(&p, 1, clock_now());
    assert_int_equal(pread(fd, text, sizeof(text) - 1, 0), 7);
    assert_string_equal(text, "report\n");
    close(fd);
}

/* Signals of libc itself, which no program can set; whoever started us may have them ignored. */
#define OF_LIBC (UINT64_C(3) << 31)

/* As nohup and `&` in a script leave them. */
static void child_ignores_no_signal_that_the_runner_does(void **state) {
    (void)state;
    static const int ignored[] = { SIGINT, SIGQUIT, SIGHUP, SIGTERM, SIGPIPE, SIGUSR1 };
    struct play_child p;
    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        signal(ignored[i], SIG_IGN);
    start(&p, "grep SigIgn /proc/self/status >&2", -1);
    wait_end(&p);
    assert_memory_equal(p.last_line, "SigIgn:\t", 8);
    assert_int_equal(strtoull(p.last_line + 8, NULL, 16) & ~OF_LIBC, 0);
    process_stop_all(&p, 1, clock_now());
    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        signal(ignored[i], SIG_DFL);
}

/* One ends by itself, one at SIGTERM, one only at SIGKILL, and one leaves a child of its own
 * behind. */
static void all_kinds_of_children_are_stopped(void **state) {
    (void)state;
    struct play_child list[4];
    start(&list[0], "exit 0", -1);
    start(&list[1], "echo 'listening on x' >&2; exec sleep 1000", -1);
    start(&list[2], "trap '' TERM; echo 'listening on x' >&2; while :; do sleep 0.05; done", -1);
    start(&list[3], "sleep 1000 & echo \"listening on $!\" >&2; exit 0", -1);
    for (size_t i = 1; i < ARRAY_LEN(list); i++)
        wait_url(&list[i]);
    pid_t pids[] = { list[0].pid, list[1].pid, list[2].pid, list[3].pid, (pid_t)atoi(list[3].url) };
    assert_true(exists(pids[4]));

    nsec_t begin = clock_now();
    process_stop_all(list, ARRAY_LEN(list), begin + 300 * NSEC_PER_MSEC);
    assert_true(clock_now() - begin < 10 * NSEC_PER_SEC);
    for (size_t i = 0; i < ARRAY_LEN(pids); i++)
        assert_false(exists(pids[i]));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

/* Its child ends by itself a moment later, and is not killed before that. */
static void who_tidies_may_leave_others_that_do(void **state) {
    (void)state;
    struct play_child p;
    int told[2];
    char byte = 0;
    assert_int_equal(pipe(told), 0);
    start(&p, "{ sleep 0.2; echo >&3; } & exit 0", told[1]);
    p.tidies = true;
    wait_end(&p);
    nsec_t begin = clock_now();
    process_stop_all(&p, 1, begin);
    assert_true(clock_now() - begin < 3 * NSEC_PER_SEC);
    close(told[1]);
    assert_int_equal(read(told[0], &byte, 1), 1);
    close(told[0]);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

/* A runner that is killed cannot say goodbye: its child must notice. */
static void child_dies_with_a_killed_runner(void **state) {
    (void)state;
    int told[2];
    assert_int_equal(pipe(told), 0);
    pid_t runner = fork();
    assert_true(runner >= 0);
    if (runner == 0) {
        struct play_child p;
        start(&p, "trap '' TERM INT HUP; echo 'listening on x' >&2; while :; do sleep 0.05; done",
              -1);
        wait_url(&p);
        if (write(told[1], &p.pid, sizeof(p.pid)) < 0)
            _exit(1);
        for (;;)
            pause();
    }
    pid_t child;
    assert_int_equal(read(told[0], &child, sizeof(child)), sizeof(child));
    assert_true(exists(child));
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); /* so that the child can be waited for */
    kill(runner, SIGKILL);
    assert_int_equal(waitpid(runner, NULL, 0), runner);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    while (waitpid(-1, NULL, 0) > 0)
        ; /* the shell's last sleep */
    close(told[0]);
    close(told[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(address_and_last_line_are_learned),
        cmocka_unit_test(reason_is_kept_when_more_is_said),
        cmocka_unit_test(first_address_wins_and_long_lines_are_cut),
        cmocka_unit_test(missing_program_shows_as_127),
        cmocka_unit_test(passed_descriptor_can_be_written_by_path),
        cmocka_unit_test(child_ignores_no_signal_that_the_runner_does),
        cmocka_unit_test(all_kinds_of_children_are_stopped),
        cmocka_unit_test(who_tidies_may_leave_others_that_do),
        cmocka_unit_test(child_dies_with_a_killed_runner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
