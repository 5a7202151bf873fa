/* SPDX-License-Identifier: MIT */
/* Expressions in double braces that every request replaces by a value of its own:
 *
 *   {{seq}}  {{seq:1000}}      the number of the request in the run, from 1 or from 1000 on
 *   {{uuid}}                   a random UUID of version 4
 *   {{random:1-1000}}          a whole number, both ends included
 *   {{string:16}}              letters and digits
 *   {{choice:red,green,blue}}  one of these
 *   {{csv:users.csv:email}}    a column of a file: request n takes row n, over and over
 *   {{env:TOKEN}}              a variable of the environment
 *   {{now}} {{unix}} {{unix_ms}}
 *   {{{{                       two braces
 *
 * Random values come from the seed and the number of the request alone, whoever sends it. A text is
 * learned once, before the run; then it is expanded for each request, by any thread. */
#ifndef LOADGEN_TEMPLATE_H
#define LOADGEN_TEMPLATE_H

#include "base/buf.h"
#include "base/error.h"
#include "base/rng.h"

#define TEMPLATES_MAX             4096 /* different ones in a run */
#define TEMPLATE_FILES_MAX        16
#define TEMPLATE_STRING_BYTES_MAX 65536

/* The place of a text decides how values are spelled there: percent-encoded; as they are, for no
 * value has control characters; as they are; as within a string of JSON. */
enum template_place { TEMPLATE_IN_URL, TEMPLATE_IN_HEADER, TEMPLATE_IN_BODY, TEMPLATE_IN_JSON };

struct templates;

/* Returns NULL when out of memory; template_free is NULL-safe. */
NODISCARD struct templates *templates_new(void);
void templates_free(struct templates *t);

/* Learns the expressions of a text, opening files of values. 0; -errno with the reason: -EINVAL for
 * one that is none, that names a column or a variable that is not there, or a header's with a value
 * that would forge lines. */
NODISCARD int templates_learn(struct templates *t, struct slice text, enum template_place place,
                              struct error *err);

/* One request: everything that its expressions depend on. */
struct template_request {
    uint64_t number; /* in the run, from 0 */
    struct rng rng;
};

static inline struct template_request template_request_of(uint64_t seed, uint64_t number) {
    return (struct template_request){ number, rng_stream(seed, number) };
}

/* The place of the next two equal bytes `c`, or text.len. memmem(3) takes ten times as long. */
static inline size_t template_find(struct slice text, char c) {
    for (size_t at = 0;; at++) {
        at += slice_find(slice_drop(text, at), c);
        if (at + 1 >= text.len)
            return text.len;
        if (text.ptr[at + 1] == c)
            return at;
    }
}

/* Whether any expression stands in the text. */
static inline bool template_is_in(struct slice text) {
    return template_find(text, '{') < text.len;
}

/* Appends a text that was learned for that place. 0 or as buf_append. */
NODISCARD int templates_expand(const struct templates *t, struct slice text,
                               enum template_place place, struct template_request *request,
                               struct buf *out);

#endif
