/* SPDX-License-Identifier: MIT */
/* The paths that exist: our own, and those of httpbin and go-httpbin that fit a slow API. */
#ifndef SLOWAPI_ROUTE_H
#define SLOWAPI_ROUTE_H

#include "base/error.h"
#include "http/head.h"
#include "slowapi/reply.h"
#include "slowapi/request.h"
#include <stdio.h>

struct route {
    struct slice path; /* with a `/` at the end the rest of the path is an argument */
    const char *shown; /* in the docs */
    bool any_method;   /* any; false: GET, HEAD, POST and PUT */
    bool is_own;       /* takes --delay when nothing is said */

    /* Fills in reply->body (and more), after all parameters. 0, -EINVAL with the line to answer,
     * -ENOENT (the argument is none that there is), or -ENOMEM. NULL: the plain text. */
    int (*prepare)(struct reply *reply, const struct spec *spec, const struct slow_request *request,
                   struct error *why);
    /* The parameter that the argument is; empty: none. */
    struct slice param;
    const char *help;
    struct slice takes; /* words: parameters that only some paths know */
    bool wants_body;    /* the answer is made of the request's body */
    bool takes_any;     /* tells the arguments back, whatever they are called */
};

/* NULL when there is none; *ret_rest is the argument. */
const struct route *route_find(struct slice path, struct slice *ret_rest);

/* One line "path|SHOWN||HELP" per row. */
void route_print_rows(FILE *out);

#endif
