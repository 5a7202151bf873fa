/* SPDX-License-Identifier: MIT */
/* The memory of the users of a worker's connections from one answer to the next: cookies, and the
 * place that a redirect leads to. A user's request is the one of the options, with the cookies of
 * the user in it, or a redirect's. */
#ifndef LOADGEN_USERS_H
#define LOADGEN_USERS_H

#include "http/head.h"
#include "loadgen/answers.h"
#include "loadgen/request.h"

struct users;

/* NULL when out of memory. `base` and `target` stay. */
NODISCARD struct users *users_new(const struct loadgen_config *c, const struct target *target,
                                  const struct request *base, size_t count);
void users_free(struct users *u);

/* The user's next request, the first of its hops. NULL when out of memory. */
NODISCARD const struct request *users_begin(struct users *u, size_t user, nsec_t now);

/* The head of an answer. */
void users_head(struct users *u, size_t user, const struct http_head *head,
                struct answers_users *counts);

enum users_redirect {
    USERS_STAY, /* the answer is no redirect, or none to be followed */
    USERS_HOP,
    USERS_TOO_MANY, /* more hops than --follow allows */
};

/* Whether the answer leads on, and then the request of the next hop. Its method is GET after 303,
 * and after 301 and 302 of a POST, as with curl. Redirects to another origin are counted, and not
 * followed. */
enum users_redirect users_redirect(struct users *u, size_t user, uint16_t status,
                                   struct answers_users *counts, const struct request **ret);

/* The time that the hop has taken that ends now; the next one begins. */
nsec_t users_hop(struct users *u, size_t user, nsec_t now);

#endif
