/* SPDX-License-Identifier: MIT */
/* Invariants of the head parser, for requests and responses alike. */
#ifndef TESTS_FUZZ_HEADS_H
#define TESTS_FUZZ_HEADS_H

#include "http/head.h"

typedef struct http_parse heads_parse_fn(struct slice input, size_t scanned,
                                         const struct http_limits *limits, struct http_head *ret);

/* Parses `input` at once and byte by byte under several limits: same answer, parts inside the
 * input, fields as the grammar has them. Returns the answer at once, under the default limits. */
struct http_parse heads_check(heads_parse_fn *parse, struct slice input, struct http_head *ret);

#endif
