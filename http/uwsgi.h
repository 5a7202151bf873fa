/* SPDX-License-Identifier: MIT */
/* The uwsgi binary protocol: a request as a web server hands it over. A pure function over the
 * caller's bytes.
 *
 *   byte 0      modifier1: 0 is a request, all others are refused
 *   bytes 1-2   size of the variables, little-endian
 *   byte 3      modifier2, not looked at
 *   then        { u16 size, key, u16 size, value }*     and the body, CONTENT_LENGTH raw bytes
 *
 *   parse = uwsgi_packet(input)                  until it is complete
 *   why = uwsgi_request(vars, &limits, text, &head, &origin)
 *
 * The answer is HTTP text, never chunked, without interim responses, and ends the connection. */
#ifndef HTTP_UWSGI_H
#define HTTP_UWSGI_H

#include "http/head.h"

#define UWSGI_HEADER_BYTES 4

/* Is the packet (without the body) complete? DONE: `used` bytes, the header's four included.
 * Refuses a modifier as soon as it is seen, and a size above limits->head_bytes. */
struct http_parse uwsgi_packet(struct slice input, const struct http_limits *limits);

/* The client as the web server saw it. Empty when the server did not say. */
struct uwsgi_origin {
    struct slice address, port; /* REMOTE_ADDR, REMOTE_PORT */
    struct slice scheme;        /* REQUEST_SCHEME, or https when HTTPS is on */
};

/* Turns the variables (a packet's bytes after the header) into the head of the same request over
 * HTTP/1.0: HTTP_X_FOO becomes the line `X-Foo: value`, so that handlers see no difference. All of
 * it is written to `text`, which has vars.len bytes and must live as long as the results.
 *
 * The target is REQUEST_URI, else PATH_INFO and QUERY_STRING. Framing comes from CONTENT_LENGTH
 * alone (empty is none): what the client's hop said (HTTP_CONTENT_LENGTH, HTTP_TRANSFER_ENCODING,
 * HTTP_CONNECTION and their like) is dropped, and so is every UWSGI_*, by which a peer could ask
 * the uWSGI server to load code. A variable that comes twice is two fields. SERVER_PROTOCOL is told
 * as head->protocol, and decides nothing.
 *
 * NULL, or why it must be refused (an http_err_*). */
const char *uwsgi_request(struct slice vars, const struct http_limits *limits, char *text,
                          struct http_head *ret, struct uwsgi_origin *ret_origin);

#endif
