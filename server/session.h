/* SPDX-License-Identifier: MIT */
/* One client connection's requests, whatever waits for it: read, route, handle, write.
 *
 * An event-driven front calls session_feed as bytes come in; a thread calls session_read. Both then
 * call session_serve with the `io` of their model, and read on when that says SESSION_KEEP. */
#ifndef SERVER_SESSION_H
#define SERVER_SESSION_H

#include "base/arena.h"
#include "http/conn.h"
#include "net/io.h"
#include "server/worker.h"

enum session_step {
    SESSION_MORE,    /* not complete: read more */
    SESSION_READY,   /* one whole request, body included, is there */
    SESSION_CLOSED,  /* the client left between requests */
    SESSION_REFUSED, /* an error answer stands in `out`: write it, linger, close */
};

enum session_end {
    SESSION_KEEP,   /* answered; the next request may come */
    SESSION_CLOSE,  /* answered or not: close */
    SESSION_LINGER, /* answered, but unread bytes are left: let the client read the answer, then
                       close */
};

struct session {
    const struct worker *worker;
    struct http_conn http;
    struct http_head head; /* of the current request; points into `in` or `arena` */
    struct buf in; /* received: the head in use (`head_used` bytes), then what is not parsed yet */
    struct buf body; /* decoded body of the current request */
    struct buf out;  /* encoded answer */
    struct arena arena;
    size_t head_used;
    nsec_t ready_at; /* when the current request was complete */
    uint32_t served;
    int fd;
    bool eof;  /* the client closed its sending side */
    bool last; /* the next answer says Connection: close */
};

/* `fd` is not owned. */
void session_init(struct session *s, const struct worker *worker, int fd);
void session_free(struct session *s);

/* Room for the next read into `in`. 0 or -errno as buf_reserve. */
NODISCARD int session_reserve(struct session *s);

/* Looks at what is in `in` and `eof`. Who sees READY notes the time in `ready_at`. Answers Expect:
 * 100-continue itself. */
NODISCARD enum session_step session_feed(struct session *s);

/* Has a part of a request arrived? False while the connection is merely kept alive. */
bool session_began(const struct session *s);

/* Is it reading a body, rather than a head? */
bool session_in_body(const struct session *s);

/* Straight-line reading until feed says anything but MORE. Time-outs: keep-alive (a first byte is
 * awaited), header, body. */
NODISCARD enum session_step session_read(struct session *s, struct io *io);

/* When the current request must be answered, counted from `ready_at`; NSEC_NEVER without a limit.
 */
nsec_t session_deadline(const struct session *s);

/* Runs the application on the request that is READY and writes the answer. */
NODISCARD enum session_end session_serve(struct session *s, struct io *io);

/* Puts an error answer into `out`, Connection: close. Never fails loudly: without memory `out`
 * stays empty. */
void session_refuse(struct session *s, uint16_t status, const char *why);

/* Writes `out`, straight-line. SESSION_LINGER, or SESSION_CLOSE when the client does not take it.
 */
NODISCARD enum session_end session_write_refusal(struct session *s, struct io *io);

/* Gives back every buffer: what a connection owns while it is merely kept alive is nothing but
 * itself. */
void session_idle(struct session *s);

/* Lets the client read the answer before the connection goes: shutdown(2), then reads and drops,
 * bounded in bytes and time (RFC 9112 section 9.6). */
void session_linger(struct session *s, struct io *io);

#endif
