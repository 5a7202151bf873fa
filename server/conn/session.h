/* SPDX-License-Identifier: MIT */
/* One client connection's requests, whoever waits for it. The life of one:
 *
 *   session_init, session_accept        a connection is there
 *   session_reserve, session_feed       bytes come in, until a request is READY
 *   session_ready                       its time runs, it may wait for a slot
 *   session_begin                       it has one: the model runs the handler
 *   session_answer                      its answer is written, counted and logged
 *   KEEP: feed again; CLOSE; LINGER: net/linger.h; SEND: the rest, then session_finish */
#ifndef SERVER_SESSION_H
#define SERVER_SESSION_H

#include "base/arena.h"
#include "fiber/io.h"
#include "http/conn.h"
#include "net/file_part.h"
#include "net/peer.h"
#include "server/conn/access_log.h"
#include "server/conn/channel.h"
#include "server/conn/proxied.h"
#include "server/observe/stats.h"
#include "server/worker.h"

/* An accepted socket. */
struct accepted {
    struct peer peer;
    int fd;
    unsigned listener; /* index of the address it came to, among those of the configuration */
};

enum session_step {
    SESSION_MORE,    /* not complete: read more */
    SESSION_READY,   /* one whole request is there; with SRV_STREAM_BODY maybe its head alone */
    SESSION_CLOSED,  /* the client left between requests */
    SESSION_REFUSED, /* an error answer stands in `out`: write it, linger, close */
};

enum session_end {
    SESSION_KEEP,   /* answered; the next request may come */
    SESSION_CLOSE,  /* answered or not: close */
    SESSION_LINGER, /* answered, and closing would reset: let the client read on, then close */
    SESSION_SEND,   /* a part of the answer is left in `out`: write it, then session_finish */
};

/* Framing of an answer that has no length; SESSION_WHOLE: it has one, or is not begun. */
enum session_stream { SESSION_WHOLE, SESSION_CHUNKED, SESSION_UNTIL_CLOSE };

struct session {
    const struct worker *worker;
    struct http_conn http;
    struct http_head head; /* current request's; points into `in` or `arena` */
    struct buf in; /* received: the head in use (`head_used` bytes), then what is not parsed yet */
    struct buf body;       /* decoded body of the current request */
    struct buf out;        /* encoded answer */
    struct file_part file; /* the answer's end, after `out` */
    struct arena arena;
    size_t head_used;
    nsec_t ready_at;           /* time at which the request was complete; 0: not yet */
    nsec_t body_at;            /* time of the first wait for its body; 0: none */
    struct request_id id;      /* once somebody has asked for it */
    struct access_spent spent; /* spans of its waits */
    uint64_t body_bytes;       /* in `out`, without the head */
    struct peer peer;          /* named by a PROXY header or a uwsgi packet, if any */
    uint32_t served;
    int fd;
    struct channel bytes;      /* the connection's */
    atomic_int writer;         /* enum session_writer of session.c */
    struct stats_entry *entry; /* while a request is here, if it is listed */
    uint16_t status;           /* answered in `out` */
    uint8_t ingress;           /* bits of enum session_ingress of session.c; 0: HTTP alone */
    atomic_uchar stream;       /* enum session_stream, of the answer; probes of a loop read it */
    bool head_in_arena;        /* all of it, or a part */
    bool eof;                  /* the client closed its sending side */
    atomic_bool last;          /* the next answer says close; a loop may set it meanwhile */
};

/* `fd` is not owned. session_accept is for connections that may send more than plain HTTP: 0 or
 * -ENOMEM. session_free leaves `bytes` open. */
void session_init(struct session *s, const struct worker *worker, int fd);
NODISCARD int session_accept(struct session *s, const struct accepted *accepted);
void session_free(struct session *s);

/* Room for the next read into `in`. 0 or -errno as buf_reserve. */
NODISCARD int session_reserve(struct session *s);

/* Looks at what is in `in` and `eof`. Who sees READY calls session_ready. Answers Expect:
 * 100-continue itself. The other receives, where TLS `begins_later`, a PROXY header and no
 * byte behind it; READY: TLS begins. */
NODISCARD enum session_step session_feed(struct session *s);
NODISCARD enum session_step session_feed_proxy(struct session *s);
void session_ready(struct session *s, nsec_t now); /* a request is complete, at this time */

/* The span until a client is asked that has closed its sending side while its request waits; 0: it
 * is gone; NSEC_NEVER: it counts as there. */
nsec_t session_probe_span(const struct session *s);

/* Sends an interim answer (RFC 9110 section 15.2), unless the real one is being written: a client
 * that is gone answers with a reset, which the connection's watch reports. HTTP/1.0 has no interim
 * answers: such a client counts as there. From any thread. False when it is known to be gone. */
NODISCARD bool session_probe(struct session *s);

/* Has a part of a request arrived, or is the connection merely kept? And is it one of the body? */
bool session_began(const struct session *s);
bool session_in_body(const struct session *s);

/* Deadlines of the current request, NSEC_NEVER without a limit; and of the next bytes of its body:
 * --body-timeout from `now` on, and no longer than --body-timeout and the bytes so far, decoded, at
 * --body-rate allow for the whole. */
nsec_t session_deadline(const struct session *s);
nsec_t session_body_deadline(struct session *s, nsec_t now);
/* Receives more of the body of a request that is served into `in`, after session_reserve: bytes, 0
 * at the end, or -errno. Answers Expect: 100-continue before, once. */
NODISCARD ssize_t session_recv_body(struct session *s);

/* The request has its slot: its handler is about to run. What it does or waits for from now on. */
void session_begin(struct session *s, nsec_t now);
void session_set_doing(struct session *s, enum stats_doing doing, nsec_t now);

/* Ends a handled request, with 0 and an answer in `out`, or with -errno. Writes what the client
 * takes of the answer at once, and never waits for it. */
NODISCARD enum session_end session_answer(struct session *s, int rc, struct io *io);

/* Writes of the answer what the client takes at once, through its watch (or NULL). 0: all; -EAGAIN:
 * the rest is for later, and if the watch is ready it was a burst of a large file; -errno. */
NODISCARD int session_send(struct session *s, struct watch *watch);

/* Two steps of session_answer, for callers that write themselves: the answer in `out` is about to
 * be written; all is done, with 0, or with -errno: the client did not get its answer. */
void session_answers(struct session *s, struct io *io);
NODISCARD enum session_end session_finish(struct session *s, int rc, nsec_t now);
NODISCARD enum session_end session_drop(struct session *s, nsec_t now); /* READY, and unserved */

/* A handler that streams writes nothing until its next session_answers: session_probe may. And it
 * has failed: its client is to see that it has no whole answer. */
void session_rests(struct session *s);
void session_cut(struct session *s);

/* Puts an error answer to a whole request into `out`, for the front to write, and is done with the
 * request. As session_finish, but not SESSION_KEEP when more requests stand behind this one: a
 * client that is turned down gets no second answer in the same turn. */
NODISCARD enum session_end session_turn_down(struct session *s, uint16_t status, const char *why);

/* Does the request that is READY ask for --health-path? It is answered without a handler: puts that
 * answer into `out`, as session_turn_down. */
bool session_asks_health(const struct session *s);
NODISCARD enum session_end session_tell_health(struct session *s);

/* Puts an error answer, Connection: close, into `out`; empty without memory. SESSION_REFUSED. The
 * other does so, without TLS, if the client spoke HTTP where TLS was expected. */
enum session_step session_refuse(struct session *s, uint16_t status, const char *why);
NODISCARD bool session_refuse_bare(struct session *s);

/* No request is to come, or none is wanted: SESSION_CLOSE, or SESSION_LINGER. */
NODISCARD enum session_end session_close(const struct session *s);

/* Gives back memory: what the answer, which stands in `out` and may stay for a while, was made of;
 * between two requests every buffer, so that a kept connection owns nothing but itself. */
void session_shrink(struct session *s);

#endif
