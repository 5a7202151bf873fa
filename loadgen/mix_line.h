/* SPDX-License-Identifier: MIT */
/* One line of a file of requests, or of a log that is replayed, taken apart without copying.
 *
 *   /path                     a URL, or a path of the URL that is loaded: GET
 *   http://host/path POST a=b and a method with a body, as siege's files have them
 *   POST /path a=b            or before the URL
 *   {"url": "/path", ...}     an object of JSON
 *   # comment                 skipped, as blank lines are
 */
#ifndef LOADGEN_MIX_LINE_H
#define LOADGEN_MIX_LINE_H

#include "base/clock.h"
#include "base/json_scan.h"

#define MIX_WEIGHT_MAX 1e6

/* Text between the quotes of JSON may hold escapes. */
struct mix_text {
    struct slice raw;
    bool has_escapes;
};

enum mix_body { MIX_BODY_NONE, MIX_BODY_TEXT, MIX_BODY_FORM, MIX_BODY_JSON, MIX_BODY_FILE };

struct mix_line {
    struct slice method; /* empty: GET, or POST where there is a body */
    struct mix_text url, body, name, expect_body;
    struct slice headers;       /* an object of JSON; empty: none */
    struct slice expect_status; /* text for --expect-status; empty: any */
    double weight;              /* above 0; 1 when it has none */
    enum mix_body body_kind;    /* MIX_BODY_FILE: `body` is the path */
    bool has_weight;
    bool is_logged; /* a line of a log: `when` is its time */
    nsec_t when;    /* nanoseconds since 1970 */
};

/* 1 with a request, 0 for a comment or a blank line, or -EINVAL with a static reason in *ret_why
 * that continues "line N ". */
NODISCARD int mix_line_parse(struct slice text, struct mix_line *ret, const char **ret_why);

/* The reasons why a line of a log cannot be replayed. X(name, key in JSON, text). */
#define MIX_UNPLAYABLES(X)                                              \
    X(MALFORMED, "malformed", "malformed")                              \
    X(NO_REQUEST, "no_request", "without a request (-)")                \
    X(CONNECT, "connect", "CONNECT, or another target that is no path") \
    X(METHOD, "method", "with a method that --replay-methods does not name")

enum mix_unplayable {
#define MIX_UNPLAYABLE_ENUM(name, key, text) MIX_UNPLAYABLE_##name,
    MIX_UNPLAYABLES(MIX_UNPLAYABLE_ENUM)
#undef MIX_UNPLAYABLE_ENUM
        MIX_UNPLAYABLES_COUNT,
};

/* A line of the combined or common log format (Apache's and nginx's), or of an access log of srv in
 * JSON. 1 with a request of a path, 0 for a blank line, or -EINVAL with what is wrong with it. */
NODISCARD int mix_line_parse_log(struct slice text, struct mix_line *ret,
                                 enum mix_unplayable *ret_why);

/* A text as it is meant: itself, or unescaped into `room`, which has as many bytes. */
static inline struct slice mix_text_of(struct mix_text text, char *room) {
    return text.has_escapes ? slice_of(room, json_scan_unescape(text.raw, room)) : text.raw;
}

#endif
