/* SPDX-License-Identifier: MIT */
/* Writes and removes the pid file. */
#include "server/pidfile.h"
#include "base/log.h"
#include "base/slice.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* The pid in the file; 0 when there is no file, or none in it. */
static pid_t pidfile_read(const char *path) {
    char text[32];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));
    uint64_t pid = 0;

    if (fd >= 0)
        close(fd);
    if (n > 0 && text[n - 1] == '\n')
        n--;
    if (n <= 0 || slice_parse_u64(slice_of(text, (size_t)n), INT32_MAX, &pid) < 0)
        return 0;
    return (pid_t)pid;
}

int pidfile_write(const char *path, pid_t predecessor, const struct privileges *owner,
                  struct error *err) {
    pid_t other = path != NULL ? pidfile_read(path) : 0;
    int fd, rc = 0;

    if (path == NULL)
        return 0;
    if (other > 0 && other != getpid() && other != predecessor &&
        (kill(other, 0) == 0 || errno == EPERM))
        return error_set(err, -EEXIST, "--pid: '%s' names process %d, which runs", path, other);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return error_set(err, -errno, "--pid: cannot write '%s': %s", path, strerrordesc_np(errno));
    if (dprintf(fd, "%d\n", getpid()) < 0 ||
        (owner->changes_group && fchown(fd, owner->uid, owner->gid) < 0))
        rc = error_set(err, -errno, "--pid: cannot write '%s': %s", path, strerrordesc_np(errno));
    close(fd);
    return rc;
}

void pidfile_remove(const char *path) {
    if (path == NULL || pidfile_read(path) != getpid())
        return;
    if (unlink(path) < 0 && truncate(path, 0) < 0)
        log_write(LOG_LEVEL_WARN, "cannot remove the pid file path=%s error=\"%s\"", path,
                  strerrordesc_np(errno));
}
