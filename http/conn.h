/* SPDX-License-Identifier: MIT */
/* One HTTP/1.x connection without its socket: bytes in, events out; both sides.
 *
 * Server:                                      Client:
 *   http_conn_init(&c, HTTP_SERVER, &limits)     http_conn_init(&c, HTTP_CLIENT, &limits)
 *   feed -> HEAD, DATA*, END                     http_conn_sent(&c, method, close): request written
 *   http_conn_answer(&c, ...) then write it      feed -> (INTERIM)* HEAD, DATA*, END
 *   http_conn_next(&c): again, or close          http_conn_next(&c): reuse, or close
 *
 *   feed:  n = http_conn_feed(&c, buf_unread(&in), eof, &head, &ev);
 *          switch (ev.kind) { ... }     head and ev.data point into the bytes that were fed:
 *          buf_consume(&in, n);         use them before consuming or reserving
 */
#ifndef HTTP_CONN_H
#define HTTP_CONN_H

#include "http/body.h"
#include "http/encode.h"

enum http_role { HTTP_SERVER, HTTP_CLIENT };

enum http_event_kind {
    HTTP_EV_MORE,    /* nothing complete: read more (`used` may still be above 0) */
    HTTP_EV_INTERIM, /* client: a 1xx response, in `head`, was skipped */
    HTTP_EV_HEAD,    /* `head` is filled in */
    HTTP_EV_DATA,    /* a piece of the body */
    HTTP_EV_END,     /* the message is complete */
    HTTP_EV_CLOSED,  /* clean end between messages (eof), or before the first byte of an answer */
    HTTP_EV_BAD,     /* `why`; a server answers http_err_status(why) and closes, a client closes */
};

struct http_event {
    enum http_event_kind kind;
    struct slice data;
    const char *why;
};

enum http_phase { HTTP_PHASE_HEAD, HTTP_PHASE_BODY, HTTP_PHASE_DONE, HTTP_PHASE_BROKEN };

struct http_conn {
    const struct http_limits *limits;
    struct http_body body;
    uint32_t scanned;      /* bytes of an incomplete head already looked at */
    uint8_t role;          /* enum http_role */
    uint8_t phase;         /* enum http_phase, of the incoming message */
    uint8_t method;        /* enum http_method of the exchange */
    uint8_t version_minor; /* minor version of the incoming message */
    uint8_t interims;      /* client: 1xx responses skipped so far */
    bool persists;         /* both sides want to keep it; false is final */
    bool asked_keep_alive; /* server: HTTP/1.0 with Connection: keep-alive */
    bool wants_continue;   /* server: the client waits for 100 before it sends the body */
    bool answered;         /* server: a final response head was encoded */
    bool unchunked;        /* server: answers come in no chunks in any version (uwsgi) */
    uint8_t noted;         /* lenient client: of the heads of this exchange */
    bool asks_upgrade;     /* client: 101 is an answer */
};

void http_conn_init(struct http_conn *c, enum http_role role, const struct http_limits *limits);

/* One step. Returns how many bytes of `input` were consumed; call again while the kind is not MORE,
 * CLOSED, BAD or (server) END. `eof`: the peer has closed its side. An eof inside a message is BAD
 * http_err_truncated, except for HTTP_FRAMING_CLOSE, which it ends. A client that gets bytes while
 * it asked for nothing sees BAD. */
size_t http_conn_feed(struct http_conn *c, struct slice input, bool eof, struct http_head *head,
                      struct http_event *ev);

/* Server: a request came by other means (uwsgi); its head takes the place of HEAD's, and is over
 * after `used` bytes, which are returned. The exchange goes on as if it had been fed: DATA, END. */
size_t http_conn_begin(struct http_conn *c, const struct http_head *head, struct http_event *ev,
                       size_t used);

/* Server: is the client waiting for "HTTP/1.1 100 Continue"? True once; then send HTTP_CONTINUE
 * before reading on. Answering without it (an error) is fine and ends persistence. */
bool http_conn_takes_continue(struct http_conn *c);
#define HTTP_CONTINUE SLICE("HTTP/1.1 100 Continue\r\n\r\n")

/* Server: encodes the final response head, deciding framing and Connection from the request (RFC
 * 9112 sections 6.1, 6.3, 9.3): with has_content_length -> Content-Length; else chunked, or
 * until-close where that is not understood (http_conn_chunks). HTTP/1.0 gets `Connection:
 * keep-alive` when it asked and the length is known, never chunked. 204, 304 and 1xx get no length.
 * `head->close` ends persistence. Fields of `head` that this decides (chunked, close, keep_alive,
 * version_minor) are overwritten. *ret_sends_body tells whether body bytes follow (not for HEAD,
 * 204, 304). Errors as http_encode_response. */
NODISCARD int http_conn_answer(struct http_conn *c, struct buf *out,
                               struct http_response_head *head, bool *ret_sends_body);

/* Server: do bodies without a length come in chunks? Otherwise they last until the close. */
static inline bool http_conn_chunks(const struct http_conn *c) {
    return c->version_minor > 0 && !c->unchunked;
}

/* Is the incoming message complete, also when its END was not asked for? */
bool http_conn_is_complete(const struct http_conn *c);

/* Client: a request with this method was (or is being) written. */
void http_conn_sent(struct http_conn *c, enum http_method method, bool close);

/* Client, after http_conn_sent: the request asked for another protocol. A 101 is an answer then,
 * and what follows until the close comes as its body. */
static inline void http_conn_asks_upgrade(struct http_conn *c) {
    c->asks_upgrade = true;
}

/* Lenient client, at END: 1 << enum http_lenience of all that was forgiven in this exchange. */
static inline unsigned http_conn_noted(const struct http_conn *c) {
    return (unsigned)c->noted | c->body.noted;
}

/* After END (and, on a server, after the answer was written): ready for the next message. False:
 * close the connection. A server that answered before the request was read to its end gets false:
 * http_conn_answer has said `Connection: close` then. */
NODISCARD bool http_conn_next(struct http_conn *c);

#endif
