/* SPDX-License-Identifier: MIT */
/* A part of an open file on its way into a socket, which the process never sees: sendfile(2); or
 * which it reads, where it must. */
#ifndef NET_FILE_PART_H
#define NET_FILE_PART_H

#include "base/buf.h"
#include <stdint.h>
#include <sys/types.h>

struct file_part {
    int fd; /* owned; -1: none */
    off_t at;
    uint64_t left; /* bytes; 0 without a file */
};

/* Sends what the socket takes at once, and at most `burst` bytes: 0 when nothing is left; -EAGAIN
 * when the socket is full; -EINPROGRESS when it may take more; -EIO when the file has become
 * shorter; or -errno. */
NODISCARD int file_part_send(struct file_part *part, int socket_fd, size_t burst);

/* Reads at most `most` bytes of it behind those of `buf`, for a socket whose bytes are not those of
 * the file. 0; -EIO when the file has become shorter; or -errno. */
NODISCARD int file_part_read(struct file_part *part, struct buf *buf, size_t most);

/* Closes the file, if there is one. */
void file_part_close(struct file_part *part);

#endif
