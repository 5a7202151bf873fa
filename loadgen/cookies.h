/* SPDX-License-Identifier: MIT */
/* The cookies of one user of one host (RFC 6265): taken from Set-Cookie, sent where they belong.
 * Bounded: 64 cookies of at most 4 KiB each; of more the oldest go (section 6.1). */
#ifndef LOADGEN_COOKIES_H
#define LOADGEN_COOKIES_H

#include "base/buf.h"
#include <stdint.h>

#define COOKIES_MAX      64
#define COOKIE_BYTES_MAX 4096 /* name, `=` and value; a path */

struct cookie {
    char *text; /* "name=value", a NUL, the path */
    size_t len, name_len;
    int64_t expires; /* seconds since 1970; INT64_MAX: with the session */
    bool is_secure;
};

/* All zero: empty. Older ones first. */
struct cookies {
    struct cookie items[COOKIES_MAX];
    size_t count;
};

/* The place that is asked: the host, the path without a query, and whether by https. */
struct cookie_place {
    struct slice host, path;
    bool is_tls;
};

/* Takes the value of a Set-Cookie. 1 when it was kept, or has deleted one; 0 when it is for others
 * or too long (section 5.3); -ENOMEM. */
NODISCARD int cookies_take(struct cookies *k, struct slice value, struct cookie_place place,
                           int64_t now);

/* Appends "a=b; c=d" for a place, longer paths first (section 5.4), and forgets what has expired.
 * `*ret_count` is how many. 0 or as buf_append. */
NODISCARD int cookies_append(struct cookies *k, struct cookie_place place, int64_t now,
                             struct buf *out, size_t *ret_count);

void cookies_free(struct cookies *k);

#endif
