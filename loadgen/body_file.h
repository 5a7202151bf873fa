/* SPDX-License-Identifier: MIT */
/* A body that is sent from its file in pieces: of any size, in constant memory, by any number of
 * connections at once. Its bytes on the wire are numbered, so that a connection that could not go
 * on finds its place again:
 *
 *   with Content-Length   file
 *   chunked               10000 CRLF, 64 KiB of the file, CRLF, ..., the rest alike, 0 CRLF CRLF */
#ifndef LOADGEN_BODY_FILE_H
#define LOADGEN_BODY_FILE_H

#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define BODY_CHUNK_BYTES 65536        /* the size of a chunk, also of bodies in memory */
#define BODY_PIECE_BYTES (65536 + 64) /* room for what body_file_read gives at once */

struct body_file {
    int fd;
    uint64_t file_bytes;
    uint64_t wire_bytes; /* with the framing */
    bool is_chunked;
};

/* Opens a regular file. 0 or -errno with the reason; body_file_close after 0. */
NODISCARD int body_file_open(struct body_file *b, const char *path, bool is_chunked,
                             struct error *err);
void body_file_close(struct body_file *b);

/* Reads the bytes from number `at` on, below wire_bytes, into `room` of BODY_PIECE_BYTES. Returns
 * how many, at least 1; -errno, -ENODATA when the file has become shorter. */
NODISCARD ssize_t body_file_read(const struct body_file *b, uint64_t at, char *room);

#endif
