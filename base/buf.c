/* SPDX-License-Identifier: MIT */
/* Moves, grows and fills a capped byte buffer. */
#include "base/buf.h"
#include "base/alloc.h"
#include "base/assert.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define BUF_FIRST_BYTES 256 /* the least that is worth a malloc */

static bool buf_sane(const struct buf *b) {
    return b->start <= b->end && b->end <= b->cap && b->cap <= b->max;
}

void buf_init(struct buf *b, size_t max) {
    ASSERT(max > 0);
    *b = (struct buf){ .max = max < PTRDIFF_MAX ? max : PTRDIFF_MAX }; /* sums cannot wrap */
}

void buf_free(struct buf *b) {
    mem_free(b->data);
    *b = (struct buf){ .max = b->max };
}

static void buf_move_down(struct buf *b) {
    if (b->start == 0)
        return;
    memmove(b->data, b->data + b->start, b->end - b->start);
    b->end -= b->start;
    b->start = 0;
}

static int buf_grow(struct buf *b, size_t need) {
    size_t cap = b->cap > 0 ? b->cap : BUF_FIRST_BYTES / 2;
    cap = cap > b->max / 2 ? b->max : cap * 2;
    if (cap < need)
        cap = need;

    char *data = mem_realloc(b->data, cap);
    if (data == NULL)
        return -ENOMEM;
    b->data = data;
    b->cap = cap;
    return 0;
}

int buf_reserve(struct buf *b, size_t room) {
    ASSERT(buf_sane(b));
    if (LIKELY(b->data != NULL && room <= b->cap - b->end))
        return 0;
    size_t unread = b->end - b->start;
    if (room > b->max - unread)
        return -ENOBUFS;

    /* Bytes move only when at least as many were consumed since the last move, or when growing is
     * no longer possible: a slow reader of a full buffer must not cost a memmove per byte. */
    bool fits = b->data != NULL && unread + room <= b->cap;
    bool cheap = b->start >= unread || b->end + room > b->max;
    if (!fits || cheap)
        buf_move_down(b);
    if (fits && cheap)
        return 0;
    return buf_grow(b, b->end + room);
}

int buf_append(struct buf *b, struct slice s) {
    int rc = buf_reserve(b, s.len);
    if (rc < 0)
        return rc;
    if (s.len > 0)
        memcpy(b->data + b->end, s.ptr, s.len);
    b->end += s.len;
    return 0;
}

static PRINTF_LIKE(2, 0) int append_format(struct buf *b, const char *fmt, va_list args) {
    va_list again;
    va_copy(again, args);
    char *tail = b->data != NULL ? buf_tail(b) : NULL;
    int len = vsnprintf(tail, buf_room(b), fmt, args);
    int rc = len < 0 ? -EINVAL : 0;
    if (rc == 0 && (size_t)len >= buf_room(b)) {
        rc = buf_reserve(b, (size_t)len + 1); /* vsnprintf wants room for its NUL */
        if (rc == 0)
            vsnprintf(buf_tail(b), buf_room(b), fmt, again);
    }
    va_end(again);
    if (rc == 0)
        b->end += (size_t)len;
    return rc;
}

int buf_printf(struct buf *b, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int rc = append_format(b, fmt, args);
    va_end(args);
    return rc;
}

void buf_consume(struct buf *b, size_t n) {
    ASSERT(n <= b->end - b->start);
    b->start += n;
    if (b->start == b->end)
        b->start = b->end = 0;
}

void buf_added(struct buf *b, size_t n) {
    ASSERT(n <= b->cap - b->end);
    b->end += n;
}
