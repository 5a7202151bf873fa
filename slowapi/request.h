/* SPDX-License-Identifier: MIT */
/* A request as paths and templates see it, and its copy for an answer that needs the body, which
 * comes after the head that the plan is made of.
 *
 *   kept_new(...)                    when the plan is made
 *   kept_add(kept, data)             as the body comes
 *   kept->request.body               when it is whole; kept_free when the answer is made
 */
#ifndef SLOWAPI_REQUEST_H
#define SLOWAPI_REQUEST_H

#include "base/buf.h"
#include "http/head.h"
#include "slowapi/spec.h"
#include <jansson.h>

struct shared;

/* Slices into what the connection has read, or into the copy. */
struct slow_request {
    const struct http_head *head;
    struct slice path, query, rest; /* path and rest, the path's argument, are decoded */
    struct slice body;              /* empty while it has not come */
    uint64_t number;       /* among those that are counted together, from 1; 0: not counted */
    struct shared *shared; /* what workers share; NULL in tests */
    uint64_t secret;       /* random, the server's own */
    int fd;                /* the socket; -1: none */
    bool is_secure;        /* over TLS */
    bool is_cut;           /* the body is longer than what is kept */
};

struct route;

struct kept_request {
    struct slow_request request;
    struct http_head head;
    struct spec spec;
    const struct route *route;
    struct buf body;
    uint64_t *held_bytes; /* bytes that all requests of the worker hold */
    uint64_t client;      /* the origin of a request that is open, as plan.h has it */
    unsigned bind;
    bool is_reused;
    bool is_open; /* the body decides what is planned */
    char bytes[]; /* copies of the head, the path and its argument */
};

/* Copies the request, and all of the plan that is needed later. `held_bytes` must outlive the copy.
 * NULL when out of memory. */
NODISCARD struct kept_request *kept_new(const struct slow_request *request, const struct spec *spec,
                                        const struct route *route, uint64_t *held_bytes);
void kept_free(struct kept_request *kept); /* NULL-safe */

/* Appends to the body. 0; -ENOMEM; or the status to refuse the request with, and a static text in
 * *ret_why: it is longer than SLOWAPI_KEPT_BYTES, or the worker keeps SLOWAPI_KEPT_ALL_BYTES. */
NODISCARD int kept_add(struct kept_request *kept, struct slice data, const char **ret_why);

/* --- told back as JSON, with httpbin's names -------------------------------------------------- */

/* Names as httpbin and go-httpbin spell them: Each-Word. New objects; NULL when out of memory. */
NODISCARD json_t *request_headers_json(const struct http_head *head);
NODISCARD json_t *request_args_json(struct slice query);

/* The address of the client, or what a proxy says of it in X-Forwarded-For. */
NODISCARD json_t *request_origin_json(const struct slow_request *request);

/* The Host of the request, or, when a client of HTTP/1.0 names none, the address that it came to:
 * then written to `text`, which has ADDRESS_TEXT_BYTES. */
struct slice request_host(const struct slow_request *request, char *text);

/* The absolute URL; X-Forwarded-Proto may say another scheme. */
NODISCARD json_t *request_url_json(const struct slow_request *request);

enum request_parts {
    REQUEST_ARGS = 1, /* args, headers, method, origin and url */
    REQUEST_BODY = 2, /* data, files, form and json */
};

/* NULL when out of memory. */
NODISCARD json_t *request_json(const struct slow_request *request, unsigned parts);

/* Whether the body is a form with more than SLOWAPI_FORM_FIELDS fields. */
bool request_form_is_too_long(const struct slow_request *request);

/* The name and value as decoded text; room is freed by mem_free. What cannot be decoded stays as it
 * is. Empty when out of memory. */
struct slice request_decoded(struct slice raw, char **ret_room);

#endif
