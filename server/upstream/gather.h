/* SPDX-License-Identifier: MIT */
/* A body that arrives in pieces and ends up in one piece, in the request's arena. */
#ifndef SERVER_GATHER_H
#define SERVER_GATHER_H

#include "base/arena.h"

/* Zero it before the first use. The memory is the arena's. */
struct gather {
    char *data;
    size_t len, cap;
};

/* Appends a piece. `expected` is the size of the whole when it was announced, else 0: a hint. Grows
 * by doubling; what is outgrown stays in the arena until the request ends. 0, -ENOMEM, or -EMSGSIZE
 * above SERVER_UPSTREAM_BODY_BYTES_MAX. */
NODISCARD int gather_add(struct gather *g, struct arena *arena, struct slice piece,
                         uint64_t expected);

/* Never NULL, nothing included: it goes to memcpy. */
static inline struct slice gather_slice(const struct gather *g) {
    return g->len > 0 ? slice_of(g->data, g->len) : SLICE("");
}

#endif
