/* SPDX-License-Identifier: MIT */
/* Collects a body in an arena. */
#include "server/upstream/gather.h"
#include "server/limits.h"
#include <assert.h>
#include <errno.h>

/* Twice for the last step, as much for all before it, and the answer that the handler makes. */
static_assert(SERVER_ARENA_BYTES_MAX > 5 * SERVER_UPSTREAM_BODY_BYTES_MAX,
              "a body within its limit must not run out of memory");

static int grow(struct gather *g, struct arena *arena, size_t want, uint64_t expected) {
    size_t cap = g->cap * 2;
    char *grown;

    if (cap < want)
        cap =
            expected > want && expected <= SERVER_UPSTREAM_BODY_BYTES_MAX ? (size_t)expected : want;
    grown = arena_alloc(arena, cap);
    if (grown == NULL)
        return -ENOMEM;
    if (g->len > 0)
        memcpy(grown, g->data, g->len);
    g->data = grown;
    g->cap = cap;
    return 0;
}

int gather_add(struct gather *g, struct arena *arena, struct slice piece, uint64_t expected) {
    size_t want = g->len + piece.len;
    int rc = 0;

    if (want > SERVER_UPSTREAM_BODY_BYTES_MAX)
        return -EMSGSIZE;
    if (want > g->cap)
        rc = grow(g, arena, want, expected);
    if (rc < 0 || piece.len == 0)
        return rc;
    memcpy(g->data + g->len, piece.ptr, piece.len);
    g->len = want;
    return 0;
}
