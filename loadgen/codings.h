/* SPDX-License-Identifier: MIT */
/* The bodies of a worker's connections when --compressed asks servers to code them: each is decoded
 * as it comes, into a buffer that all share, and goes no further than to who looks for a text in
 * it. */
#ifndef LOADGEN_CODINGS_H
#define LOADGEN_CODINGS_H

#include "http/coding.h"
#include "loadgen/answers.h"

#define CODINGS_ACCEPTED "gzip, deflate, br"

struct codings;

/* For so many connections. NULL when out of memory. */
NODISCARD struct codings *codings_new(size_t clients);
void codings_free(struct codings *k);

/* The head of an answer that a connection gets. */
void codings_head(struct codings *k, size_t client, const struct http_head *head);

/* The next piece of the decoded body, from the front of `*data`; false: there is none yet. Another
 * call may overwrite it. */
bool codings_next(struct codings *k, size_t client, struct slice *data, struct slice *ret);

/* Ends an answer, counted when it is complete. False: its body was not what its coding says. */
bool codings_end(struct codings *k, size_t client, struct answers_codings *counts);

/* Forgets an answer that has no end. */
void codings_drop(struct codings *k, size_t client);

#endif
