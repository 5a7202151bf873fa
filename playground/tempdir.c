/* SPDX-License-Identifier: MIT */
/* Makes temporary folders, and the process that removes them. */
#include "playground/tempdir.h"
#include "base/stream.h"
#include "proc/child.h"
#include "proc/title.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define REMOVE_TRIES    100 /* others may still be writing while they die */
#define REMOVE_PAUSE_MS 50
#define OPEN_DIRS_MAX   16 /* descriptors that walking the tree takes */

static int remove_entry(const char *path, const struct stat *status UNUSED, int kind UNUSED,
                        struct FTW *where UNUSED) {
    (void)!remove(
        path); /* a file that is left makes removing its folder fail, which is tried again */
    return 0;
}

static void remove_tree(const char *path) {
    for (int i = 0; i < REMOVE_TRIES; i++) {
        nftw(path, remove_entry, OPEN_DIRS_MAX, FTW_DEPTH | FTW_PHYS);
        if (access(path, F_OK) != 0)
            return;
        poll(NULL, 0, REMOVE_PAUSE_MS);
    }
}

static void clean(const char *path, void (*before_removal)(const char *path)) {
    if (before_removal != NULL)
        before_removal(path);
    remove_tree(path);
}

/* In the child, where child_fork has blocked all signals. It is out of reach of Ctrl-C, and holds
 * nothing open that somebody may wait for. The title takes the place of the environment, too:
 * whoever ends all processes with a certain one, as test harnesses do, spares this. */
__attribute__((noreturn)) static void clean_after(const char *path, int end_fd,
                                                  void (*before_removal)(const char *path)) {
    char byte;

    setsid();
    title_set("srv scratch", "srv play: removes %s", path);
    if (dup2(end_fd, STDIN_FILENO) < 0)
        _exit(1);
    close_range(STDIN_FILENO + 1, ~0U, 0);
    while (read(STDIN_FILENO, &byte, 1) < 0 && errno == EINTR)
        ;
    clean(path, before_removal);
    _exit(0);
}

static int start_cleaner(struct tempdir *s, void (*before_removal)(const char *path)) {
    int fds[2];
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    pid = child_fork(0);
    if (pid == 0)
        clean_after(s->path, fds[0], before_removal);
    close(fds[0]);
    if (pid < 0) {
        close(fds[1]);
        return pid;
    }
    s->keep_fd = fds[1];
    s->cleaner = pid;
    s->before_removal = before_removal;
    return 0;
}

int tempdir_open(struct tempdir *s, const char *name, void (*before_removal)(const char *path),
                 struct error *err) {
    const char *parent = getenv("TMPDIR");
    int len, rc;

    *s = (struct tempdir){ .keep_fd = -1 };
    if (parent == NULL || parent[0] != '/')
        parent = "/tmp";
    len = snprintf(s->path, sizeof(s->path), "%s/%s.XXXXXX", parent, name);
    if (len < 0 || (size_t)len >= sizeof(s->path)) {
        s->path[0] = '\0';
        return error_set(err, -ENAMETOOLONG, "TMPDIR is too long a path: %s", parent);
    }
    if (mkdtemp(s->path) == NULL) {
        rc = error_set(err, -errno, "cannot make a folder in %s: %s", parent,
                       strerrordesc_np(errno));
        s->path[0] = '\0';
        return rc;
    }
    rc = start_cleaner(s, before_removal);
    if (rc == 0)
        return 0;
    remove_tree(s->path);
    s->path[0] = '\0';
    return error_set(err, rc, "cannot start the process that removes a folder: %s",
                     strerrordesc_np(-rc));
}

int tempdir_write(const struct tempdir *s, const char *name, struct slice text,
                  char path[static TEMPDIR_FILE_BYTES], struct error *err) {
    FILE *out;
    int rc;

    snprintf(path, TEMPDIR_FILE_BYTES, "%s/%s", s->path, name);
    rc = stream_create(&out, path, err);
    if (rc < 0)
        return rc;
    fwrite(text.ptr, 1, text.len, out);
    rc = stream_close(out);
    return rc < 0 ? error_set(err, rc, "cannot write %s: %s", path, strerrordesc_np(-rc)) : 0;
}

void tempdir_close(struct tempdir *s) {
    int status;

    if (s->cleaner <= 0)
        return;
    close(s->keep_fd);
    status = child_wait(s->cleaner);
    if (status != 0 && status != CHILD_STATUS_UNKNOWN) /* somebody has killed it */
        clean(s->path, s->before_removal);
    *s = (struct tempdir){ .keep_fd = -1 };
}
