/* SPDX-License-Identifier: MIT */
/* Writes and removes the pid file. */
#include "proc/pidfile.h"
#include "base/log.h"
#include "base/safe_path.h"
#include "base/slice.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

/* The pid in the file; 0 when there is no file, or none in it. */
static pid_t read_pid(const struct safe_path *file) {
    char text[32];
    struct stat is;
    int fd = file->descriptor < 0 ? safe_path_read(file, NULL) : -EBADF;
    bool regular = fd >= 0 && fstat(fd, &is) == 0 && S_ISREG(is.st_mode);
    ssize_t n = regular ? read(fd, text, sizeof(text)) : -1; /* a FIFO would let us wait */
    uint64_t pid = 0;

    if (fd >= 0)
        close(fd);
    while (n > 0 && text[n - 1] == '\n')
        n--;
    if (n <= 0 || slice_parse_u64(slice_of(text, (size_t)n), INT32_MAX, &pid) < 0)
        return 0;
    return (pid_t)pid;
}

static int replace(const struct safe_path *file, pid_t predecessor, const struct privileges *owner,
                   struct error *why) {
    bool gives = owner->changes_group;
    pid_t other = read_pid(file);
    char text[16];
    int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());

    if (other > 0 && other != getpid() && other != predecessor &&
        (kill(other, 0) == 0 || errno == EPERM))
        return error_set(why, -EEXIST, "it names process %d, which runs", (int)other);
    return safe_path_replace(file, slice_of(text, (size_t)len), gives ? owner->uid : SAFE_PATH_ANY,
                             gives ? owner->gid : SAFE_PATH_ANY, why);
}

int pidfile_write(const char *path, pid_t predecessor, const struct privileges *owner,
                  struct error *err) {
    struct safe_path file;
    struct error why = { "" };
    int rc;

    if (path == NULL)
        return 0;
    rc = safe_path_find(&file, path, SAFE_PATH_FOLLOW, &why);
    if (rc == 0)
        rc = replace(&file, predecessor, owner, &why);
    safe_path_close(&file);
    return rc < 0 ? error_set(err, rc, "--pid: cannot write '%s': %s", path, why.text) : 0;
}

void pidfile_remove(const char *path) {
    struct safe_path file;
    struct error why = { "" };
    int rc;

    if (path == NULL)
        return;
    rc = safe_path_find(&file, path, SAFE_PATH_FOLLOW, &why);
    if (rc == 0 && read_pid(&file) == getpid())
        rc = safe_path_remove(&file, &why);
    safe_path_close(&file);
    if (rc < 0)
        log_write(LOG_LEVEL_WARN, "cannot remove the pid file path=%s error=\"%s\"", path,
                  why.text);
}
