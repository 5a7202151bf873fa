/* SPDX-License-Identifier: MIT */
/* Who closes an answered connection first: what is known of the server, and one connection that is
 * watched apart from its client, which goes on: waiting for the server would cost a short run its
 * rate. */
#ifndef LOADGEN_PARTING_H
#define LOADGEN_PARTING_H

#include "net/timeouts.h"
#include "net/watch.h"

struct parting {
    struct watch watch;
    struct timeout timeout;
    struct timeouts *timeouts; /* the queue that it joins */
    bool is_open;
    bool server_closes;  /* the server has closed a connection that it should */
    bool server_lingers; /* the server has not; nobody waits for it again */
};

/* Watches a descriptor whose client has left it; closes it, if another one is watched. */
void parting_take(struct parting *p, struct loop *loop, int fd, nsec_t now);
void parting_close(struct parting *p);

/* Reads on where no answer is expected any more; true once the server has closed. */
bool parting_is_over(struct parting *p, struct watch *watch);

#endif
