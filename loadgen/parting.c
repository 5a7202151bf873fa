/* SPDX-License-Identifier: MIT */
/* Learns from one connection whether the server closes what it should. */
#include "loadgen/parting.h"
#include <errno.h>
#include <unistd.h>

enum { SCRATCH_BYTES = 2048 };

bool parting_is_over(struct parting *p, struct watch *watch) {
    char scratch[SCRATCH_BYTES];
    ssize_t n;
    do
        n = watch_recv(watch, scratch, sizeof(scratch));
    while (n > 0); /* TLS has a last word */
    if (n == -EAGAIN)
        return false;
    p->server_closes = true;
    return true;
}

void parting_close(struct parting *p) {
    if (!p->is_open)
        return;
    p->is_open = false;
    timeouts_leave(&p->timeout);
    watch_close(&p->watch);
    close(p->watch.fd);
}

static void on_ready(struct watch *watch, unsigned what) {
    struct parting *p = CONTAINER_OF(watch, struct parting, watch);
    (void)what;
    if (parting_is_over(p, watch))
        parting_close(p);
}

void parting_take(struct parting *p, struct loop *loop, int fd, nsec_t now) {
    if (p->is_open || watch_open(&p->watch, loop, fd, on_ready) != 0) {
        close(fd);
        return;
    }
    p->is_open = true;
    if (timeouts_join(p->timeouts, &p->timeout, now) != 0)
        parting_close(p);
}
