/* SPDX-License-Identifier: MIT */
/* Names the calls that threads wait in, by their numbers on x86-64 and aarch64. */
#include "waits/call.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#define X32_BIT 0x40000000 /* set in the numbers of x32 programs */

/* name, number on x86-64, number on aarch64 (-1: not there), shape. asm/unistd_64.h,
 * asm-generic/unistd.h */
#define CALLS(X)                         \
    X(read, 0, 63, READ)                 \
    X(readv, 19, 65, READ)               \
    X(pread64, 17, 67, READ)             \
    X(preadv, 295, 69, READ)             \
    X(recvfrom, 45, 207, READ)           \
    X(recvmsg, 47, 212, READ)            \
    X(recvmmsg, 299, 243, READ)          \
    X(splice, 275, 76, READ)             \
    X(tee, 276, 77, READ)                \
    X(write, 1, 64, WRITE)               \
    X(writev, 20, 66, WRITE)             \
    X(pwrite64, 18, 68, WRITE)           \
    X(pwritev, 296, 70, WRITE)           \
    X(sendto, 44, 206, WRITE)            \
    X(sendmsg, 46, 211, WRITE)           \
    X(sendmmsg, 307, 269, WRITE)         \
    X(sendfile, 40, 71, WRITE)           \
    X(vmsplice, 278, 75, WRITE)          \
    X(accept, 43, 202, ACCEPT)           \
    X(accept4, 288, 242, ACCEPT)         \
    X(connect, 42, 203, CONNECT)         \
    X(epoll_wait, 232, -1, EPOLL)        \
    X(epoll_pwait, 281, 22, EPOLL)       \
    X(epoll_pwait2, 441, 441, EPOLL)     \
    X(poll, 7, -1, POLL)                 \
    X(ppoll, 271, 73, POLL)              \
    X(select, 23, -1, SELECT)            \
    X(pselect6, 270, 72, SELECT)         \
    X(futex, 202, 98, FUTEX)             \
    X(futex_waitv, 449, 449, FUTEXES)    \
    X(futex_wait, 455, 455, FUTEXES)     \
    X(nanosleep, 35, 101, SLEEP)         \
    X(clock_nanosleep, 230, 115, SLEEP)  \
    X(wait4, 61, 260, CHILD)             \
    X(waitid, 247, 95, CHILD)            \
    X(vfork, 58, -1, CHILD)              \
    X(pause, 34, -1, SIGNAL)             \
    X(rt_sigsuspend, 130, 133, SIGNAL)   \
    X(rt_sigtimedwait, 128, 137, SIGNAL) \
    X(flock, 73, 32, FLOCK)              \
    X(fcntl, 72, 25, FCNTL)              \
    X(open, 2, -1, DISK)                 \
    X(openat, 257, 56, DISK)             \
    X(openat2, 437, 437, DISK)           \
    X(close, 3, 57, DISK)                \
    X(fsync, 74, 82, DISK)               \
    X(fdatasync, 75, 83, DISK)           \
    X(sync, 162, 81, DISK)               \
    X(syncfs, 306, 267, DISK)            \
    X(sync_file_range, 277, 84, DISK)    \
    X(fallocate, 285, 47, DISK)          \
    X(ftruncate, 77, 46, DISK)           \
    X(getdents64, 217, 61, DISK)         \
    X(newfstatat, 262, 79, DISK)         \
    X(statx, 332, 291, DISK)             \
    X(unlink, 87, -1, DISK)              \
    X(unlinkat, 263, 35, DISK)           \
    X(rename, 82, -1, DISK)              \
    X(renameat2, 316, 276, DISK)         \
    X(copy_file_range, 326, 285, DISK)   \
    X(semop, 65, 193, OTHER)             \
    X(semtimedop, 220, 192, OTHER)       \
    X(msgsnd, 69, 189, OTHER)            \
    X(msgrcv, 70, 188, OTHER)            \
    X(mq_timedsend, 242, 182, OTHER)     \
    X(mq_timedreceive, 243, 183, OTHER)  \
    X(io_getevents, 208, 4, OTHER)       \
    X(io_pgetevents, 333, 292, OTHER)    \
    X(io_uring_enter, 426, 426, OTHER)   \
    X(restart_syscall, 219, 128, OTHER)  \
    X(clone, 56, 220, OTHER)             \
    X(clone3, 435, 435, OTHER)           \
    X(fork, 57, -1, OTHER)               \
    X(execve, 59, 221, OTHER)            \
    X(mmap, 9, 222, OTHER)               \
    X(munmap, 11, 215, OTHER)            \
    X(mprotect, 10, 226, OTHER)          \
    X(madvise, 28, 233, OTHER)           \
    X(brk, 12, 214, OTHER)               \
    X(ioctl, 16, 29, OTHER)              \
    X(getrandom, 318, 278, OTHER)        \
    X(ptrace, 101, 117, OTHER)           \
    X(exit_group, 231, 94, OTHER)

static const struct call_row {
    int numbers[CALL_MACHINES];
    enum call_shape shape;
    const char *name;
} rows[] = {
#define CALL_ROW(name, x86_64, aarch64, shape) { { x86_64, aarch64 }, CALL_##shape, #name },
    CALLS(CALL_ROW)
#undef CALL_ROW
};

/* Numbers of calls that waits are named after are checked against the kernel's own header: a wrong
 * number would tell another wait. */
#if defined(__x86_64__) || defined(__aarch64__)
#if defined(__x86_64__)
#define NUMBER_HERE(x86_64, aarch64) (x86_64)
#else
#define NUMBER_HERE(x86_64, aarch64) (aarch64)
#endif
#define CALL_CHECK(name, x86_64, aarch64) \
    static_assert(SYS_##name == NUMBER_HERE(x86_64, aarch64), "the number of " #name);
CALL_CHECK(read, 0, 63)
CALL_CHECK(recvfrom, 45, 207)
CALL_CHECK(sendto, 44, 206)
CALL_CHECK(accept4, 288, 242)
CALL_CHECK(connect, 42, 203)
CALL_CHECK(epoll_pwait, 281, 22)
CALL_CHECK(ppoll, 271, 73)
CALL_CHECK(pselect6, 270, 72)
CALL_CHECK(futex, 202, 98)
CALL_CHECK(clock_nanosleep, 230, 115)
CALL_CHECK(wait4, 61, 260)
CALL_CHECK(flock, 73, 32)
CALL_CHECK(fcntl, 72, 25)
#endif

static void name_call(long number, enum call_machine machine, struct wait_call *c) {
    for (size_t i = 0; machine < CALL_MACHINES && i < ARRAY_LEN(rows); i++)
        if (rows[i].numbers[machine] == number) {
            c->shape = rows[i].shape;
            snprintf(c->name, sizeof(c->name), "%s", rows[i].name);
            return;
        }
    c->shape = CALL_OTHER;
    snprintf(c->name, sizeof(c->name), "call %ld", number);
}

/* A program of 32 bits has numbers of its own; its stack ends below 4 GiB, which no other's does.
 * Without a stack a thread has ended. */
static void note_stack(uint64_t stack, struct wait_call *c) {
    if (stack == 0)
        c->shape = CALL_ENDED;
    else if (stack <= UINT32_MAX) {
        c->shape = CALL_OTHER;
        snprintf(c->name, sizeof(c->name), "32-bit call");
    }
}

/* The numbers of a line, in decimal or hexadecimal; -1 is the highest of all. Their count. */
static size_t read_numbers(const char *line, uint64_t *ret, size_t count_max) {
    size_t count = 0;
    char *end;

    for (; count < count_max; count++) {
        ret[count] = strtoull(line, &end, 0);
        if (end == line)
            break;
        line = end;
    }
    return count;
}

int call_read(const char *line, enum call_machine machine, struct wait_call *ret) {
    enum { NUMBER, ARGS, STACK = ARGS + CALL_ARGS, PC, ALL };
    uint64_t numbers[ALL];

    *ret = (struct wait_call){ .shape = CALL_RUNNING };
    if (strncmp(line, "running", strlen("running")) == 0)
        return 0;
    size_t count = read_numbers(line, numbers, ALL);
    if (count == 3 && numbers[NUMBER] == UINT64_MAX) { /* -1, stack, pc */
        ret->shape = CALL_OUTSIDE;
        note_stack(numbers[1], ret);
        return 0;
    }
    if (count != ALL)
        return -EINVAL;
    memcpy(ret->args, &numbers[ARGS], sizeof(ret->args));
    if (machine == CALL_X86_64)
        numbers[NUMBER] &= ~(uint64_t)X32_BIT;
    name_call((long)numbers[NUMBER], machine, ret);
    note_stack(numbers[STACK], ret);
    return 0;
}
