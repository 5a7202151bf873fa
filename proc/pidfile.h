/* SPDX-License-Identifier: MIT */
/* The file that tells operators which process to signal. */
#ifndef PROC_PIDFILE_H
#define PROC_PIDFILE_H

#include "base/error.h"
#include "proc/privileges.h"
#include <sys/types.h>

/* Writes this process's pid and a newline, replacing a stale file; a file that names a running
 * process is left alone, -EEXIST, unless that is `predecessor`, which we replace (0: nobody).
 * It becomes `owner`'s, who may have to write it again. `path` NULL does nothing. 0 or -errno with
 * a reason. */
NODISCARD int pidfile_write(const char *path, pid_t predecessor, const struct privileges *owner,
                            struct error *err);

/* Removes it if it still names this process; empties it where that is not allowed. */
void pidfile_remove(const char *path);

#endif
