/* SPDX-License-Identifier: MIT */
/* Lingering close: a connection that has its last answer is shut for sending, and what its client
 * still sends is read and thrown away, until the client closes its side or a limit is reached.
 * Closing at once would make the kernel reset the connection and drop what the client has not taken
 * of the answer yet (RFC 9112 section 9.6).
 *
 * A loop embeds a struct linger in its connection and calls linger_read when the watch says that
 * the socket is readable; a thread calls linger_wait once. Whoever lingers closes the descriptor
 * afterwards, at the latest LINGER_NSEC after linger_begin. */
#ifndef NET_LINGER_H
#define NET_LINGER_H

#include "net/watch.h"

enum {
    LINGER_BYTES_MAX = 268435456, /* read of one connection */
    LINGER_BURST = 64,            /* reads of it in one turn of a loop */
};

/* The longest span of a lingering close. */
#define LINGER_NSEC (2 * NSEC_PER_SEC)

enum linger_step {
    LINGER_DRY,   /* nothing is left to be read: wait until the socket is readable */
    LINGER_TIRED, /* more may be there, but others are to have their turn first */
    LINGER_OVER,  /* the end, an error, or LINGER_BYTES_MAX: close */
};

struct linger_state {
    uint32_t bytes; /* thrown away so far */
};

/* Begins with a connected socket, to which all has been sent: shutdown(2). False when the
 * connection is broken: close it at once. */
NODISCARD bool linger_begin(struct linger_state *l, int fd);

/* Throws away what has come, at most LINGER_BURST reads: of a watched socket, and of one that is
 * watched by other means. */
NODISCARD enum linger_step linger_read(struct linger_state *l, struct watch *w);
NODISCARD enum linger_step linger_read_fd(struct linger_state *l, int fd);

/* Begins, and throws away until the end. `read` waits for bytes, until the caller's deadline: the
 * count, 0 at the end, or -errno. */
void linger_wait(int fd, ssize_t (*read)(void *arg, void *data, size_t size), void *arg);

#endif
