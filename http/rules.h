/* SPDX-License-Identifier: MIT */
/* What a head means once its lines are well-formed: the few fields that decide framing and
 * persistence. Private to http/. */
#ifndef HTTP_RULES_H
#define HTTP_RULES_H

#include "http/head.h"

/* What the walk over the lines has collected for the rules, which look at it when the head is
 * complete. */
struct http_known {
    struct slice host, content_length; /* the last ones seen */
    uint32_t fields, hosts, content_lengths;
    uint32_t codings;    /* elements of all Transfer-Encoding lines */
    uint32_t chunkeds;   /* of them: chunked */
    bool coding_invalid; /* one was empty, no token, or chunked with a parameter */
    bool chunked_is_last;
    bool lengths_differ; /* of several Content-Length lines */
    bool expects_other;  /* an Expect that is not 100-continue */
    bool singleton_twice;
    uint32_t singletons; /* fields that may come once, and came; bits */
};

/* Remembers a field when it is one of the five that matter here (Host, Expect, Connection,
 * Content-Length, Transfer-Encoding), or one that may come once. `name` is a token. */
void http_known_add(struct http_known *known, struct http_head *head, struct slice name,
                    struct slice value);

/* Whether a request may have one line of that name at most; a token, in any case. */
bool http_field_is_singleton(struct slice name);

/* Sets framing and host of a complete head. NULL, or why it must be refused (an http_err_*). */
const char *http_rules_request(const struct http_known *known, const struct http_limits *limits,
                               struct http_head *head);
const char *http_rules_response(const struct http_known *known, const struct http_limits *limits,
                                struct http_head *head);

#endif
