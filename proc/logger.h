/* SPDX-License-Identifier: MIT */
/* A small process that writes log lines to a file, so that no worker ever waits for a disk.
 *
 *   worker --(pipe, never blocks)--> logger process --> file
 *
 * Guarantee: a line that logger_write took reaches a regular file once, whole and in order, though
 * the process is killed at any instant and as often as one likes (by the kernel, too, when memory
 * is short). The pipe stays open in the parent; text that has left the pipe stands in memory that
 * the process shares with its successor; the file's size tells how much of that was written. Access
 * logs need it: operators count requests by them, and so does scripts/soak. The test that holds it
 * is killed_processes_lose_nothing in tests/unit/proc/test_logger.c.
 *
 * Not promised: lines when the pipe is full (logger_write tells) or the disk (the process tells how
 * many); when the parent is killed, too, or the machine goes down; that lines come once where the
 * output is no file, and has no size. USR1 to any process of the server opens the file anew
 * (logrotate(8)). */
#ifndef PROC_LOGGER_H
#define PROC_LOGGER_H

#include "base/error.h"
#include "base/slice.h"
#include "proc/helper.h"
#include "proc/privileges.h"

#define LOGGER_LINE_BYTES 4096 /* PIPE_BUF: longer lines would mix with those of other workers */

/* The end of a server waits so long for the disk to take the last log lines. */
#define LOGGER_DRAIN_NSEC (5 * NSEC_PER_SEC)

struct logger_memory;

struct logger {
    const char *path; /* "-": standard output */
    struct helper helper;
    struct logger_memory *memory;
    int in_fd, pipe_fd; /* the ends of the pipe */
    int reopen_fd;      /* an eventfd */
    int out_fd;         /* the file, until the first process has it */
    bool is_descriptor; /* the path stands for one that was open; `out_fd` is kept for successors */
};

/* Opens the file, which is given to `owner` when it is new. Call before privileges are dropped. 0
 * or -errno with a reason; logger_close in both cases. */
NODISCARD int logger_open(struct logger *l, const char *path, const struct privileges *owner,
                          struct error *err);

/* Forks. Call before the workers are forked, and after privileges have been dropped. `program` is
 * for ps, "srv serve". 0 or -errno with a reason. */
NODISCARD int logger_start(struct logger *l, const char *program, struct error *err);

/* Starts the process again when it has died; as helper_tend. */
nsec_t logger_tend(struct logger *l, nsec_t now);

/* Writes one line, newline included and without NUL, of at most LOGGER_LINE_BYTES. False when it
 * was dropped. From any thread and any worker. */
bool logger_write(const struct logger *l, struct slice line);

/* Asks for the file to be opened anew. Signal handlers may. */
void logger_reopen(const struct logger *l);

/* Lets it write what is in the pipe, and waits for its end, some seconds at the most; the workers
 * must have left. */
void logger_close(struct logger *l);

#endif
