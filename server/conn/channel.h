/* SPDX-License-Identifier: MIT */
/* The bytes of a client's connection, within TLS or bare: who reads and writes requests does not
 * care. Between two requests the bytes are the loop's, through its watch; while a request is served
 * they are those of its model, on whichever thread, and the watch sees the bare socket. */
#ifndef SERVER_CHANNEL_H
#define SERVER_CHANNEL_H

#include "base/slice.h"
#include "net/tls.h"
#include "net/watch.h"
#include "server/observe/stats.h"

struct channel {
    struct tls *tls; /* owned; NULL: bare */
    int fd;
    bool counted;      /* the handshake is, as one that ended well or not */
    bool begins_later; /* something comes before TLS, and no watch has the bytes until then */
    bool cut; /* the client got a part of an answer: the end must not look like a good one */
};

static inline struct channel channel_bare(int fd) {
    return (struct channel){ .fd = fd, .counted = true };
}

/* Within TLS. `begins_later`: so are bytes until that is changed. 0 or -ENOMEM;
 * channel_close in both cases. */
NODISCARD int channel_open(struct channel *s, int fd, struct tls_context *context,
                           bool begins_later);

/* One try, as recv(2) and send(2): bytes, 0 at the end, or -errno. After -EAGAIN channel_awaits
 * tells which IO_* bits of the socket to wait for before the next try to do `what`; 0: none. From
 * one thread at a time. */
NODISCARD ssize_t channel_recv(struct channel *s, void *data, size_t size);
NODISCARD ssize_t channel_send(struct channel *s, const void *data, size_t size);
unsigned channel_awaits(const struct channel *s, unsigned what);

/* Sends what nobody would send later, an interim answer or a part of a chunk: all of it, as
 * channel_send, or nothing. */
NODISCARD ssize_t channel_send_now(struct channel *s, struct slice text);

/* The bytes are the watch's from now on, and whose it is; or the watch's no more. */
void channel_lend(struct channel *s, struct watch *watch);
void channel_take_back(struct channel *s, struct watch *watch);

/* The subject of the client's certificate; "" without one. Returns `text`. */
const char *channel_subject(const struct channel *s, char text[TLS_SUBJECT_BYTES]);

/* Counts how the handshake ended, once it has. */
void channel_count(struct channel *s, struct stats *stats);

/* The client spoke HTTP where TLS was expected: bytes are bare from now on. False: it did not. */
NODISCARD bool channel_is_bare_http(struct channel *s);

/* Says to the client that no more will come, unless what came is cut; then the bytes are bare, as a
 * lingering close wants. `watch` has them, or NULL. A handshake that has not ended counts as a
 * failure. Again: does nothing. */
void channel_close(struct channel *s, struct watch *watch, struct stats *stats);

#endif
