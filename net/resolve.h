/* SPDX-License-Identifier: MIT */
/* Name look-up that blocks no loop: getaddrinfo(3) on a short-lived helper thread, waited for
 * through `io`. */
#ifndef NET_RESOLVE_H
#define NET_RESOLVE_H

#include "net/io.h"

#define RESOLVE_MAX 8

struct resolved {
    struct address addresses[RESOLVE_MAX];
    size_t count;
};

/* All addresses of the endpoint, in getaddrinfo's order; numeric ones and unix paths need no
 * thread. 0; -ETIMEDOUT, -ECANCELED; -ENOENT with getaddrinfo's words in `err`; -ENAMETOOLONG;
 * -ENOMEM, -EAGAIN (no thread). A thread that outlives its caller cleans up after itself. */
NODISCARD int resolve(struct io *io, const struct endpoint *e, nsec_t deadline,
                      struct resolved *ret, struct error *err);

#endif
