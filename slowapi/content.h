/* SPDX-License-Identifier: MIT */
/* The content of an answer (RFC 9110 section 6.4), made unit by unit: a byte or an event each. */
#ifndef SLOWAPI_CONTENT_H
#define SLOWAPI_CONTENT_H

#include "base/buf.h"
#include "base/clock.h"
#include <sys/types.h>

struct chat;

/* A body that others make while it is sent. */
struct content_source {
    /* Appends up to `count` bytes to `out`. How many; 0 at the end; -EAGAIN: later; or -errno. */
    ssize_t (*pull)(struct content_source *source, struct buf *out, size_t count);
    void *owner; /* the one that it is made for */
};

enum body_kind {
    BODY_TEXT,    /* `text` */
    BODY_FILE,    /* `file` */
    BODY_LETTERS, /* pseudo-random a to z */
    BODY_BYTES,   /* pseudo-random, all values */
    BODY_PATTERN, /* abc...zabc..., from `offset` on */
    BODY_STARS,
    BODY_SOURCE, /* `source` has it; units UINT64_MAX: until its end */
    BODY_LINES,  /* events: {"id":0}, and what `text` has, which is empty or an object */
    BODY_JSONL,  /* events: {"id":0,"timestamp":...} */
    BODY_SSE,    /* events: server-sent ones */
    BODY_CHAT,   /* events: tokens of `chat` */
};

struct body {
    uint8_t kind;    /* enum body_kind */
    bool is_chunked; /* the length is not told in advance */
    const char *type;
    struct slice text;
    struct chat *chat; /* owned: the answer of a model, or NULL */
    struct content_source *source;
    int file;       /* a regular one, read as it is sent */
    uint64_t known; /* units that a percentage is of, when `units` tells none; or 0 */
    uint64_t units; /* bytes, or events */
    uint64_t offset, seed;
    uint64_t piece;  /* units at a time; 0: few enough that pieces are no less than 1 ms apart */
    nsec_t span;     /* from the first piece to the last */
    nsec_t lead;     /* before the first piece; of events, chosen by the path */
    nsec_t interval; /* between pieces */
    double jitter;   /* share of the interval */
};

/* Whether a unit is an event. */
static inline bool content_is_events(const struct body *body) {
    return body->kind >= BODY_LINES;
}

/* Appends units `from`... of at most `count`, and no more than SLOWAPI_PIECE_BYTES bytes. How many;
 * -EIO: its file has become shorter; or as buf_reserve. Of a source, as its pull. */
NODISCARD int64_t content_append(const struct body *body, uint64_t from, uint64_t count,
                                 struct buf *out);

/* Cuts the body into pieces of at most `piece_max` units and spreads them over its span; a lone
 * piece of bytes comes at the end of that. An interval that is longer stays. */
void content_spread(struct body *body, uint64_t piece_max);

#endif
