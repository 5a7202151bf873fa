/* SPDX-License-Identifier: MIT */
/* Collects the samples of a run, and reads what the load generator wrote about it. */
#include "playground/result.h"
#include "base/alloc.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FIRST_POINTS 64
#define LINE_BYTES   256

/* --- samples -------------------- */

/* Drops every second point; from now on only half as many are taken. */
static void thin_out(struct series *s) {
    for (size_t i = 0; i < s->count / 2; i++)
        s->points[i] = s->points[2 * i];
    s->count /= 2;
    s->stride *= 2;
}

static int series_add(struct series *s, const struct series_point *point) {
    if (s->stride == 0)
        s->stride = 1;
    if (s->count > 0 && ++s->skipped < s->stride)
        return 0;
    s->skipped = 0;
    if (s->count == SERIES_POINTS_MAX)
        thin_out(s);
    if (s->count == s->capacity) {
        size_t capacity = s->capacity == 0 ? FIRST_POINTS : 2 * s->capacity;
        struct series_point *points = mem_realloc(s->points, capacity * sizeof(*points));
        if (points == NULL)
            return -ENOMEM;
        s->points = points;
        s->capacity = capacity;
    }
    s->points[s->count++] = *point;
    return 0;
}

int result_add_point(struct play_result *result, const struct series_point *point) {
    const struct procstat *total = &point->total;
    if (total->threads > result->threads_during)
        result->threads_during = total->threads;
    result->samples++;
    result->sleeping_during += (total->sleeping - result->sleeping_during) / result->samples;
    return series_add(&result->series, point);
}

int result_add_waits(struct wait_history **history, nsec_t elapsed,
                     const struct wait_sample *sample) {
    if (*history == NULL)
        *history = mem_calloc(1, sizeof(**history));
    return *history == NULL ? -ENOMEM : history_add(*history, elapsed, sample);
}

static void free_waits(struct wait_history **history) {
    if (*history != NULL)
        history_free(*history);
    mem_free(*history);
    *history = NULL;
}

/* --- the load generator's report -------------------- */

static int read_report(struct play_result *result, int fd, struct error *err) {
    if (lseek(fd, 0, SEEK_SET) != 0)
        return error_set(err, -EPROTO, "the report of srv bench cannot be read");
    json_error_t why;
    json_t *report = json_loadfd(fd, JSON_DISABLE_EOF_CHECK, &why);
    if (report == NULL)
        return error_set(err, -EPROTO, "srv bench left no report: %s", why.text);

    json_int_t requests = 0, succeeded = 0;
    json_t *p50, *p90, *p99, *max; /* null without an answer */
    int rc = json_unpack_ex(report, &why, 0, "{s:{s:F, s:I, s:I, s:F}, s:{s:o, s:o, s:o, s:o}}",
                            "totals", "seconds", &result->seconds, "requests", &requests,
                            "succeeded", &succeeded, "rps", &result->requests_per_second,
                            "latency_us", "p50", &p50, "p90", &p90, "p99", &p99, "max", &max);
    if (rc != 0) {
        json_decref(report);
        return error_set(err, -EPROTO, "the report of srv bench is incomplete: %s", why.text);
    }

    result->requests = (uint64_t)requests;
    result->failed = (uint64_t)(result->load.requests - succeeded);
    result->p50_usec = json_integer_value(p50);
    result->p90_usec = json_integer_value(p90);
    result->p99_usec = json_integer_value(p99);
    result->max_usec = json_integer_value(max);
    json_decref(report);
    return 0;
}

/* --- its lines, one for each request -------------------- */

/* A line is start_us,outcome,status,total_us,... False for the heading and for any other line. */
static bool parse_line(const char *line, struct latency *ret) {
    char outcome[32];
    int64_t start_usec;
    int status;

    if (sscanf(line, "%" SCNd64 ",%31[^,],%d,%" SCNd64, &start_usec, outcome, &status,
               &ret->total_usec) != 4 ||
        ret->total_usec < 0)
        return false;
    ret->end_usec = start_usec + ret->total_usec;
    ret->failed = strcmp(outcome, "ok") != 0;
    return true;
}

static bool next_line(FILE *lines, struct latency *ret) {
    char line[LINE_BYTES];

    while (fgets(line, sizeof(line), lines) != NULL)
        if (parse_line(line, ret))
            return true;
    return false;
}

static void count_one(struct latencies *l, const struct latency *one) {
    size_t bin = l->slowest_usec == 0
                     ? 0
                     : (size_t)(one->total_usec * LATENCIES_BINS / (l->slowest_usec + 1));
    l->bins[bin]++;
}

/* The slowest has to be known before anything can be counted: the lines are read twice. */
static int read_twice(struct latencies *l, FILE *lines) {
    struct latency one;
    size_t seen = 0;

    for (; next_line(lines, &one); l->requests++)
        l->slowest_usec = one.total_usec > l->slowest_usec ? one.total_usec : l->slowest_usec;
    if (l->requests == 0)
        return 0;
    size_t stride = (size_t)(l->requests + LATENCIES_POINTS_MAX - 1) / LATENCIES_POINTS_MAX;
    l->points = mem_calloc(LATENCIES_POINTS_MAX, sizeof(*l->points));
    if (l->points == NULL)
        return -ENOMEM;
    rewind(lines);
    while (next_line(lines, &one)) {
        count_one(l, &one);
        if (seen++ % stride == 0)
            l->points[l->count++] = one;
    }
    return ferror(lines) ? -EIO : 0;
}

static int latencies_read(struct latencies *l, int fd) {
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    FILE *lines = copy < 0 ? NULL : fdopen(copy, "r");
    int rc;

    *l = (struct latencies){ .count = 0 };
    if (lines == NULL) {
        if (copy >= 0)
            close(copy);
        return -EIO;
    }
    rewind(lines);
    rc = read_twice(l, lines);
    fclose(lines);
    return rc;
}

int result_read(struct play_result *result, int report_fd, int requests_fd, struct error *err) {
    int rc = read_report(result, report_fd, err);
    if (rc == 0 && requests_fd >= 0 && latencies_read(&result->latencies, requests_fd) == -ENOMEM)
        return error_set(err, -ENOMEM, "out of memory");
    return rc;
}

void result_free(struct play_result *result) {
    free_waits(&result->waits);
    free_waits(&result->request_waits);
    mem_free(result->series.points);
    mem_free(result->latencies.points);
    result->series = (struct series){ .count = 0 };
    result->latencies = (struct latencies){ .count = 0 };
}
