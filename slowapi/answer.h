/* SPDX-License-Identifier: MIT */
/* The bytes of an answer. */
#ifndef SLOWAPI_ANSWER_H
#define SLOWAPI_ANSWER_H

#include "http/conn.h"

struct answer {
    uint16_t status;
    struct slice text; /* the body; a line end is added to all but a 200 */
    bool close;        /* the last one on this connection */
};

/* Appends head and body. Errors as buf_reserve. */
NODISCARD int answer_encode(struct buf *out, struct http_conn *conn, const struct answer *answer);

#endif
