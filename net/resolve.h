/* SPDX-License-Identifier: MIT */
/* Name look-up that blocks no loop: getaddrinfo(3) on a short-lived helper thread, waited for
 * through `io`. */
#ifndef NET_RESOLVE_H
#define NET_RESOLVE_H

#include "net/io.h"

#define RESOLVE_MAX   8
#define RESOLVE_PAUSE (5 * NSEC_PER_MSEC)

struct resolved {
    struct address addresses[RESOLVE_MAX];
    size_t count;
};

/* All addresses of the endpoint, in getaddrinfo's order; numeric ones and unix paths need no
 * thread. 0; -ETIMEDOUT, -ECANCELED; -ENOENT with getaddrinfo's words in `err`; -ENAMETOOLONG;
 * -ENOMEM, -EMFILE, -EAGAIN (no thread). A thread that outlives its caller cleans up after itself.
 */
NODISCARD int resolve(struct io *io, const struct endpoint *e, nsec_t deadline,
                      struct resolved *ret, struct error *err);

/* The same in steps, for callbacks: begin; once resolve_fd is readable, resolve_end; resolve_free
 * in any case. */
struct lookup;

/* 0 with the look-up; -EBUSY: as many as there may be are in progress, try again after
 * RESOLVE_PAUSE; -ENAMETOOLONG; -ENOMEM, -EMFILE, -EAGAIN (no thread). */
NODISCARD int resolve_begin(const struct endpoint *e, struct lookup **ret, struct error *err);
int resolve_fd(const struct lookup *l); /* an eventfd, thus writable at any time */
/* As resolve. */
NODISCARD int resolve_end(const struct lookup *l, struct resolved *ret, struct error *err);
void resolve_free(struct lookup *l); /* it may still run: then it cleans up after itself */

#endif
