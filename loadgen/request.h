/* SPDX-License-Identifier: MIT */
/* The bytes of the request, made once and shared by all connections. */
#ifndef LOADGEN_REQUEST_H
#define LOADGEN_REQUEST_H

#include "base/buf.h"
#include "http/head.h"
#include "loadgen/body_file.h"
#include "loadgen/config.h"
#include "loadgen/target.h"

/* The demands on the answer to one request, in the place of those on all. */
struct request_expect {
    struct expect_status status;
    const struct expect_body *body; /* NULL: any */
};

struct request {
    struct buf bytes;        /* head and body */
    size_t head_bytes;       /* the head's part of them */
    enum http_method method; /* decides whether a response has a body */
    bool has_body;
    bool is_streamed; /* the body is `file`, and not in `bytes` */
    struct body_file file;
    bool close;    /* the connection serves one request: nobody asked for keep-alive */
    uint16_t name; /* the number that its results are counted by */
    const struct request_expect *expect; /* NULL: those of the options */
};

/* Builds it, reading the body's file. 0; -EINVAL (an option's value cannot be sent), -errno (file),
 * with the line. */
NODISCARD int request_build(struct request *r, const struct loadgen_config *c,
                            const struct target *t, struct error *err);
/* Appends the request that asks a proxy for a tunnel to the target. 0 or -errno with the reason. */
NODISCARD int request_build_tunnel(struct buf *to, const struct loadgen_config *c,
                                   const struct target *t, struct error *err);

void request_free(struct request *r);

static inline struct slice request_bytes(const struct request *r) {
    return buf_unread(&r->bytes);
}

/* The length of all that is sent. */
static inline uint64_t request_length(const struct request *r) {
    uint64_t length = buf_unread(&r->bytes).len;
    return UNLIKELY(r->is_streamed) ? length + r->file.wire_bytes : length;
}

/* Prints on stderr what -v shows while the run goes on: the head of the request, and of a response
 * the fields from VERBOSE_HEADS on, the status too from VERBOSE_STATUS on. */
void request_show(const struct request *r);
void request_show_answer(const struct http_head *head, int64_t level);

#endif
