/* SPDX-License-Identifier: MIT */
/* From a request head to what is going to happen to it: when it is answered, and how. */
#ifndef SLOWAPI_PLAN_H
#define SLOWAPI_PLAN_H

#include "http/head.h"
#include "slowapi/config.h"

struct plan {
    nsec_t delay;    /* from the end of the request to the answer */
    uint16_t status; /* 200, or why the request is refused */
};

/* Never fails: a bad request is a plan too, without delay, and then `why` holds the line to answer.
 */
struct plan plan_make(const struct http_head *head, const struct slowapi_config *config,
                      struct error *why);

/* The value of Allow in a 405. */
extern const struct slice plan_allow;

#endif
