/* SPDX-License-Identifier: MIT */
/* A temporary folder that goes when its owner goes, however that ends.
 *
 * A small process of its own waits for the owner's end of a pipe to close, which the kernel does
 * even after SIGKILL, and then removes the folder with everything in it. */
#ifndef PLAYGROUND_TEMPDIR_H
#define PLAYGROUND_TEMPDIR_H

#include "base/error.h"
#include "base/slice.h"
#include <sys/types.h>

#define TEMPDIR_PATH_BYTES 108 /* the most for a unix socket's path: one may be put into it */

#define TEMPDIR_FILE_BYTES (TEMPDIR_PATH_BYTES + 20)

struct tempdir {
    char path[TEMPDIR_PATH_BYTES]; /* absolute; empty while there is none */
    int keep_fd; /* the folder stays while anybody has it open: pass it on to who writes there */
    pid_t cleaner;
    void (*before_removal)(const char *path);
};

/* Makes an empty folder with mode 0700 below TMPDIR or /tmp, whose name begins with `name`.
 * `before_removal`, which may be NULL, is called with the folder's path when nobody uses it any
 * more, in a process of its own: for what outlives the processes but does not lie in the folder.
 * The caller has one thread. 0 or -errno with a line. */
NODISCARD int tempdir_open(struct tempdir *s, const char *name,
                           void (*before_removal)(const char *path), struct error *err);

/* Writes a file into the folder, whose path comes into `path`. 0 or -errno with a line. */
NODISCARD int tempdir_write(const struct tempdir *s, const char *name, struct slice text,
                            char path[static TEMPDIR_FILE_BYTES], struct error *err);

/* Removes the folder and returns when it is gone. Whoever uses it has ended. Nothing happens to one
 * that is zeroed or was never made. */
void tempdir_close(struct tempdir *s);

#endif
