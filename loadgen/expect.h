/* SPDX-License-Identifier: MIT */
/* The demands on a response for it to be a success: its status, a text in its body. */
#ifndef LOADGEN_EXPECT_H
#define LOADGEN_EXPECT_H

#include "base/error.h"
#include "base/slice.h"

/* Statuses of three digits, one bit each; none set: any status will do. */
struct expect_status {
    uint64_t bits[1000 / 64 + 1];
    bool any_given;
};

/* "200", "200,204", "2xx,304". 0 or -EINVAL with what is allowed. */
NODISCARD int expect_status_parse(const char *text, struct expect_status *ret, struct error *err);

static inline bool expect_status_has(const struct expect_status *e, unsigned status) {
    return !e->any_given ||
           (status < 1000 && (e->bits[status / 64] >> (status % 64) & UINT64_C(1)) != 0);
}

/* Looks for one text in bodies that come in pieces (Knuth, Morris and Pratt): a body's search needs
 * one number between its pieces, and never looks back. */
struct expect_body {
    struct slice text;   /* empty: any body will do */
    uint32_t *fallbacks; /* length that still matches after a mismatch, per matched length */
};

/* `text` must outlive it; NULL: any. 0 or -ENOMEM. */
NODISCARD int expect_body_init(struct expect_body *e, const char *text);
void expect_body_free(struct expect_body *e);

/* `matched` is 0 before the first piece; returns it for the next one. */
uint32_t expect_body_feed(const struct expect_body *e, uint32_t matched, struct slice piece);

static inline bool expect_body_found(const struct expect_body *e, uint32_t matched) {
    return matched >= e->text.len;
}

#endif
