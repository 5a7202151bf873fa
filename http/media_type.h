/* SPDX-License-Identifier: MIT */
/* The media type of a file (RFC 9110 section 8.3.1), by its name alone. */
#ifndef HTTP_MEDIA_TYPE_H
#define HTTP_MEDIA_TYPE_H

#include "base/slice.h"

/* Finds the type by the suffix of the last name, in any case; NUL-terminated.
 * application/octet-stream when the suffix is not known. */
struct slice http_media_type_of(const char *path);

#endif
