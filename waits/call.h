/* SPDX-License-Identifier: MIT */
/* The system call that a thread is in, as /proc/PID/task/TID/syscall tells (proc(5)): the number is
 * one of the machine's, the arguments are registers. */
#ifndef WAITS_CALL_H
#define WAITS_CALL_H

#include "base/attr.h"
#include <stdint.h>

/* Machines whose numbers are known. */
enum call_machine { CALL_X86_64, CALL_AARCH64, CALL_MACHINES };

#if defined(__x86_64__)
#define CALL_MACHINE_HERE CALL_X86_64
#elif defined(__aarch64__)
#define CALL_MACHINE_HERE CALL_AARCH64
#else
#define CALL_MACHINE_HERE CALL_MACHINES /* no number is known here: calls have no names */
#endif

/* The way to read the arguments of a call. */
enum call_shape {
    CALL_RUNNING, /* none: the thread has a CPU, or is ready for one */
    CALL_OUTSIDE, /* none, and the thread is blocked: by a page fault */
    CALL_ENDED,   /* none, and no stack: the thread has ended, and nobody has waited for it */
    CALL_OTHER,   /* not waited in as a rule, or with arguments that say nothing */
    CALL_READ,    /* (descriptor, ...) */
    CALL_WRITE,   /* (descriptor, ...) */
    CALL_ACCEPT,  /* (descriptor, ...) */
    CALL_CONNECT, /* (descriptor, address, length) */
    CALL_EPOLL,   /* (descriptor, ...) */
    CALL_POLL,    /* (array of struct pollfd, count, ...) */
    CALL_SELECT,  /* (highest + 1, read set, write set, exceptions, ...) */
    CALL_FUTEX,   /* (word, operation, value, time-out, ...); futex(2) */
    CALL_FUTEXES, /* later kinds of futex: their words do not say whether they are locks */
    CALL_SLEEP,
    CALL_CHILD,
    CALL_SIGNAL,
    CALL_FLOCK, /* (descriptor, ...) */
    CALL_FCNTL, /* (descriptor, command, ...) */
    CALL_DISK,  /* calls about files and folders */
};

#define CALL_ARGS       6
#define CALL_NAME_BYTES 24

struct wait_call {
    enum call_shape shape;
    char name[CALL_NAME_BYTES]; /* "recvfrom", "call 999"; empty when it is in none */
    uint64_t args[CALL_ARGS];
};

/* Reads the line of a thread. 0 or -EINVAL: the kernel says something else. */
NODISCARD int call_read(const char *line, enum call_machine machine, struct wait_call *ret);

#endif
