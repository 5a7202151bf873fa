/* SPDX-License-Identifier: MIT */
/* Lines of /proc/PID/syscall, with the numbers of two machines. */
#include "waits/call.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STACK " 0x7ffec3a5ee58 0x7fa23d2f7503\n"
#define REST  " 0x1 0x2 0x3 0x4 0x5" STACK

static void numbers_are_those_of_the_machine(void **state) {
    (void)state;
    static const struct {
        const char *name;
        long x86_64, aarch64; /* as the manual pages of the kernel have them; -1: none */
        enum call_shape shape;
    } rows[] = {
        { "recvfrom", 45, 207, CALL_READ },     { "read", 0, 63, CALL_READ },
        { "sendmsg", 46, 211, CALL_WRITE },     { "accept4", 288, 242, CALL_ACCEPT },
        { "connect", 42, 203, CALL_CONNECT },   { "epoll_wait", 232, -1, CALL_EPOLL },
        { "epoll_pwait", 281, 22, CALL_EPOLL }, { "poll", 7, -1, CALL_POLL },
        { "ppoll", 271, 73, CALL_POLL },        { "pselect6", 270, 72, CALL_SELECT },
        { "futex", 202, 98, CALL_FUTEX },       { "clock_nanosleep", 230, 115, CALL_SLEEP },
        { "wait4", 61, 260, CALL_CHILD },       { "flock", 73, 32, CALL_FLOCK },
        { "fsync", 74, 82, CALL_DISK },         { "rt_sigtimedwait", 128, 137, CALL_SIGNAL },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const long numbers[CALL_MACHINES] = { rows[i].x86_64, rows[i].aarch64 };
        for (int machine = 0; machine < CALL_MACHINES; machine++) {
            struct wait_call call;
            char line[200];
            if (numbers[machine] < 0)
                continue;
            snprintf(line, sizeof(line), "%ld 0x0" REST, numbers[machine]);
            assert_int_equal(call_read(line, (enum call_machine)machine, &call), 0);
            assert_string_equal(call.name, rows[i].name);
            assert_int_equal(call.shape, rows[i].shape);
        }
    }
}

static void arguments_are_registers(void **state) {
    (void)state;
    struct wait_call call;
    const char *line = "7 0x7ffd10 0xffffffffffffffff 0x0 0x4 0x5 0x6" STACK;
    assert_int_equal(call_read(line, CALL_X86_64, &call), 0);
    static const uint64_t args[CALL_ARGS] = { 0x7ffd10, UINT64_MAX, 0, 4, 5, 6 };
    assert_memory_equal(call.args, args, sizeof(args));
}

static void what_is_in_no_call_is_told_apart(void **state) {
    (void)state;
    static const struct {
        const char *line;
        enum call_shape shape;
    } rows[] = {
        { "running\n", CALL_RUNNING },
        { "-1" STACK, CALL_OUTSIDE },
        { "-1 0x0 0x0\n", CALL_ENDED },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct wait_call call;
        assert_int_equal(call_read(rows[i].line, CALL_X86_64, &call), 0);
        assert_int_equal(call.shape, rows[i].shape);
        assert_string_equal(call.name, "");
    }
}

static void unknown_numbers_keep_their_number(void **state) {
    (void)state;
    struct wait_call call;
    assert_int_equal(call_read("9999 0x0" REST, CALL_X86_64, &call), 0);
    assert_string_equal(call.name, "call 9999");
    assert_int_equal(call.shape, CALL_OTHER);
    assert_int_equal(call_read("45 0x0" REST, CALL_MACHINES, &call), 0);
    assert_string_equal(call.name, "call 45"); /* of a machine that is not known */
    assert_int_equal(call_read("1073741869 0x0" REST, CALL_X86_64, &call), 0);
    assert_string_equal(call.name, "recvfrom"); /* of an x32 program */
}

/* 45 is brk there, and its arguments are no descriptors. */
static void calls_of_programs_with_32_bits_are_not_misread(void **state) {
    (void)state;
    struct wait_call call;
    const char *line = "45 0x0 0x1 0x2 0x3 0x4 0x5 0xffc3ee58 0xf7d2f503\n";
    assert_int_equal(call_read(line, CALL_X86_64, &call), 0);
    assert_int_equal(call.shape, CALL_OTHER);
    assert_string_equal(call.name, "32-bit call");
}

static void anything_else_is_refused(void **state) {
    (void)state;
    static const char *const lines[] = { "", "\n", "x", "45", "45 0x0 0x1", "45 0x0" REST "x" };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct wait_call call;
        int rc = call_read(lines[i], CALL_X86_64, &call);
        assert_int_equal(rc, i + 1 < ARRAY_LEN(lines) ? -EINVAL : 0); /* the last one is a line */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_those_of_the_machine),
        cmocka_unit_test(arguments_are_registers),
        cmocka_unit_test(what_is_in_no_call_is_told_apart),
        cmocka_unit_test(unknown_numbers_keep_their_number),
        cmocka_unit_test(calls_of_programs_with_32_bits_are_not_misread),
        cmocka_unit_test(anything_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
