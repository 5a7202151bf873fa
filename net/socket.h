/* SPDX-License-Identifier: MIT */
/* Non-blocking socket calls whose errors are values: -errno, EINTR retried, SIGPIPE never raised.
 */
#ifndef NET_SOCKET_H
#define NET_SOCKET_H

#include "net/address.h"
#include <poll.h>
#include <sys/types.h>

/* Readiness of a descriptor: to wait for, or known. */
enum { IO_READ = 1, IO_WRITE = 2, IO_HANGUP = 4 };

/* Events for poll(2). */
static inline short io_poll_events(unsigned what) {
    return (short)((what & IO_READ ? POLLIN : 0) | (what & IO_WRITE ? POLLOUT : 0) |
                   (what & IO_HANGUP ? POLLRDHUP : 0));
}

/* recv(2): bytes, 0 at end of file (`size` is at least 1), or -errno. */
NODISCARD ssize_t socket_recv(int fd, void *data, size_t size);

/* Receives as socket_recv, but what was received stays. */
NODISCARD ssize_t socket_peek(int fd, void *data, size_t size);

/* send(2): bytes, maybe fewer than asked for, or -errno. */
NODISCARD ssize_t socket_send(int fd, const void *data, size_t size);

/* Sends as socket_send, and shuts the connection for sending when all was taken: the last bytes and
 * the end go out in one packet, which wakes the peer once (MSG_MORE in send(2)). Of a part that was
 * taken some bytes may wait, for 200 ms at most, for the rest. */
NODISCARD ssize_t socket_send_last(int fd, const void *data, size_t size);

/* Begins a connect(2) on a new non-blocking, close-on-exec socket, TCP with TCP_NODELAY. The
 * descriptor, with *ret_pending when the connection is not there yet: wait until it is writable,
 * then ask socket_error. Or -errno; -EAGAIN: the backlog of a unix listener is full, try again
 * later. */
NODISCARD int socket_connect(const struct address *to, bool *ret_pending);

/* Connects as socket_connect, from an IP address of this host (port 0); NULL leaves it to the
 * kernel. */
NODISCARD int socket_connect_from(const struct address *to, const struct address *from,
                                  bool *ret_pending);

/* Raises the soft limit of descriptors to the hard one, for each connection costs one; *ret_limit
 * is how many there may be. 0 or -errno. setrlimit(2). */
NODISCARD int socket_raise_limit(uint64_t *ret_limit);

/* Has connections of a listening TCP socket wait for their first bytes before they can be accepted,
 * for a second at most. 0 or -errno. TCP_DEFER_ACCEPT, tcp(7). */
int socket_defer_accept(int fd, bool defers);

/* Whether they do; false of a socket that is not TCP. */
NODISCARD bool socket_defers_accept(int fd);

/* Whether it takes bytes, a third of its buffer at least. poll(2). */
NODISCARD bool socket_has_room(int fd);

/* The outcome of a connect in the background: SO_ERROR, socket(7). 0 or -errno. */
NODISCARD int socket_error(int fd);

/* Bytes in the kernel that the other side has not acknowledged, 0 when that is not known. SIOCOUTQ,
 * tcp(7), unix(7). */
uint32_t socket_unacknowledged(int fd);

/* Bytes in the kernel that were not sent yet, as of a client that is slow to take them; as above.
 * SIOCOUTQNSD. A unix socket has none. */
uint32_t socket_unsent(int fd);

/* Whether nothing can be sent any more: a connection that was reset, or a unix socket whose other
 * side is closed. A FIN is neither. poll(2). */
bool socket_is_dead(int fd);

#endif
