/* SPDX-License-Identifier: MIT */
/* Files that are waited for until somebody changes them. Their folders are watched, so that a file
 * which is replaced by renaming, as editors do, is seen, too. inotify(7).
 *
 *   w = file_watch_new(&err)                     SIGIO tells this process of changes from now on
 *   file_watch_add(w, "app.c", &err)             for each; again after a folder was replaced
 *   next = file_watch_tend(w, now, NULL, &due)   after each SIGIO, and at the time it returned
 *   file_watch_free(w)
 *
 * Changes within FILE_WATCH_QUIET_NSEC of each other are one. */
#ifndef PROC_FILE_WATCH_H
#define PROC_FILE_WATCH_H

#include "base/clock.h"
#include "base/error.h"
#include <stdbool.h>

#define FILE_WATCH_QUIET_NSEC    (100 * NSEC_PER_MSEC)
#define FILE_WATCH_PATIENCE_NSEC (2 * NSEC_PER_SEC) /* with a file that never is quiet */

struct file_watch;

/* The process takes SIGIO with sigwait(3), or ignores it: by default it kills. NULL with a reason.
 */
NODISCARD struct file_watch *file_watch_new(struct error *err);

/* NULL-safe. A child frees its copy; the watches stay those of the parent. */
void file_watch_free(struct file_watch *w);

/* Watches for the name in its folder and, when it is a link, for what it leads to. 0, or -errno
 * with a reason that names the folder. */
NODISCARD int file_watch_add(struct file_watch *w, const char *path, struct error *err);

/* As if one of the files had just changed. */
void file_watch_touch(struct file_watch *w, nsec_t now);

/* Whether, in *ret_due, files have changed and are quiet since: once for each time. `also`, which
 * may be NULL, says which other names count in the folders. Returns when to come back; NSEC_NEVER:
 * after the next SIGIO. */
nsec_t file_watch_tend(struct file_watch *w, nsec_t now, bool (*also)(const char *name),
                       bool *ret_due);

#endif
