/* SPDX-License-Identifier: MIT */
/* Opens bodies, and reads what is to be sent of them. */
#include "loadgen/body_file.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LAST_CHUNK "0\r\n\r\n"

enum { SIZE_LINE_BYTES = 24 };

static size_t size_line(char text[SIZE_LINE_BYTES], uint64_t bytes) {
    return (size_t)snprintf(text, SIZE_LINE_BYTES, "%" PRIx64 "\r\n", bytes);
}

/* The bytes of a chunk on the wire. */
static uint64_t framed(uint64_t bytes) {
    char text[SIZE_LINE_BYTES];
    return bytes > 0 ? size_line(text, bytes) + bytes + 2 : 0;
}

int body_file_open(struct body_file *b, const char *path, bool is_chunked, struct error *err) {
    struct stat facts;
    int rc = 0, flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK; /* a pipe would wait for its writer */
    *b = (struct body_file){ .fd = open(path, flags), .is_chunked = is_chunked };
    if (b->fd < 0 || fstat(b->fd, &facts) != 0)
        rc = -errno;
    if (rc == 0 && !S_ISREG(facts.st_mode))
        rc = error_set(err, -EINVAL,
                       "--body-stream %s: it is no regular file, and can be sent once only; --post "
                       "keeps it in memory",
                       path);
    else if (rc != 0)
        error_set(err, rc, "cannot read %s: %s", path, strerrordesc_np(-rc));
    if (rc != 0) {
        body_file_close(b);
        return rc;
    }
    b->file_bytes = (uint64_t)facts.st_size;
    b->wire_bytes = b->file_bytes;
    if (is_chunked)
        b->wire_bytes = b->file_bytes / BODY_CHUNK_BYTES * framed(BODY_CHUNK_BYTES) +
                        framed(b->file_bytes % BODY_CHUNK_BYTES) + sizeof(LAST_CHUNK) - 1;
    return 0;
}

void body_file_close(struct body_file *b) {
    if (b->fd >= 0)
        close(b->fd);
    b->fd = -1;
}

static ssize_t read_file(const struct body_file *b, uint64_t at, char *room, size_t size) {
    ssize_t n = pread(b->fd, room, size, (off_t)at);
    if (n < 0)
        return -errno;
    return n > 0 ? n : -ENODATA;
}

/* Reads what is left of one chunk, from `skip` bytes of its wire on. */
static ssize_t read_chunk(const struct body_file *b, uint64_t chunk, uint64_t skip, char *room) {
    uint64_t from = chunk * BODY_CHUNK_BYTES;
    uint64_t bytes =
        b->file_bytes - from < BODY_CHUNK_BYTES ? b->file_bytes - from : BODY_CHUNK_BYTES;
    char line[SIZE_LINE_BYTES];
    size_t line_len = size_line(line, bytes), len = 0;
    if (skip < line_len) {
        len = line_len - (size_t)skip;
        memcpy(room, line + skip, len);
    }
    uint64_t done = skip > line_len ? skip - line_len : 0;
    if (done < bytes) {
        ssize_t n = read_file(b, from + done, room + len, (size_t)(bytes - done));
        if (n < 0)
            return n;
        len += (size_t)n;
        done += (uint64_t)n;
    }
    if (done >= bytes) {
        size_t ended = (size_t)(done - bytes); /* bytes gone of the two behind the data */
        memcpy(room + len, &"\r\n"[ended], 2 - ended);
        len += 2 - ended;
    }
    return (ssize_t)len;
}

ssize_t body_file_read(const struct body_file *b, uint64_t at, char *room) {
    uint64_t left = b->wire_bytes - at, whole = framed(BODY_CHUNK_BYTES);
    if (!b->is_chunked)
        return read_file(b, at, room, left < BODY_CHUNK_BYTES ? (size_t)left : BODY_CHUNK_BYTES);
    if (left <= sizeof(LAST_CHUNK) - 1) {
        memcpy(room, &LAST_CHUNK[sizeof(LAST_CHUNK) - 1 - left], (size_t)left);
        return (ssize_t)left;
    }
    return read_chunk(b, at / whole, at % whole, room);
}
