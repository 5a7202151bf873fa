/* SPDX-License-Identifier: MIT */
/* Files of a privileged process, in folders that may belong to somebody else.
 *
 *   safe_path_find(&p, "/run/app/srv.pid", SAFE_PATH_FOLLOW, &err)     which folder, which name
 *   safe_path_replace(&p, text, uid, gid, &err)                        one of the operations below
 *   safe_path_close(&p)
 *
 * Root is led nowhere by others: the folders are opened one after the other, and a symbolic link
 * among them counts only if root owns both the link and the folder that it lies in, which nobody
 * else may write to. The owner of "/" is as good as root (in a user namespace "/" may belong to
 * nobody). In a folder where others can put names, root opens no second name of a file (a hard
 * link), and no FIFO or device of theirs. Whoever swaps names or folders meanwhile changes nothing
 * of this: all that is done is done in the folder that was opened, and checked on what was opened.
 * For other users the kernel's own rules are enough, and links lead anywhere. */
#ifndef BASE_SAFE_PATH_H
#define BASE_SAFE_PATH_H

#include "base/error.h"
#include "base/slice.h"
#include <linux/limits.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

struct safe_path {
    int folder;     /* O_PATH; -1 when there is a descriptor */
    int descriptor; /* N of /dev/stdout, /dev/stderr, /dev/fd/N, /proc/self/fd/N; else -1 */
    bool shared;    /* others can put names into the folder */
    bool loose;     /* others can change where the path leads to */
    bool magic;     /* the name is a link of procfs, which the kernel follows to an open file */
    char leaf[NAME_MAX + 1];
};

enum safe_path_mode {
    SAFE_PATH_FOLLOW, /* a link as the last name is followed, too, when it counts */
    SAFE_PATH_KEEP,   /* the last name is what is meant, whatever it is */
};

#define SAFE_PATH_ANY ((uid_t)-1) /* uid or gid: what is made stays the process's */

/* Opens the folder. The last name need not exist. 0 or -errno with a reason that does not repeat
 * `path`. safe_path_close in both cases. */
NODISCARD int safe_path_find(struct safe_path *p, const char *path, enum safe_path_mode mode,
                             struct error *why);
void safe_path_close(struct safe_path *p);

/* The following return a descriptor (close-on-exec) or 0, or -errno with a reason. */

/* To append to; made (0644, for uid and gid) when there is none. FIFOs that root, the process's
 * user or `uid` own are opened without waiting for a reader; of a `descriptor` it is a copy. */
NODISCARD int safe_path_append(const struct safe_path *p, uid_t uid, gid_t gid, struct error *why);

/* To write from the beginning: emptied, or made (0666 less the umask) when there is none. A FIFO is
 * waited for until it has a reader; of a `descriptor` it is a copy, which goes on where that is. */
NODISCARD int safe_path_create(const struct safe_path *p, struct error *why);

/* To read. A FIFO is opened without waiting for a writer. */
NODISCARD int safe_path_read(const struct safe_path *p, struct error *why);

/* Makes `text` the content of a regular file (0644, for uid and gid), so that a reader sees the old
 * content or the new: written beside and renamed. Where the folder does not allow that, a text
 * of at most 64 bytes is written in place, with newlines over what was longer until it is cut. */
NODISCARD int safe_path_replace(const struct safe_path *p, struct slice text, uid_t uid, gid_t gid,
                                struct error *why);

/* Removes the name; a regular file in a folder that does not allow that is emptied. */
NODISCARD int safe_path_remove(const struct safe_path *p, struct error *why);

/* Gives the unix socket away. */
NODISCARD int safe_path_give_socket(const struct safe_path *p, uid_t uid, gid_t gid,
                                    struct error *why);

/* Makes the folder the working directory, for calls that take nothing but a path; returns the
 * descriptor of the old one for safe_path_leave, or -errno. For processes with one thread. */
NODISCARD int safe_path_enter(const struct safe_path *p);
void safe_path_leave(int old_fd);

/* All in one for a file to read; a FIFO is waited for. A descriptor, or -errno with a reason. */
NODISCARD int safe_path_open_to_read(const char *path, struct error *why);

/* Opens a regular file below `folder` to read, and nothing else: a device may do something when it
 * is opened. `resolve` are RESOLVE_* of openat2(2), which keep the path in the folder. A descriptor
 * (close-on-exec), or -errno: -ENOENT also of what is no regular file. */
NODISCARD int safe_path_open_regular(int folder, const char *path, uint64_t resolve,
                                     struct stat *ret_is);

#endif
