/* SPDX-License-Identifier: MIT */
/* Encodes plain answers: one line of text/plain each. */
#include "slowapi/answer.h"

int answer_encode(struct buf *out, struct http_conn *conn, const struct answer *answer) {
    struct slice line_end = answer->status == 200 ? SLICE("") : SLICE("\n");
    struct http_response_head head = {
        .status = answer->status,
        .content_type = SLICE("text/plain"),
        .date = http_date_now(),
        .content_length = answer->text.len + line_end.len,
        .has_content_length = true,
        .close = answer->close,
    };
    bool sends_body;

    int rc = http_conn_answer(conn, out, &head, &sends_body);
    if (rc == 0 && sends_body)
        rc = buf_append(out, answer->text);
    if (rc == 0 && sends_body)
        rc = buf_append(out, line_end);
    return rc;
}
