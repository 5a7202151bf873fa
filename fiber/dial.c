/* SPDX-License-Identifier: MIT */
/* Looks up, connects, and tries the next address when one does not answer. */
#include "fiber/dial.h"
#include "base/alloc.h"
#include <errno.h>
#include <unistd.h>

static void try_next(struct dialler *d, int rc);

/* Whatever is in progress ends. */
static void leave(struct dialler *d) {
    timer_cancel(d->loop, &d->timer);
    if (d->lookup != NULL) {
        watch_close(&d->watch);
        resolve_free(d->lookup);
        d->lookup = NULL;
    } else if (d->watch.fd >= 0) {
        watch_close(&d->watch);
        close(d->watch.fd);
    }
    d->watch.fd = -1;
    mem_free(d->addresses);
    d->addresses = NULL;
}

static void end(struct dialler *d, int rc) {
    leave(d);
    if (rc < 0 && d->why.text[0] == '\0')
        error_set(&d->why, rc, "%s", strerrordesc_np(-rc));
    d->done(d, rc);
}

static void on_late(struct timer *timer) {
    end(CONTAINER_OF(timer, struct dialler, timer), -ETIMEDOUT);
}

static void on_connected(struct watch *watch, unsigned what UNUSED) {
    struct dialler *d = CONTAINER_OF(watch, struct dialler, watch);
    int fd = d->watch.fd, rc = socket_error(fd);

    watch_close(&d->watch);
    d->watch.fd = -1;
    if (rc == 0) {
        end(d, fd);
        return;
    }
    close(fd);
    try_next(d, rc);
}

/* Tries the addresses that are left; `rc` is why the one before failed. */
static void try_next(struct dialler *d, int rc) {
    while (d->next < d->count) {
        bool pending = false;
        int fd = socket_connect(&d->addresses[d->next++], &pending);
        if (fd >= 0 && !pending) {
            end(d, fd);
            return;
        }
        rc = fd < 0 ? fd : watch_open(&d->watch, d->loop, fd, on_connected);
        if (rc == 0) {
            d->watch.ready = 0;
            return;
        }
        d->watch.fd = -1;
        if (fd >= 0)
            close(fd);
    }
    end(d, rc);
}

static int keep(struct dialler *d, const struct address *addresses, size_t count) {
    d->addresses = mem_alloc(count * sizeof(*addresses));
    if (d->addresses == NULL)
        return -ENOMEM;
    memcpy(d->addresses, addresses, count * sizeof(*addresses));
    d->count = count;
    return 0;
}

static void on_looked_up(struct watch *watch, unsigned what) {
    struct dialler *d = CONTAINER_OF(watch, struct dialler, watch);

    if (!(what & IO_READ))
        return;
    struct resolved *found = mem_alloc(sizeof(*found)); /* too large for a frame */
    int rc = found != NULL ? resolve_end(d->lookup, found, &d->why) : -ENOMEM;
    if (rc == 0)
        rc = keep(d, found->addresses, found->count);
    mem_free(found);
    watch_close(&d->watch);
    d->watch.fd = -1;
    resolve_free(d->lookup);
    d->lookup = NULL;
    if (rc < 0)
        end(d, rc);
    else
        try_next(d, -ENOENT);
}

static int look_up(struct dialler *d) {
    int rc = resolve_begin(d->to, &d->lookup, &d->why);

    if (rc < 0)
        return rc;
    rc = watch_open(&d->watch, d->loop, resolve_fd(d->lookup), on_looked_up);
    if (rc == 0) {
        d->watch.ready = IO_WRITE; /* an eventfd is writable at any time */
        return 0;
    }
    resolve_free(d->lookup);
    d->lookup = NULL;
    d->watch.fd = -1;
    return rc;
}

void dial_begin(struct dialler *d, struct loop *loop, const struct endpoint *to, nsec_t deadline) {
    struct address address;

    *d = (struct dialler){
        .done = d->done, .loop = loop, .to = to, .watch.fd = -1, .timer.fire = on_late
    };
    int rc = timer_set(loop, &d->timer, deadline);
    bool numeric = address_of_endpoint(to, false, &address) == 0;
    if (rc == 0)
        rc = numeric ? keep(d, &address, 1) : look_up(d);
    if (rc < 0)
        end(d, rc);
    else if (numeric)
        try_next(d, -ENOENT);
}

void dial_cancel(struct dialler *d) {
    if (d->loop != NULL)
        leave(d);
}
