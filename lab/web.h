/* SPDX-License-Identifier: MIT */
/* The lab over HTTP:
 *
 *   GET  /          the page             GET /controls   the rows of the controls
 *   GET  /lanes     all lanes            GET /events     the same as events, ten times a second
 *   POST /lanes     {"lane": 1, "set": {...}} or {"lane": 1, "do": "stop"}
 *
 * A page that starts processes is a shell: each request brings the token, as token=... in its
 * query, names this host (net/control.h), and comes from no other origin. */
#ifndef LAB_WEB_H
#define LAB_WEB_H

#include "lab/lane.h"

enum { LAB_LANES = 3, LAB_STREAMS_MAX = 8, LAB_TOKEN_BYTES = 128 };

struct control_stream;

struct lab_web;
struct lab_stream {
    struct lab_web *web;
    struct control_stream *stream; /* NULL: the place is free */
};

struct lab_web {
    struct lane *lanes; /* LAB_LANES of them */
    char token[LAB_TOKEN_BYTES];
    nsec_t looked_at; /* the last time that somebody asked or watched */
    double budget;    /* changes that may come right now */
    nsec_t budget_at;
    struct lab_stream streams[LAB_STREAMS_MAX];
    struct control *control;
};

/* Serves on a listening socket, which stays the caller's; `lanes` and `token` are filled in. 0 or
 * -errno with a line. */
NODISCARD int web_open(struct lab_web *web, struct loop *loop, int listen_fd, struct error *err);
void web_close(struct lab_web *web);

/* Sends an event to all who watch, and notes that they do. */
void web_tell(struct lab_web *web);

#endif
