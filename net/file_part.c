/* SPDX-License-Identifier: MIT */
/* Sends files without copying them, or reads them. */
#include "net/file_part.h"
#include <errno.h>
#include <sys/sendfile.h>
#include <unistd.h>

int file_part_send(struct file_part *part, int socket_fd, size_t burst) {
    while (part->left > 0 && burst > 0) {
        size_t most = part->left < burst ? (size_t)part->left : burst;
        ssize_t n = sendfile(socket_fd, part->fd, &part->at, most);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        part->left -= (uint64_t)n;
        burst -= (size_t)n;
    }
    return part->left > 0 ? -EINPROGRESS : 0;
}

int file_part_read(struct file_part *part, struct buf *buf, size_t most) {
    size_t size = part->left < most ? (size_t)part->left : most;
    int rc = buf_reserve(buf, size);
    ssize_t n = rc == 0 && size > 0 ? pread(part->fd, buf_tail(buf), size, part->at) : 0;

    if (rc < 0 || n < 0)
        return rc < 0 ? rc : -errno;
    if (n == 0 && size > 0)
        return -EIO;
    buf_added(buf, (size_t)n);
    part->at += n;
    part->left -= (uint64_t)n;
    return 0;
}

void file_part_close(struct file_part *part) {
    if (part->fd >= 0)
        close(part->fd);
    *part = (struct file_part){ .fd = -1 };
}
