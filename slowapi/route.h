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
    unsigned methods;  /* 1 << enum http_method */
    bool is_own;       /* takes --delay when nothing is said */

    /* Fills in reply->body (and more), after all parameters. 0, -EINVAL with the line to answer,
     * -ENOENT (the argument is none that there is), or -ENOMEM. NULL: the plain text. */
    int (*prepare)(struct reply *reply, const struct spec *spec, const struct slow_request *request,
                   struct error *why);
    /* The parameter that the argument is; empty: none. */
    struct slice param;
    const char *help;
    struct slice takes;   /* words: parameters that only some paths know */
    bool wants_body;      /* the answer is made of the request's body */
    bool shapes_refusals; /* a full queue is told in the path's own form */
    bool is_quiet;        /* told in the docs by another row */
    bool takes_any;       /* tells the arguments back, whatever they are called */
};

/* NULL when there is none; *ret_rest is the argument. */
const struct route *route_find(struct slice path, struct slice *ret_rest);

bool route_takes(const struct route *route, enum http_method method);

#define ROUTE_ALLOW_BYTES 80

/* "GET, HEAD": the methods that it takes. Returns `text`. */
const char *route_allow(const struct route *route, char text[static ROUTE_ALLOW_BYTES]);

/* The following add header lines, and return 0 or -ENOMEM. */

/* Tells Allow, instead of what a status asks for. */
NODISCARD int route_tell_allow(const struct route *route, struct reply *reply);

/* Lets pages of any origin read the answer (the Fetch standard, section 3.2). */
NODISCARD int route_allow_origin(const struct slow_request *request, struct reply *reply);

/* The answer to OPTIONS, which a browser asks before it asks what it wants. */
NODISCARD int route_preflight(const struct route *route, const struct slow_request *request,
                              struct reply *reply);

/* One line "path|SHOWN||HELP" per row. */
void route_print_rows(FILE *out);

#endif
