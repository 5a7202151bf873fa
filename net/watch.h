/* SPDX-License-Identifier: MIT */
/* A descriptor registered once, edge-triggered, with sticky readiness: no epoll_ctl per request.
 *
 * READ and WRITE stay set until a call proves otherwise (EAGAIN, or a short read without HANGUP); HANGUP (the peer closed its
 * side or the connection broke) stays set for good, and keeps READ set so that the end is read. Both start set: the first call is tried. */
#ifndef NET_WATCH_H
#define NET_WATCH_H

#include "net/loop.h"
#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/types.h>

enum { IO_READ = 1, IO_WRITE = 2, IO_HANGUP = 4 };

struct watch {
    struct event event;
    struct loop *loop;
    void (*notify)(struct watch *, unsigned what); /* `what`: the bits that just became ready */
    int fd;
    unsigned ready; /* IO_* bits */
};

/* Registers `fd` (non-blocking). The watch does not own it. 0 or -errno (-ENOMEM, -EPERM for files, -ENOSPC). */
NODISCARD int watch_open(struct watch *w, struct loop *loop, int fd, void (*notify)(struct watch *, unsigned));

/* Unregisters; notify is not called again. Close the descriptor afterwards; free the memory through loop_defer. */
void watch_close(struct watch *w);

/* recv(2) and send(2, MSG_NOSIGNAL) that keep `ready` true to the facts. -EAGAIN at once, without a system call, when not ready.
 * Bytes, 0 at end of file (recv), or -errno. EINTR is retried. */
ssize_t watch_recv(struct watch *w, void *data, size_t size);
ssize_t watch_send(struct watch *w, const void *data, size_t size);

#endif
