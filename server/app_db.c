/* SPDX-License-Identifier: MIT */
/* App `db`: half of the delay in the slow upstream, half in PostgreSQL; what one blocking call does
 * to a loop. */
#include "server/app.h"
#include "server/app_delay.h"
#include <errno.h>

static int db_handle(struct srv_request *rq);

const struct srv_app app_db = {
    .name = "db",
    .summary = "GET /?delay=S: half of S in the upstream, half in PostgreSQL; GET /now: no delay",
    .handle = db_handle,
};

/* "2026-11-23 02:55:59.2102+00": PostgreSQL leaves out trailing zeros. Answers of another length
 * would count as failures of ab's, so they come back. NULL when out of memory. */
static const char *format_now(struct srv_request *rq, struct slice now) {
    size_t dot = slice_find(now, '.');
    size_t zone = dot < now.len ? dot + 1 : slice_find(now, '+');
    size_t digits;

    if (zone >= now.len)
        return srv_format(rq, "%.*s", (int)now.len, now.ptr);
    while (zone < now.len && now.ptr[zone] >= '0' && now.ptr[zone] <= '9')
        zone++;
    digits = dot < now.len ? zone - dot - 1 : 0;
    return srv_format(rq, "%.*s%s%.*s%.*s", (int)zone, now.ptr, dot < now.len ? "" : ".",
                      digits < 6 ? (int)(6 - digits) : 0, "000000", (int)(now.len - zone),
                      now.ptr + zone);
}

/* A round trip to the database and nothing else: what the path through the server costs. */
static int handle_now(struct srv_request *rq) {
    struct srv_rows rows;
    const char *now;
    int rc = srv_db_query(rq, "SELECT NOW()", NULL, 0, &rows);

    if (rc < 0)
        return rc;
    now = format_now(rq, rows.values[0]);
    return now == NULL ? -ENOMEM : app_reply_text(rq, 200, slice_str(now));
}

static int reply_greeting(struct srv_request *rq, struct slice api, const struct srv_rows *rows) {
    const char *now = format_now(rq, rows->values[0]), *text = NULL;
    struct slice slept = rows->values[1];

    if (now != NULL)
        text = srv_format(rq, "Hi there! %.*s (%s, %.*s)", (int)api.len, api.ptr, now,
                          (int)slept.len, slept.ptr);
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
    return rc < 0 ? rc : reply_greeting(rq, api, &rows);
}
