/* SPDX-License-Identifier: MIT */
/* App `db`: half of the delay in the slow API, half in PostgreSQL; what one blocking call does to a
 * loop. */
#include <srv/app.h>
#include <string.h>

/* "2026-11-23 02:55:59.2102+00": PostgreSQL leaves out trailing zeros. Answers of another length
 * would count as failures of ab's, so they come back. */
static const char *with_zeros(srv_request *rq, const char *now) {
    static const char zeros[] = ".000000";
    size_t zone = strcspn(now, ".+"), digits = 0;

    if (now[zone] == '.')
        digits = 1 + strspn(now + zone + 1, "0123456789"); /* the dot is one of them */
    zone += digits;
    if (now[zone] == '\0' || digits >= strlen(zeros))
        return now;
    return srv_format(rq, "%.*s%s%s", (int)zone, now, zeros + digits, now + zone);
}

/* A view or a function of that name may hide PostgreSQL's own. */
static int reply_no_row(srv_request *rq) {
    return srv_fail(rq, 500, "the database answered without a row");
}

/* A round trip to the database and nothing else: what the path through the server costs. */
static int now_page(srv_request *rq) {
    const srv_rows *rows = srv_query(rq, "SELECT NOW()", 0);

    if (rows->rows == 0)
        return reply_no_row(rq);
    return srv_reply(rq, 200, "%s", with_zeros(rq, srv_value(rows, 0, 0)));
}

static int index_page(srv_request *rq) {
    double delay = srv_seconds(rq, "delay", srv_arg(rq, "delay", "1"));
    const char *half = srv_format(rq, "%.9f", delay / 2);
    const srv_response *api = srv_get(rq, "?delay=%s", half);
    const srv_rows *rows;

    if (api->status != 200)
        return srv_fail(rq, 502, "upstream answered %d", api->status);
    rows = srv_query(rq, "SELECT NOW(), pg_sleep($1)", 1, half);
    if (rows->rows == 0)
        return reply_no_row(rq);
    return srv_reply(rq, 200, "Hi there! %s (%s, %s)", api->text,
                     with_zeros(rq, srv_value(rows, 0, 0)), srv_value(rows, 0, 1));
}

SRV_APP(.routes = (const srv_route[]){ { "/", index_page }, { "/now", now_page }, { NULL, NULL } })
