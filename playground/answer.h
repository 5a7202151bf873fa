/* SPDX-License-Identifier: MIT */
/* Whether a server that was just started really serves. */
#ifndef PLAYGROUND_ANSWER_H
#define PLAYGROUND_ANSWER_H

#include "base/clock.h"
#include "base/error.h"
#include "net/address.h"

/* The address of http://HOST:PORT/ with a numeric host. 0 or -errno. */
NODISCARD int answer_address(const char *url, struct address *ret);

/* Sends one `GET URL?delay=0` and waits for an answer with the status `wanted`. `url` is
 * http://HOST:PORT/ with a numeric host; `cancel_fd` becoming readable ends the wait. 0,
 * -ECANCELED, or another -errno with a line. */
NODISCARD int answer_expect(const char *url, int wanted, int cancel_fd, nsec_t deadline,
                            struct error *err);

#endif
