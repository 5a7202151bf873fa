/* SPDX-License-Identifier: MIT */
/* Collects the figures of a run and writes them as JSON. */
#include "playground/result.h"
#include "base/attr.h"
#include "base/stream.h"
#include <errno.h>
#include <jansson.h>
#include <unistd.h>

int result_add_point(struct play_result *result, const struct series_point *point) {
    const struct probe_sample *total = &point->total;
    if (total->threads > result->threads_during)
        result->threads_during = total->threads;
    result->samples++;
    result->sleeping_during += (total->sleeping - result->sleeping_during) / result->samples;
    return series_add(&result->series, point);
}

void result_calls_max(struct play_result *result, uint32_t calls_max) {
    if (calls_max != GAUGE_UNKNOWN && calls_max > result->calls_max)
        result->calls_max = calls_max;
}

void result_free(struct play_result *result) {
    series_free(&result->series);
    latencies_free(&result->latencies);
}

int result_read_report(struct play_result *result, int fd, struct error *err) {
    if (lseek(fd, 0, SEEK_SET) != 0)
        return error_set(err, -EPROTO, "the report of srv bench cannot be read");
    json_error_t why;
    json_t *report = json_loadfd(fd, JSON_DISABLE_EOF_CHECK, &why);
    if (report == NULL)
        return error_set(err, -EPROTO, "srv bench left no report: %s", why.text);

    json_int_t requests = 0, succeeded = 0;
    json_t *p50, *p90, *p99, *max; /* null when there was no answer */
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

static double usec_per_request(const struct play_result *result, nsec_t cpu) {
    return result->requests == 0 ? 0 : (double)cpu / NSEC_PER_USEC / (double)result->requests;
}

double result_cpu_usec(const struct play_result *result) {
    return usec_per_request(result, result->cpu);
}

double result_process_cpu_usec(const struct play_result *result, size_t process) {
    return usec_per_request(result, result->process_cpu[process]);
}

double result_tutorial_seconds(const struct play_result *result) {
    return catalogue_same_load(&result->load, &result->row->load) ? result->row->tutorial_seconds
                                                                  : 0;
}

const struct play_load *result_usual_load(const struct play_result *results, size_t count) {
    const struct play_load *usual = NULL;
    size_t most = 0;
    for (size_t i = 0; i < count; i++) {
        size_t same = 0;
        for (size_t j = 0; j < count && results[i].skipped[0] == '\0'; j++)
            same += results[j].skipped[0] == '\0' &&
                    catalogue_same_load(&results[i].load, &results[j].load);
        if (same > most ||
            (same == most && usual != NULL && results[i].load.requests > usual->requests)) {
            usual = &results[i].load;
            most = same;
        }
    }
    return usual;
}

bool result_has_load(const struct play_result *result, const struct play_load *load) {
    return result->skipped[0] == '\0' && catalogue_same_load(&result->load, load);
}

/* Whether the row is the first one with its load, and that load is not the usual one. */
static bool begins_load(const struct play_result *results, size_t i,
                        const struct play_load *usual) {
    if (results[i].skipped[0] != '\0' || catalogue_same_load(&results[i].load, usual))
        return false;
    for (size_t j = 0; j < i; j++)
        if (result_has_load(&results[j], &results[i].load))
            return false;
    return true;
}

const struct play_load *result_next_load(const struct play_result *results, size_t count,
                                         size_t *at) {
    const struct play_load *usual = result_usual_load(results, count);
    if (usual == NULL || (*at)++ == 0)
        return usual;
    for (; *at - 2 < count; (*at)++)
        if (begins_load(results, *at - 2, usual)) {
            return &results[*at - 2].load;
        }
    return NULL;
}

static double seconds_of(nsec_t span) {
    return (double)span / NSEC_PER_SEC;
}

static json_t *load_json(const struct play_load *load) {
    return json_pack("{s:I, s:I, s:f}", "requests", (json_int_t)load->requests, "concurrency",
                     (json_int_t)load->concurrency, "delay_seconds", seconds_of(load->delay));
}

static json_t *latency_json(const struct play_result *r) {
    return json_pack("{s:I, s:I, s:I, s:I}", "p50", (json_int_t)r->p50_usec, "p90",
                     (json_int_t)r->p90_usec, "p99", (json_int_t)r->p99_usec, "max",
                     (json_int_t)r->max_usec);
}

static json_t *threads_json(const struct play_result *r) {
    return json_pack("{s:I, s:I, s:I, s:f, s:I}", "before", (json_int_t)r->threads_before,
                     "sleeping_before", (json_int_t)r->sleeping_before, "during_max",
                     (json_int_t)r->threads_during, "sleeping_during_mean", r->sleeping_during,
                     "samples", (json_int_t)r->samples);
}

/* -1 for what nobody said. */
static json_int_t known(uint32_t in_flight) {
    return in_flight == GAUGE_UNKNOWN ? -1 : (json_int_t)in_flight;
}

/* The series of the measured processes, one list per figure; null is a gap. */
static json_t *series_json(const struct play_result *r) {
    static const char *const names[] = {
        "elapsed_ms",
        "threads",
        "sleeping",
        "running",
        "cpu_us",
        "rss_bytes",
        "client_connections",
        "upstream_connections",
        "requests_in_flight",
        "upstream_calls_in_flight",
    };
    size_t target = catalogue_process_count(r->row) - 1;
    json_t *lists[ARRAY_LEN(names)], *object = json_object();
    int rc = 0;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        lists[i] = json_array();
        rc |= json_object_set_new(object, names[i], lists[i]);
    }
    for (size_t i = 0; rc == 0 && i < r->series.count; i++) {
        const struct series_point *point = &r->series.points[i];
        const struct probe_sample *total = &point->total;
        const json_int_t values[ARRAY_LEN(names)] = {
            point->elapsed / NSEC_PER_MSEC,
            total->threads,
            total->sleeping,
            total->running,
            total->cpu / NSEC_PER_USEC,
            (json_int_t)total->rss_bytes,
            point->connections[target],
            point->connections[0],
            known(point->in_flight[target]),
            known(point->in_flight[0]),
        };
        for (size_t f = 0; f < ARRAY_LEN(names); f++)
            rc |= json_array_append_new(lists[f],
                                        values[f] < 0 ? json_null() : json_integer(values[f]));
    }
    if (rc == 0)
        return object;
    json_decref(object);
    return NULL;
}

/* {NAME: microseconds of CPU time per request of the load} */
static json_t *processes_json(const struct play_result *r) {
    json_t *object = json_object();
    for (size_t i = 0; i < catalogue_process_count(r->row); i++)
        if (json_object_set_new(object, r->row->processes[i].name,
                                json_real(result_process_cpu_usec(r, i))) != 0) {
            json_decref(object);
            return NULL;
        }
    return object;
}

static json_t *skipped_json(const struct play_result *r) {
    return json_pack("{s:s, s:s?, s:s, s:s}", "name", r->row->name, "alias", r->row->alias, "title",
                     r->row->title, "skipped", r->skipped);
}

static json_t *result_json(const struct play_result *r) {
    if (r->skipped[0] != '\0')
        return skipped_json(r);
    json_t *object =
        json_pack("{s:s, s:s?, s:s, s:o, s:o, s:o, s:o, s:o}", "name", r->row->name, "alias",
                  r->row->alias, "title", r->row->title, "load", load_json(&r->load), "latency_us",
                  latency_json(r), "threads", threads_json(r), "series", series_json(r),
                  "process_cpu_us_per_request", processes_json(r));
    json_t *figures = json_pack(
        "{s:f, s:f, s:f, s:I, s:I, s:f, s:f, s:f, s:I, s:I}", "seconds", r->seconds,
        "ideal_seconds", seconds_of(r->ideal), "tutorial_seconds", result_tutorial_seconds(r),
        "requests", (json_int_t)r->requests, "failed", (json_int_t)r->failed, "requests_per_second",
        r->requests_per_second, "cpu_seconds", seconds_of(r->cpu), "cpu_us_per_request",
        result_cpu_usec(r), "memory_peak_bytes", (json_int_t)r->memory_peak_bytes,
        "upstream_calls_in_flight_max", (json_int_t)r->calls_max);
    int rc = json_object_update(object, figures);
    json_decref(figures);
    if (rc == 0)
        return object;
    json_decref(object);
    return NULL;
}

int result_write_json(const struct play_result *results, size_t count, FILE *out) {
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(list, result_json(&results[i])) != 0)
            break;
    bool complete = json_array_size(list) == count;
    json_t *document = json_pack("{s:o}", "playgrounds", list);
    if (!complete || document == NULL) {
        json_decref(document);
        return -ENOMEM;
    }

    errno = 0;
    int rc = json_dumpf(document, out, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    if (rc == 0 && fputc('\n', out) != EOF)
        rc = stream_flush(out);
    else
        rc = errno != 0 ? -errno : -EIO;
    json_decref(document);
    return rc;
}
