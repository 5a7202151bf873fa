/* SPDX-License-Identifier: MIT */
/* From a request head to what is going to happen to it: when it is answered, and how. */
#ifndef SLOWAPI_PLAN_H
#define SLOWAPI_PLAN_H

#include "http/head.h"
#include "slowapi/config.h"
#include "slowapi/reply.h"
#include "slowapi/rule.h"

/* Things that the plans of one worker have in common. */
struct planner {
    const struct slowapi_config *config;
    struct shared *shared;
    nsec_t delay_max; /* longest exchange; NSEC_NEVER: any */
    struct slow_stats stats;
    struct rules *rules;
    uint32_t rules_generation;
    struct spec defaults[LISTENERS_MAX]; /* by listening address */
    struct spec spec;                    /* room for the plan that is made */
    bool is_plain[LISTENERS_MAX];        /* nothing but a fixed delay */
    struct arena memory;                 /* of lists in `defaults` */
    int files;                           /* the folder of --files, or -1 */
    uint64_t kept_bytes;                 /* bytes that kept requests and their answers hold */
};

/* 0, or -EINVAL with a reason: a default that is none. `worker` is its index. */
NODISCARD int planner_init(struct planner *p, const struct slowapi_config *config,
                           struct shared *shared, unsigned worker, struct error *err);
void planner_free(struct planner *p);

struct plan_origin {
    uint64_t client; /* a hash of its address */
    unsigned bind;
    int fd;         /* the socket, or -1 */
    bool is_reused; /* not the first request of its connection */
};

/* Frees the reply of a plan, and the request that it keeps; NULL-safe. */
void plan_free(struct planner *p, struct reply *reply);

struct slow_plan {
    nsec_t delay;        /* from the end of the request to the answer */
    struct reply *reply; /* owned; NULL: the plain answer, 200 */
};

/* A bad request is a plan too, without delay. 0 or -ENOMEM. */
NODISCARD int plan_make(struct planner *p, const struct http_head *head,
                        const struct plan_origin *origin, struct slow_plan *ret);

/* Makes the rest of a plan whose reply keeps its request: what has come of it is all that comes, or
 * all that can be known of it. The reply keeps the request on when it goes on to a service. 0 or
 * -ENOMEM. */
NODISCARD int plan_finish(struct planner *p, struct reply *reply, nsec_t *delay);

#endif
