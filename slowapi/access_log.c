/* SPDX-License-Identifier: MIT */
/* Makes the lines of the access log. */
#include "slowapi/access_log.h"
#include "base/json.h"
#include "base/log.h"
#include <stdlib.h>
#include <string.h>

#define URL_BYTES 2048 /* a longer URL is cut, and ends in "..." */

static json_t *milliseconds(nsec_t span) {
    return json_real((double)span / 1e6);
}

static json_t *faults_of(const struct reply *reply) {
    json_t *list = json_array();
    char text[FAULT_TEXT_BYTES];

    for (size_t i = 0; i < reply->fault_count; i++)
        if (reply->faults[i].done)
            json_array_append_new(list, json_string(fault_format(&reply->faults[i], text)));
    return list;
}

/* A string, for there are readers that keep 53 bits of a number. */
static json_t *seed_of(const struct reply *reply) {
    return reply->shows_truth ? json_sprintf("%llu", (unsigned long long)reply->seed) : json_null();
}

static void add_reply(json_t *json, const struct reply *reply, const struct access_log_facts *facts,
                      size_t url_bytes_max) {
    nsec_t late = reply->late;

    json_object_set_new(json, "method",
                        json_string(http_method_name((enum http_method)reply->method)));
    json_object_set_new(json, "url", json_text(slice_str(reply->target), url_bytes_max));
    json_object_set_new(json, "rule",
                        reply->rule != NULL ? json_text(slice_str(reply->rule), SIZE_MAX)
                                            : json_null());
    json_object_set_new(json, "seed", seed_of(reply));
    json_object_set_new(json, "planned_ms", milliseconds(reply->delay));
    json_object_set_new(json, "queued_ms", milliseconds(reply->queued));
    json_object_set_new(json, "actual_ms",
                        facts->has_begun ? milliseconds(reply->delay + late) : json_null());
    json_object_set_new(json, "late_ms", facts->has_begun ? milliseconds(late) : json_null());
    json_object_set_new(json, "total_ms", milliseconds(clock_now() - reply->begun_at));
    json_object_set_new(json, "upstream_ms",
                        facts->upstream >= 0 ? milliseconds(facts->upstream) : json_null());
    json_object_set_new(json, "faults", faults_of(reply));
    json_object_set_new(json, "units", json_integer((json_int_t)reply->sent));
}

static json_t *tls_json(const struct tls_facts *tls) {
    if (tls == NULL)
        return json_null();
    return json_pack("{s:s, s:s, s:s?, s:b}", "version", tls->version, "cipher", tls->cipher,
                     "server_name", tls->server_name, "resumed", tls->resumed);
}

static char *line_of(const struct reply *reply, const struct access_log_facts *facts,
                     size_t url_bytes_max) {
    char time[CLOCK_TEXT_BYTES];
    json_t *json = json_object();

    json_object_set_new(json, "time", json_string(clock_format(clock_wall(), time)));
    json_object_set_new(json, "client", json_string(facts->client));
    json_object_set_new(json, "tls", tls_json(facts->tls));
    if (reply != NULL)
        add_reply(json, reply, facts, url_bytes_max);
    json_object_set_new(json, "status",
                        facts->status != 0 ? json_integer(facts->status) : json_null());
    json_object_set_new(json, "bytes", json_integer((json_int_t)facts->bytes));
    json_object_set_new(json, "outcome", json_string(facts->outcome));
    return json_line(json);
}

bool slow_access_log_put(const struct logger *logger, char *line) {
    size_t end = line != NULL ? strlen(line) : 0;
    bool written = false;

    if (line != NULL && end < LOGGER_LINE_BYTES) {
        line[end] = '\n'; /* in place of the NUL: the length is known */
        written = logger_write(logger, slice_of(line, end + 1));
    }
    free(line);
    return written;
}

bool slow_access_log_write(const struct logger *logger, const struct reply *reply,
                           const struct access_log_facts *facts) {
    static struct log_rate rate = { .per_second = 1 };
    char *line = line_of(reply, facts, URL_BYTES);

    if (line != NULL && strlen(line) >= LOGGER_LINE_BYTES) { /* escapes are longer than bytes */
        free(line);
        line = line_of(reply, facts, URL_BYTES / 8);
    }
    bool written = slow_access_log_put(logger, line);
    if (!written)
        log_limited(&rate, LOG_LEVEL_WARN, "access log lines were dropped");
    return written;
}
