/* SPDX-License-Identifier: MIT */
/* The control endpoint of a server: a few small HTTP routes for people and scrapers, off the hot
 * path, on evhttp.
 *
 *   static const struct control_route routes[] = {
 *       { "/stats", CONTROL_GET, reply_stats },
 *       { "/rules", CONTROL_GET | CONTROL_PUT, handle_rules },
 *   };
 *   fd = control_listen("--control", "0", &bound, &err);         once, before fork
 *   c = control_new(loop, fd, routes, ARRAY_LEN(routes), hosts, arg, &err);
 *                                                              in each worker
 *
 * Workers that share the socket share the requests: any of them answers.
 *
 * Pages in a browser on this machine get nothing: the Host of a request is a number, localhost or
 * one of `hosts`, or comes over a unix socket, else 403; and what changes something must come from
 * the same Origin, if it says from which. */
#ifndef NET_CONTROL_H
#define NET_CONTROL_H

#include "base/option.h"
#include "base/slice.h"
#include "net/address.h"
#include "net/loop.h"

struct control;
struct evhttp_request;

enum { CONTROL_GET = 1, CONTROL_PUT = 2, CONTROL_DELETE = 4, CONTROL_POST = 8, CONTROL_PATCH = 16 };

#define CONTROL_BODY_BYTES_MAX (2u << 20)

/* What a handler is asked; its slices live until control_reply. */
struct control_request {
    unsigned method; /* one CONTROL_* bit */
    struct slice path;
    struct slice query; /* without '?'; may be empty */
    struct slice body;
    struct evhttp_request *evhttp;
};

struct control_route {
    const char *path; /* the path of a route; others are answered 404 */
    unsigned methods; /* CONTROL_* bits; GET takes HEAD too. Others are answered 405 */
    /* Calls control_reply exactly once, before it returns. */
    void (*handle)(void *arg, struct control_request *rq);
};

/* A listening socket for HOST:PORT, :PORT, PORT, [v6]:PORT or unix:/path. Without a host it is
 * 127.0.0.1: only a written address opens it to other machines. The descriptor, or -errno with a
 * reason that names `option`. Close it with listener_close. */
NODISCARD int control_listen(const char *option, const char *text, struct address *ret_bound,
                             struct error *err);

/* Whether control_listen would understand it: 0 or -EINVAL with what is allowed. */
NODISCARD int control_check(const char *text, struct error *err);

/* Whether they are names of hosts: 0 or -EINVAL with the reason. */
NODISCARD int control_hosts_check(const struct option_strings *hosts, struct error *err);

/* Serves `routes`, which must outlive it as `hosts` must, on the loop. The descriptor stays the
 * caller's. NULL with a reason. */
NODISCARD struct control *control_new(struct loop *loop, int listen_fd,
                                      const struct control_route *routes, size_t route_count,
                                      const struct option_strings *hosts, void *arg,
                                      struct error *err);
void control_free(struct control *c); /* NULL-safe; not from a handler */

/* --- in a handler ----------------------------------------------------------------------------- */

bool control_header(const struct control_request *rq, const char *name, struct slice *ret_value);

/* Adds a header to the reply, before control_reply; both are copied. */
void control_add_header(struct control_request *rq, const char *name, const char *value);

/* `body` is copied. */
void control_reply(struct control_request *rq, int status, const char *content_type,
                   struct slice body);

/* One line of text/plain; a line end is added. */
void control_reply_text(struct control_request *rq, int status, const char *text);

/* Whether the request names no Origin, or the one that this endpoint is (RFC 6454). Requests that
 * change something are not handed to a route without it. */
NODISCARD bool control_origin_is_ours(const struct control_request *rq);

/* --- answers that go on ----------------------------------------------------------------------- */

struct control_stream;

/* Begins an answer in chunks, in the place of control_reply. `closed` is called once, when the
 * client has gone, or when the endpoint is freed: the stream is not there any more then. NULL: HEAD
 * has got its answer, or memory was short and the answer was 503. */
NODISCARD struct control_stream *control_stream_open(struct control_request *rq,
                                                     const char *content_type,
                                                     void (*closed)(void *arg), void *arg);

/* Sends a copy of the bytes, or keeps it for a client that is slow to read. */
void control_stream_send(struct control_stream *s, struct slice bytes);

/* Bytes that the client has not taken yet. */
NODISCARD size_t control_stream_backlog(const struct control_stream *s);

/* Ends the answer; `closed` is not called. */
void control_stream_end(struct control_stream *s);

#endif
