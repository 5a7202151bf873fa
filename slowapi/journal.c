/* SPDX-License-Identifier: MIT */
/* Writes the access log. */
#include "slowapi/journal.h"
#include "base/alloc.h"
#include "base/safe_path.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int journal_open(const char *path, struct error *err) {
    struct error why = { "" };
    struct safe_path file;
    int fd;

    if (strcmp(path, "-") == 0)
        return STDOUT_FILENO;
    fd = safe_path_find(&file, path, SAFE_PATH_FOLLOW, &why);
    if (fd == 0)
        fd = safe_path_append(&file, SAFE_PATH_ANY, SAFE_PATH_ANY, &why);
    safe_path_close(&file);
    return fd >= 0 ? fd
                   : error_set(err, fd, "cannot write the access log '%s': %s", path, why.text);
}

static json_t *faults_of(const struct reply *reply) {
    json_t *list = json_array();
    char text[FAULT_TEXT_BYTES];

    for (size_t i = 0; i < reply->fault_count; i++)
        if (reply->faults[i].done)
            json_array_append_new(list, json_string(fault_format(&reply->faults[i], text)));
    return list;
}

void journal_write(int fd, const struct reply *reply, const char *outcome) {
    nsec_t actual = clock_now() - reply->begun_at;
    char time[CLOCK_TEXT_BYTES];
    size_t len = reply->target != NULL ? strlen(reply->target) : 0;

    json_t *json =
        json_pack("{s:s, s:s, s:s%, s:i, s:f, s:f, s:f, s:f, s:o, s:I, s:s}", "time",
                  clock_format(clock_wall(), time), "method",
                  http_method_name((enum http_method)reply->method), "url", reply->target, len,
                  "status", (int)reply->status, "planned_ms", (double)reply->delay / 1e6,
                  "queued_ms", (double)reply->queued / 1e6, "actual_ms", (double)actual / 1e6,
                  "late_ms", (double)(actual - reply->delay) / 1e6, "faults", faults_of(reply),
                  "units", (json_int_t)reply->sent, "outcome", outcome);
    char *line = json != NULL ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(json);
    if (line == NULL)
        return;

    size_t end = strlen(line);
    line[end] = '\n'; /* in place of the NUL: the length is known */
    if (write(fd, line, end + 1) < 0) {
        /* a full disk must not stop the service, and there is nowhere to tell it each time */
    }
    free(line);
}
