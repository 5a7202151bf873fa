/* SPDX-License-Identifier: MIT */
/* Heads: a pure function over the caller's bytes. Nothing is copied, nothing is allocated. */
#ifndef HTTP_HEAD_H
#define HTTP_HEAD_H

#include "base/slice.h"
#include "http/limits.h"

/* X(name) of the methods this codec knows; others are HTTP_METHOD_OTHER and served as 501. */
/* clang-format off */
#define HTTP_METHODS(X) \
    X(GET) X(HEAD) X(POST) X(PUT) X(DELETE) X(PATCH) X(OPTIONS) X(TRACE) X(CONNECT)

enum http_method {
#define HTTP_METHOD_ENUM(name) HTTP_METHOD_##name,
    HTTP_METHODS(HTTP_METHOD_ENUM)
#undef HTTP_METHOD_ENUM
    HTTP_METHOD_OTHER,
};
/* clang-format on */

/* RFC 9112 section 6.3 */
enum http_framing {
    HTTP_FRAMING_NONE,   /* no body */
    HTTP_FRAMING_LENGTH, /* content_length bytes (may be 0) */
    HTTP_FRAMING_CHUNKED,
    HTTP_FRAMING_CLOSE, /* a response that lasts until the connection closes */
};

/* X(name, key in reports, text): what a lenient client accepts though the sender broke the grammar.
 * One reading of each is possible; what has two, such as different lengths, is never accepted. */
#define HTTP_LENIENCES(X)                                                                     \
    X(FOLD, "folded_fields", "folded field (RFC 9112 section 5.2)")                           \
    X(BARE_LF, "bare_lf", "line ended by LF alone (section 2.2)")                             \
    X(CHUNK_BLANKS, "chunk_blanks", "blanks behind a chunk size (section 7.1.1)")             \
    X(LENGTH_REPEATED, "repeated_length", "Content-Length repeated, all equal (section 6.3)") \
    X(TRAILER, "trailer_fields", "trailer field that belongs into the head (RFC 9110 6.5.1)") \
    X(LARGE, "large_head", "head beyond the usual limits")

enum http_lenience {
#define HTTP_LENIENCE_ENUM(name, key, text) HTTP_LENIENCE_##name,
    HTTP_LENIENCES(HTTP_LENIENCE_ENUM)
#undef HTTP_LENIENCE_ENUM
        HTTP_LENIENCE_COUNT,
};

/* A parsed head. Slices point into the bytes that were given and live as long as those stay put. */
struct http_head {
    struct slice method_text, target; /* request; target as sent, absolute-form included */
    struct slice protocol;   /* uwsgi: what the client speaks to the web server; else empty */
    struct slice reason;     /* response; may be empty */
    struct slice fields;     /* the raw, validated field lines: walk them with http_field_next */
    struct slice host;       /* authority of absolute-form, else value of Host; may be empty */
    uint64_t content_length; /* valid when has_content_length */
    enum http_method method;
    enum http_framing framing; /* responses: see http_response_framing */
    uint16_t status;           /* response */
    uint8_t version_minor;     /* 0 or 1 */
    bool has_content_length, chunked;
    uint8_t noted;                    /* lenient: 1 << enum http_lenience of what was forgiven */
    bool says_close, says_keep_alive; /* Connection options */
    bool says_more;                   /* Connection has others */
    bool expects_continue;            /* Expect: 100-continue of an HTTP/1.1 request */
};

enum http_parse_kind { HTTP_PARSE_DONE, HTTP_PARSE_MORE, HTTP_PARSE_BAD };

struct http_parse {
    enum http_parse_kind kind;
    size_t used;     /* DONE: bytes of the head, leading CRLFs and the blank line included */
    const char *why; /* BAD: an http_err_*; after BAD the head may hold what was parsed so far */
};

/* `scanned` is how many bytes of `input` an earlier call has seen and found incomplete (0 at
 * first): the scan for the blank line resumes there, so the total work is linear in the bytes (RFC
 * 9112 sections 2 to 6). Strict: what must be refused is refused as soon as it is seen, also before
 * the head is complete (over-long line, bad start).
 *
 * Lenient (limits->usual) is for clients, and for gateways that tell the framing anew. The bytes of
 * a complete head must be writable then: its folds become blanks, as RFC 9112 section 5.2 asks for.
 */
struct http_parse http_parse_request(struct slice input, size_t scanned,
                                     const struct http_limits *limits, struct http_head *ret);
struct http_parse http_parse_response(struct slice input, size_t scanned,
                                      const struct http_limits *limits, struct http_head *ret);

/* Walks the field lines of a parsed head: start with `rest = head.fields`; false at the end. */
bool http_field_next(struct slice *rest, struct slice *ret_name, struct slice *ret_value);

/* Walks the fields as they count, which in absolute-form differ in one: the target's authority is
 * the value of Host, sent or not (RFC 9112 section 3.2.2). Start with a zeroed cursor; false at the
 * end. */
struct http_cursor {
    struct slice rest;
    bool started;
};
bool http_field_walk(const struct http_head *head, struct http_cursor *at, struct slice *ret_name,
                     struct slice *ret_value);

/* The value of the first field with that name (case-blind) among these; false when there is none.
 */
bool http_field_find(const struct http_head *head, struct slice name, struct slice *ret_value);

/* "GET"; for HTTP_METHOD_OTHER "OTHER". */
const char *http_method_name(enum http_method method);
enum http_method http_method_of(struct slice text);

/* RFC 9112 section 6.3: the framing of a response, given the method it answers. */
enum http_framing http_response_framing(const struct http_head *response,
                                        enum http_method request_method);

/* --- private to http/: for heads that come in another form than lines ------------------ */

/* Facts that the walk over the lines collects for the rules, which judge a complete head. */
struct http_known {
    struct slice host, content_length; /* the last ones seen */
    uint32_t fields, hosts, content_lengths;
    uint32_t codings;    /* elements of all Transfer-Encoding lines */
    uint32_t chunkeds;   /* the chunked ones of them */
    bool coding_invalid; /* one was empty, no token, or chunked with a parameter */
    bool chunked_is_last;
    bool lengths_differ; /* several Content-Length lines do not agree */
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

#endif
