/* SPDX-License-Identifier: MIT */
/* Reasons of refusals: address-unique texts, compared by pointer and printed as they are. */
#ifndef HTTP_ERROR_H
#define HTTP_ERROR_H

#include <stdint.h>

/* X(name, status that a server answers, text). The one list of all reasons; http/error.c defines
 * them. */
#define HTTP_ERRORS(X)                                                     \
    X(method, 400, "request method is not a token")                        \
    X(request_line, 400, "malformed request line")                         \
    X(target, 400, "invalid request target")                               \
    X(target_long, 414, "request target is too long")                      \
    X(version, 400, "malformed HTTP version")                              \
    X(version_unsupported, 505, "HTTP version is not supported")           \
    X(status_line, 502, "malformed status line")                           \
    X(interim, 502, "unexpected or too many interim responses")            \
    X(unasked, 502, "bytes that nobody asked for")                         \
    X(line_end, 400, "line is not ended by CRLF")                          \
    X(field_name, 400, "invalid field name")                               \
    X(field_space, 400, "whitespace before or inside a field name")        \
    X(field_fold, 400, "obsolete line folding")                            \
    X(field_value, 400, "invalid character in a field value")              \
    X(field_long, 431, "header field is too large")                        \
    X(field_twice, 400, "a field that may come once came twice")           \
    X(fields_many, 431, "too many header fields")                          \
    X(head_large, 431, "header section is too large")                      \
    X(host_missing, 400, "Host is missing")                                \
    X(host_many, 400, "more than one Host")                                \
    X(host, 400, "invalid Host")                                           \
    X(length, 400, "invalid Content-Length")                               \
    X(length_many, 400, "more than one Content-Length")                    \
    X(length_and_coding, 400, "both Content-Length and Transfer-Encoding") \
    X(coding_http10, 400, "Transfer-Encoding in HTTP/1.0")                 \
    X(coding, 400, "invalid Transfer-Encoding")                            \
    X(coding_unknown, 501, "transfer coding is not supported")             \
    X(expect, 417, "expectation is not supported")                         \
    X(chunk_size, 400, "invalid chunk size")                               \
    X(chunk_ext, 400, "invalid chunk extension")                           \
    X(chunk_ext_large, 400, "chunk extensions or trailers are too large")  \
    X(chunk_end, 400, "chunk data is not followed by CRLF")                \
    X(trailer, 400, "forbidden or invalid trailer field")                  \
    X(body_large, 413, "body is too large")                                \
    X(truncated, 400, "connection closed in the middle of a message")      \
    X(uwsgi_modifier, 501, "uwsgi modifier is not available")              \
    X(uwsgi_vars, 400, "malformed uwsgi variables")                        \
    X(uwsgi_request, 400, "uwsgi variables without a method or a target")  \
    X(field_underscore, 400, "underscore in a field name")                 \
    X(proxy_header, 400, "malformed PROXY header")                         \
    X(peer, 403, "this peer is not allowed here")                          \
    X(memory, 503, "out of memory")

#define HTTP_ERROR_DECLARE(name, status, text) extern const char http_err_##name[];
HTTP_ERRORS(HTTP_ERROR_DECLARE)
#undef HTTP_ERROR_DECLARE

/* The status a server answers for this reason (400, 403, 413, 414, 417, 431, 501, 503, 505); 400
 * for one it does not know. */
uint16_t http_err_status(const char *why);

#endif
