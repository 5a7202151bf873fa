/* SPDX-License-Identifier: MIT */
/* App `db`: half of the delay in the slow upstream, half in PostgreSQL; what one blocking call does
 * to a loop. */
#include "server/app/app.h"
#include "server/app/delay.h"
#include <errno.h>

static int db_handle(struct srv_request *rq);

const struct srv_app app_db = {
    .name = "db",
    .summary = "GET /?delay=S: half of S in the upstream, half in PostgreSQL; GET /now: no delay",
    .handle = db_handle,
};

/* "2026-11-23 02:55:59.2102+00": PostgreSQL leaves out trailing zeros. Answers of another length
 * would count as failures of ab's, so they come back. ptr NULL when out of memory. */
static struct slice format_now(struct srv_request *rq, struct slice now) {
    static const struct slice zeros = SLICE_INIT(".000000");
    size_t dot = slice_find(now, '.');
    size_t zone = dot < now.len ? dot + 1 : slice_find(now, '+');
    size_t digits, missing;
    char *text;

    while (zone < now.len && now.ptr[zone] >= '0' && now.ptr[zone] <= '9')
        zone++;
    digits = dot < now.len ? zone - dot : 0; /* the dot is one of them */
    if (zone == now.len || digits >= zeros.len)
        return now.ptr != NULL ? now : SLICE("");
    missing = zeros.len - digits;
    text = srv_alloc(rq, now.len + missing);
    if (text == NULL)
        return slice_of(NULL, 0);
    memcpy(text, now.ptr, zone);
    memcpy(text + zone, zeros.ptr + digits, missing);
    memcpy(text + zone + missing, now.ptr + zone, now.len - zone);
    return slice_of(text, now.len + missing);
}

/* A view or a function of that name may hide PostgreSQL's own. */
static int reply_no_row(struct srv_request *rq) {
    return app_reply_text(rq, 500, SLICE("the database answered without a row\n"));
}

/* A round trip to the database and nothing else: what the path through the server costs. */
static int handle_now(struct srv_request *rq) {
    struct srv_rows rows;
    struct slice now;
    int rc = srv_db_query(rq, "SELECT NOW()", NULL, 0, &rows);

    if (rc < 0)
        return rc;
    if (rows.rows == 0)
        return reply_no_row(rq);
    now = format_now(rq, srv_value(&rows, 0, 0));
    return now.ptr == NULL ? -ENOMEM : app_reply_text(rq, 200, now);
}

static int reply_greeting(struct srv_request *rq, struct slice api, const struct srv_rows *rows) {
    struct slice now = format_now(rq, srv_value(rows, 0, 0)), slept = srv_value(rows, 0, 1);
    const char *text = NULL;

    if (now.ptr != NULL)
        text = srv_format(rq, "Hi there! %.*s (%.*s, %.*s)", (int)api.len, api.ptr, (int)now.len,
                          now.ptr, (int)slept.len, slept.ptr);
    return text == NULL ? -ENOMEM : app_reply_text(rq, 200, slice_str(text));
}

static int db_handle(struct srv_request *rq) {
    struct app_delay delay;
    struct srv_rows rows;
    struct slice api;
    const char *half;
    int rc;

    if (slice_eq(srv_path(rq), SLICE("/now")))
        return handle_now(rq);
    rc = app_delay_read(rq, &delay);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    half = app_delay_half(rq, &delay);
    if (half == NULL)
        return -ENOMEM;
    rc = app_delay_ask(rq, slice_str(half), &api);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = srv_db_query(rq, "SELECT NOW(), pg_sleep($1)", &half, 1, &rows);
    if (rc < 0)
        return rc;
    return rows.rows > 0 ? reply_greeting(rq, api, &rows) : reply_no_row(rq);
}
