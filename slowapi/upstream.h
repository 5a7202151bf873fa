/* SPDX-License-Identifier: MIT */
/* The service behind --upstream, and exchanges with it: a request that is written as it comes, an
 * answer that is taken as somebody wants it, over connections that are kept.
 *
 *   x = slow_exchange_new(u)               then the owner sets notify, take_head and owner, and
 *   gateway_request(&x->out, ...)          writes the head
 *   slow_exchange_begin(x, &how)
 *   slow_exchange_write, _end, _flush      the body, while slow_exchange_has_room
 *   x->body                                of the answer, once there is a head
 *   slow_exchange_free                     at any time, also within notify
 *
 * Each worker has one struct slow_upstream. Nothing here waits, and memory is bounded both ways:
 * bytes that nobody pulls stay in the kernel, which holds the service back. */
#ifndef SLOWAPI_UPSTREAM_H
#define SLOWAPI_UPSTREAM_H

#include "fiber/dial.h"
#include "http/conn.h"
#include "http/gateway.h"
#include "net/tls.h"
#include "slowapi/content.h"

struct slow_upstream_options {
    const char *url;         /* http[s]://HOST[:PORT][/PATH] or unix:/PATH[:/PATH]; outlives all */
    struct tls_context *tls; /* for https */
    nsec_t connect_timeout;  /* until the connection stands, TLS and names included */
    nsec_t answer_timeout;   /* from the last byte of the request to the head of the answer */
    nsec_t idle_timeout;     /* between two bytes of an answer, or of a request that it takes */
    nsec_t keep_alive;       /* span of an idle connection; 0: it is used once */
    bool preserves_host;     /* Host is the client's */
    bool is_lenient;
};

struct slow_upstream;

/* Whether the URL is one: 0 or -EINVAL with a reason. *ret_secure: it is https. */
NODISCARD int slow_upstream_check(const char *url, bool *ret_secure, struct error *err);

/* NULL with a reason. `hidden` as gateway_route has it. */
NODISCARD struct slow_upstream *slow_upstream_new(const struct slow_upstream_options *options,
                                                  struct slice hidden, struct loop *loop,
                                                  struct error *err);
void slow_upstream_free(struct slow_upstream *u); /* NULL-safe; no exchange is left */

const struct gateway_route *slow_upstream_route(const struct slow_upstream *u);

enum slow_exchange_failure {
    EXCHANGE_WELL,
    EXCHANGE_UNREACHABLE, /* no address, refused, TLS */
    EXCHANGE_CLOSED,      /* reset or closed before the answer was complete */
    EXCHANGE_MALFORMED,
    EXCHANGE_LATE,
    EXCHANGE_MEMORY,
};

enum slow_exchange_state { EXCHANGE_DIALLING, EXCHANGE_SHAKING, EXCHANGE_OPEN, EXCHANGE_OVER };

struct slow_link;

struct slow_exchange {
    /* The answer has a head, or more of a body that was not there when it was pulled; the request
     * has room again; or the exchange has failed. The exchange may be freed within. */
    void (*notify)(struct slow_exchange *x);
    /* Takes what is needed of the head of the answer; it frees nothing. 0 or -ENOMEM. */
    int (*take_head)(struct slow_exchange *x, const struct http_head *head);
    void *owner;

    struct content_source body; /* the answer's; -EAGAIN: notify comes */
    struct buf out;             /* bytes still to be sent, the head first */
    struct buf interims;        /* heads of 1xx answers that the owner has not passed on yet */
    struct http_conn http;
    uint64_t sent_bytes, received_bytes; /* on the wire, TLS not counted */
    nsec_t begun_at, head_at;            /* 0: not yet */
    struct error why;                    /* the reason of a failure */
    uint8_t state, failure;              /* enum slow_exchange_state, enum slow_exchange_failure */
    bool has_head;                       /* the answer has come so far */
    bool is_tunnel;                      /* bytes of another protocol go both ways */
    bool was_reused, was_retried;
    uint8_t dials;

    struct slow_upstream *upstream;

    /* Private. */
    struct slow_link *link;
    struct buf ahead; /* the begin of the body, looked at before it is pulled */
    struct buf in;    /* received behind the head, and not pulled yet */
    size_t tried;     /* bytes at the begin of `out` that were sent, and may be once more */
    nsec_t deadline;  /* the timer may fire earlier */
    struct timer timer;
    struct deferred telling;
    enum http_method method;
    bool may_retry, is_chunked, asks_upgrade, got_bytes;
    bool is_beginning; /* within slow_exchange_begin */
    bool is_sent;      /* the owner has written all */
    bool is_deaf;      /* the upstream takes no more */
    bool is_starved;   /* the owner wants more than there was */
    bool is_unclean;   /* bytes lie behind the answer */
};

struct slow_exchange_how {
    enum http_method method;
    bool has_body; /* a body is not sent twice */
    bool is_chunked, asks_upgrade;
};

NODISCARD struct slow_exchange *slow_exchange_new(struct slow_upstream *u);

/* Keeps the connection when all went well, else closes it. NULL-safe. */
void slow_exchange_free(struct slow_exchange *x);

/* The head stands in x->out. What goes wrong is told by notify, later. */
void slow_exchange_begin(struct slow_exchange *x, const struct slow_exchange_how *how);

/* A piece of the body, or bytes of a tunnel; then the last of it: of a tunnel, the client sends no
 * more. 0 or -ENOMEM. */
NODISCARD int slow_exchange_write(struct slow_exchange *x, struct slice data);
NODISCARD int slow_exchange_end(struct slow_exchange *x, struct slice trailers);

/* Takes in up to `size` bytes of the body before they are pulled. How many there are: fewer are all
 * of it, or come before a failure. -EAGAIN: notify comes. */
NODISCARD ssize_t slow_exchange_look_ahead(struct slow_exchange *x, size_t size);

/* Sends what the socket takes. */
void slow_exchange_flush(struct slow_exchange *x);

/* Whether more should be written; when not, notify comes when it should. */
bool slow_exchange_has_room(const struct slow_exchange *x);

#endif
