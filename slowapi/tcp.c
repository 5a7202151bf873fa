/* SPDX-License-Identifier: MIT */
/* Logs connections of proxies, and lets the control endpoint change what is done to them. */
#include "slowapi/tcp.h"
#include "base/json.h"
#include "http/url.h"
#include "slowapi/access_log.h"
#include <errno.h>

#define QUERY_BYTES_MAX 512 /* encoded */

/* --- the access log --------------------------------------------------------------------------- */

static char *line_of(const struct relay_facts *facts) {
    char time[CLOCK_TEXT_BYTES];
    json_t *faults = json_array();

    for (size_t i = 0; i < facts->fault_count; i++)
        json_array_append_new(faults, json_string(facts->faults[i]));
    return json_line(
        json_pack("{s:s, s:s, s:s, s:s, s:o, s:f, s:o, s:I, s:I, s:I, s:s}", "time",
                  clock_format(clock_wall(), time), "client", facts->client, "tcp", facts->proxy,
                  "target", facts->target, "connect_ms",
                  facts->connect >= 0 ? json_real((double)facts->connect / 1e6) : json_null(),
                  "total_ms", (double)facts->took / 1e6, "faults", faults, "bytes_up",
                  (json_int_t)facts->bytes_up, "bytes_down", (json_int_t)facts->bytes_down,
                  "bytes_dropped", (json_int_t)facts->bytes_dropped, "outcome", facts->outcome));
}

bool slow_tcp_log(const struct logger *logger, const struct relay_facts *facts) {
    return slow_access_log_put(logger, line_of(facts));
}

/* --- /tcp ------------------------------------------------------------------------------------- */

int slow_tcp_edit(struct relay_table *table, const struct control_request *rq, struct error *err) {
    enum relay_edit edit = rq->method == CONTROL_PUT     ? RELAY_REPLACE
                           : rq->method == CONTROL_PATCH ? RELAY_MERGE
                                                         : RELAY_RESTORE;
    char room[QUERY_BYTES_MAX];

    long len = rq->query.len <= sizeof(room) ? http_percent_decode(rq->query, room) : -EINVAL;
    if (len < 0)
        return error_set(err, -EINVAL, "the query is too long, or has a bad percent-escape");
    return relay_table_edit(table, edit, slice_of(room, (size_t)len), rq->body, err);
}
