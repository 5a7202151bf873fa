/* SPDX-License-Identifier: MIT */
/* A request, told back as JSON. */
#ifndef SLOWAPI_ECHO_H
#define SLOWAPI_ECHO_H

#include "http/head.h"

enum echo_parts { ECHO_HEADERS, ECHO_ALL };

/* NUL-terminated, with a line end; free(3). NULL when out of memory. */
NODISCARD char *echo_json(const struct http_head *head, enum echo_parts parts);

#endif
