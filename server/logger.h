/* SPDX-License-Identifier: MIT */
/* A small process that writes log lines to a file, so that no worker ever waits for a disk.
 *
 *   worker --(pipe, never blocks)--> logger process --> file
 *
 * A pipe that is full loses lines, and counts them; a disk that is full loses lines, and says so
 * once a second at most. USR1 to any process of the server opens the file anew (logrotate(8)). */
#ifndef SERVER_LOGGER_H
#define SERVER_LOGGER_H

#include "base/error.h"
#include "base/slice.h"
#include <sys/types.h>

#define LOGGER_LINE_BYTES 4096 /* PIPE_BUF: longer lines would mix with those of other workers */

struct logger {
    const char *path; /* "-": standard output */
    pid_t pid;
    int pipe_fd;
};

/* Opens the file and forks. Call before the workers are forked. 0 or -errno with a reason. */
NODISCARD int logger_start(struct logger *l, const char *path, struct error *err);

/* Writes one line, newline included, of at most LOGGER_LINE_BYTES. False when it was dropped. From
 * any thread and any worker. */
bool logger_write(const struct logger *l, struct slice line);

/* Asks for the file to be opened anew. */
void logger_reopen(const struct logger *l);

/* Lets it write what is in the pipe, and waits for its end; the workers must have left. */
void logger_stop(struct logger *l);

#endif
