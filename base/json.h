/* SPDX-License-Identifier: MIT */
/* Text from outside as JSON, over jansson. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/slice.h"
#include <jansson.h>

/* A string of at most `bytes_max` bytes of the text; a longer text is cut at a whole character and
 * ends in "...". JSON holds UTF-8 only: text that is none is read as Latin-1, which any bytes are
 * (RFC 9110 section 5.5). NULL when out of memory; new functions of jansson take that. */
NODISCARD json_t *json_text(struct slice text, size_t bytes_max);

/* The object or list as one line of ASCII, without newline: characters that end lines for some
 * readers, or drive terminals, are escaped. Drops the reference, takes NULL. For free(3); NULL when
 * out of memory. */
NODISCARD char *json_line(json_t *json);

#endif
