/* SPDX-License-Identifier: MIT */
/* A form as multipart/form-data (RFC 7578), from words as curl takes them with -F:
 *
 *   name=value          a field; name="value; with semicolons" too
 *   name=@file          a file, with its name; - is stdin
 *   name=<file          a field whose value is in a file
 *   ...;type=text/css   the part's Content-Type; a file's follows from its name otherwise
 *   ...;filename=other  the name that the server is told */
#ifndef LOADGEN_FORM_H
#define LOADGEN_FORM_H

#include "base/buf.h"
#include "base/error.h"
#include "base/option.h"

#define FORM_TYPE_BYTES 96

/* Appends the body, and writes the value of Content-Type, with its boundary. The boundary is the
 * same for the same seed and stands in no part. 0; -EINVAL (a word is none); -errno (a file), with
 * the line. */
NODISCARD int form_build(const struct option_strings *words, uint64_t seed, struct buf *body,
                         char type[FORM_TYPE_BYTES], struct error *err);

#endif
