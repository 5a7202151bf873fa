/* SPDX-License-Identifier: MIT */
/* A growing byte buffer that was born with a maximum.
 *
 *   data        start          end           cap          max
 *    |  consumed  |   unread    |    room     |  not yet    |
 *
 * Memory is allocated on the first reserve. Consuming everything resets both cursors, so that a
 * drained buffer never moves bytes. Usage:
 *
 *   buf_init(&b, LIMIT);
 *   rc = buf_reserve(&b, 4096);              0, or why there is no room
 *   n = recv(fd, buf_tail(&b), buf_room(&b), 0);
 *   buf_added(&b, n);
 *   used = parse(buf_unread(&b));
 *   buf_consume(&b, used);
 *   buf_free(&b);                            gives the memory back; usable again
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/slice.h"

struct buf {
    char *data;
    size_t start, end, cap, max;
};

/* `max` in bytes, at least 1. Allocates nothing. */
void buf_init(struct buf *b, size_t max);
void buf_free(struct buf *b);

/* Makes room for at least `room` more bytes, moving the unread ones down or growing (doubling).
 * 0, -ENOBUFS (would exceed max) or -ENOMEM; the content is unchanged on failure. */
NODISCARD int buf_reserve(struct buf *b, size_t room);

/* Appends all of it or nothing. Errors as buf_reserve; the printing ones want one byte more than
 * they add, for snprintf's NUL. */
NODISCARD int buf_append(struct buf *b, struct slice s);
NODISCARD int buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Drops `n` unread bytes from the front; `n` is at most buf_unread(b).len. */
void buf_consume(struct buf *b, size_t n);

static inline struct slice buf_unread(const struct buf *b) {
    if (b->data == NULL) /* no arithmetic on NULL: undefined in C */
        return (struct slice){ "", 0 };
    return (struct slice){ b->data + b->start, b->end - b->start };
}

/* The place of the next byte; after a successful buf_reserve. */
static inline char *buf_tail(struct buf *b) {
    return b->data + b->end;
}

static inline size_t buf_room(const struct buf *b) {
    return b->cap - b->end;
}

/* Tells that `n` bytes were written at buf_tail; `n` is at most buf_room. */
void buf_added(struct buf *b, size_t n);

/* Keeps what its reader left of `input`, of which `used` bytes were used: `input` is buf_unread, or
 * lies elsewhere while the buffer is empty. Nothing left: gives the memory back. As buf_append. */
NODISCARD static inline int buf_keep(struct buf *b, struct slice input, size_t used) {
    if (b->end == b->start)
        return used < input.len ? buf_append(b, slice_drop(input, used)) : 0;

    buf_consume(b, used);
    if (b->end == b->start)
        buf_free(b);
    return 0;
}

#endif
