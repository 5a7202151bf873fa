/* SPDX-License-Identifier: MIT */
/* A request, told back as JSON. */
#ifndef SLOWAPI_ECHO_H
#define SLOWAPI_ECHO_H

#include "http/head.h"
#include <jansson.h>

/* Bytes that are no UTF-8 are shown as Latin-1, which any byte is. NULL when out of memory. */
NODISCARD json_t *echo_text(struct slice text);

enum echo_parts { ECHO_HEADERS, ECHO_ALL };

/* NUL-terminated, with a line end; free(3). NULL when out of memory. */
NODISCARD char *echo_json(const struct http_head *head, enum echo_parts parts);

#endif
