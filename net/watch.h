/* SPDX-License-Identifier: MIT */
/* A descriptor registered once, edge-triggered, with sticky readiness: no epoll_ctl per request.
 *
 * READ and WRITE stay set until a call proves otherwise (EAGAIN, or a short read or write). HANGUP
 * (the peer closed its side or the connection broke) stays set for good, and keeps READ set so that
 * the end is read; it is told once more when the connection breaks after the peer closed its side.
 * READ and WRITE start set: the first call is tried. For a connect(2) in progress say
 * `w->ready = 0` after watch_open; the first event tells WRITE, or the error.
 *
 *   notify:  while (n = watch_recv(w, ...), n > 0) use the bytes;
 *            n == -EAGAIN: return, notify comes again; else the end or an error.
 *
 * One watch_recv per notify will do as well if it had room for more than it got.
 */
#ifndef NET_WATCH_H
#define NET_WATCH_H

#include "base/buf.h"
#include "net/loop.h"
#include "net/socket.h"
#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/types.h>

struct tls;

struct watch {
    struct event event;
    struct loop *loop;
    struct tls *tls;                               /* the layer that bytes go through; NULL: none */
    void (*notify)(struct watch *, unsigned what); /* `what`: the bits that just became ready */
    int fd;
    unsigned ready; /* IO_* bits, and private ones above them */
};

/* Registers `fd` (non-blocking). The watch does not own it. 0 or -errno (-ENOMEM, -EPERM for files,
 * -ENOSPC). */
NODISCARD int watch_open(struct watch *w, struct loop *loop, int fd,
                         void (*notify)(struct watch *, unsigned));

/* Unregisters; notify is not called again. Close the descriptor afterwards; free the memory through
 * loop_defer when this may run inside notify. */
void watch_close(struct watch *w);

/* From now on watch_recv and watch_send are about what is within TLS: READ stays set while bytes
 * that came before are to be read, and a receive that waits for the socket to take bytes is told
 * READ then. Steps of handshakes are heavy work (net/loop.h): one that has to wait says -EAGAIN,
 * and notify comes. `tls` is the caller's, outlives this, and belongs to no other watch or io. NULL
 * ends it, as watch_close does; what is received and sent then is the bare bytes, as a lingering
 * close wants (net/linger.h). */
void watch_secure(struct watch *w, struct tls *tls);

/* Goes on with the handshake, which receiving and sending do, too: 0 when it is complete, -EAGAIN,
 * or -errno (net/tls.h). */
NODISCARD int watch_handshake(struct watch *w);

/* Whether there is anything to receive within TLS: 1, 0 at the end, -EAGAIN, or -errno. Takes in
 * what is no news, like tickets. */
NODISCARD int watch_peek(struct watch *w);

/* Looks as watch_peek, and shows bytes that are next, as tls_peek_at. */
ssize_t watch_peek_at(struct watch *w, void *data, size_t size);

/* A call outside this file said EAGAIN: not ready for `what` until the next event. */
void watch_drained(struct watch *w, unsigned what);

/* May the last event have been an error? Only the kernel knows. */
bool watch_may_be_broken(const struct watch *w);

/* False when everything that was announced has been read. */
bool watch_may_have_data(const struct watch *w);

/* recv(2) and send(2, MSG_NOSIGNAL) on a socket, which keep `ready` true to the facts. -EAGAIN at
 * once, without a system call, when not ready. Bytes, 0 at end of file (recv; `size` is at least
 * 1), or -errno. EINTR is retried. */
ssize_t watch_recv(struct watch *w, void *data, size_t size);
ssize_t watch_send(struct watch *w, const void *data, size_t size);

/* Sends as watch_send, and ends the connection with the last of the bytes: socket_send_last. Within
 * TLS the end still comes by itself. */
ssize_t watch_send_last(struct watch *w, const void *data, size_t size);

/* Receives for a reader that keeps only what is unfinished, by buf_keep: behind that, with at least
 * `room` bytes, or, when `kept` is empty, into `shared`. As watch_recv, or -ENOBUFS or -ENOMEM;
 * `*ret` is all that is unread then. */
static inline ssize_t watch_recv_behind(struct watch *w, struct buf *kept, size_t room,
                                        char *shared, size_t shared_size, struct slice *ret) {
    ssize_t n;

    if (buf_unread(kept).len == 0) {
        n = watch_recv(w, shared, shared_size);
        *ret = slice_of(shared, n > 0 ? (size_t)n : 0);
        return n;
    }

    int rc = buf_reserve(kept, room);
    if (rc < 0)
        return rc;
    n = watch_recv(w, buf_tail(kept), buf_room(kept));
    if (n > 0)
        buf_added(kept, (size_t)n);
    *ret = buf_unread(kept);
    return n;
}

/* The socket has taken bytes in a send that did not go through this watch: spares the call that
 * would find out whether it is alive. */
void watch_proven(struct watch *w);

#endif
