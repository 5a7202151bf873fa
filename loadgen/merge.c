/* SPDX-License-Identifier: MIT */
/* Reads reports of schema "srv-bench/1" back and adds them up. */
#include "loadgen/merge.h"
#include "base/alloc.h"
#include "loadgen/output.h"
#include "loadgen/run.h"
#include <errno.h>
#include <jansson.h>

struct merge {
    struct loadgen_config config;
    struct target target;
    struct request request;
    struct tally tally;
    struct answers answers;
    struct report report;
    char url[2048];
    nsec_t longest;
};

static uint64_t count_in(const json_t *object, const char *key) {
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 ? (uint64_t)value : 0;
}

static nsec_t seconds_in(const json_t *object, const char *key) {
    double seconds = json_number_value(json_object_get(object, key));
    return seconds > 0 && seconds < 1e9 ? (nsec_t)(seconds * (double)NSEC_PER_SEC) : 0;
}

static void add_histogram(struct hist *to, const json_t *histograms, const char *key) {
    const json_t *buckets = json_object_get(histograms, key);
    size_t i;
    const json_t *pair;
    json_array_foreach(buckets, i, pair) {
        json_int_t usec = json_integer_value(json_array_get(pair, 0));
        json_int_t count = json_integer_value(json_array_get(pair, 1));
        if (count > 0)
            hist_record_n(to, usec, (uint64_t)count);
    }
}

static void add_histograms(struct tally *t, const json_t *histograms) {
    add_histogram(t->total, histograms, "latency_us");
    add_histogram(t->connect, histograms, "connect_us");
    add_histogram(t->processing, histograms, "processing_us");
    add_histogram(t->waiting, histograms, "wait_us");
    add_histogram(t->send, histograms, "send_us");
    add_histogram(t->receive, histograms, "receive_us");
    add_histogram(t->queue, histograms, "queue_us");
    add_histogram(t->raw, histograms, "uncorrected_us");
    add_histogram(t->fresh, histograms, "new_us");
    add_histogram(t->reused, histograms, "reused_us");
}

static void add_totals(struct tally *t, const json_t *totals, const json_t *failures) {
    t->succeeded += count_in(totals, "succeeded");
    t->non_2xx += count_in(totals, "non_2xx");
    t->kept_alive += count_in(totals, "kept_alive");
    t->in_flight += count_in(totals, "in_flight");
    t->connections += count_in(totals, "connections");
    t->reconnects += count_in(totals, "reconnects");
    t->bytes_received += count_in(totals, "bytes_received");
    t->body_bytes += count_in(totals, "body_bytes");
    t->bytes_sent += count_in(totals, "bytes_sent");
    t->planned += count_in(totals, "planned");
    t->late += count_in(totals, "late");
    t->dropped += count_in(totals, "dropped");
    nsec_t age = seconds_in(totals, "in_flight_age_max_s");
    if (age > t->in_flight_age_max)
        t->in_flight_age_max = age;
    for (int i = 0; i < FAILURE_COUNT; i++)
        t->failed[i] += count_in(failures, failure_infos[i].key);
}

/* What is said of the first file is said of all. */
static int take_first(struct merge *m, const json_t *root, struct error *err) {
    const json_t *config = json_object_get(root, "config");
    const char *url = json_string_value(json_object_get(config, "url"));
    const char *server = json_string_value(json_object_get(root, "server_software"));
    if (url == NULL || strlen(url) >= sizeof(m->url))
        return error_set(err, -EINVAL, "it names no URL");
    memcpy(m->url, url, strlen(url) + 1);
    m->config.url = m->url;
    m->config.keep_alive = json_is_true(json_object_get(config, "keep_alive"));
    m->config.variable_length = json_is_true(json_object_get(config, "variable_length"));
    m->request.has_body = json_is_true(json_object_get(config, "has_body"));
    m->tally.document_bytes = count_in(root, "document_bytes");
    if (server != NULL)
        snprintf(m->tally.server_software, sizeof(m->tally.server_software), "%s", server);
    return target_parse(&m->target, m->url, err);
}

static int add_report(struct merge *m, const json_t *root, struct error *err) {
    const char *schema = json_string_value(json_object_get(root, "schema"));
    const json_t *config = json_object_get(root, "config");
    const json_t *totals = json_object_get(root, "totals");
    const json_t *histograms = json_object_get(root, "histograms");
    if (schema == NULL || strcmp(schema, "srv-bench/1") != 0 || !json_is_object(histograms))
        return error_set(err, -EINVAL, "it is no report of srv bench");
    int rc = m->report.merged == 0 ? take_first(m, root, err) : 0;
    if (rc != 0)
        return rc;
    m->config.concurrency += (int64_t)count_in(config, "concurrency");
    m->config.workers += (int64_t)count_in(config, "workers");
    m->config.rate += json_number_value(json_object_get(config, "rate"));
    nsec_t span = seconds_in(totals, "seconds");
    if (span > m->longest)
        m->longest = span;
    add_totals(&m->tally, totals, json_object_get(root, "failures"));
    add_histograms(&m->tally, histograms);
    answers_add_json(&m->answers, root);
    m->report.merged++;
    return 0;
}

static int add_file(struct merge *m, const char *path, struct error *err) {
    json_error_t why;
    struct error reason = { .text = "" };
    json_t *root = json_load_file(path, 0, &why);
    if (root == NULL)
        return error_set(err, -EIO, "cannot read %s: %s", path, why.text);
    int rc = add_report(m, root, &reason);
    json_decref(root);
    if (rc != 0)
        return error_set(err, rc, "cannot merge %s: %s", path, reason.text);
    return 0;
}

/* Files first, then what follows from their sum. */
static int merge_all(struct merge *m, const struct option_strings *paths, struct error *err) {
    m->config.concurrency = m->config.workers = 0;
    m->config.rate = 0;
    int rc = 0;
    for (size_t i = 0; i < paths->count && rc == 0; i++)
        rc = add_file(m, paths->items[i], err);
    if (rc != 0)
        return EXIT_CANNOT;
    m->tally.first_start = 0;
    m->tally.last_end = m->longest;
    m->request.close = !m->config.keep_alive;
    m->report.config = &m->config;
    m->report.target = &m->target;
    m->report.request = &m->request;
    m->report.tally = &m->tally;
    m->report.answers = &m->answers;
    m->report.started_wall = clock_wall();
    if (output_report(&m->report, err) != 0)
        return EXIT_CANNOT;
    if (report_fails(&m->report))
        return LOADGEN_EXIT_THRESHOLD;
    return m->tally.succeeded > 0 ? 0 : LOADGEN_EXIT_NO_SUCCESS;
}

int loadgen_merge(const struct loadgen_config *config, const struct option_strings *paths,
                  struct error *err) {
    struct merge *m = mem_calloc(1, sizeof(*m));
    if (m == NULL || tally_init(&m->tally) != 0) {
        mem_free(m);
        error_set(err, -ENOMEM, "out of memory");
        return EXIT_CANNOT;
    }
    m->config = *config;
    buf_init(&m->request.bytes, 1);
    int code = merge_all(m, paths, err);
    tally_free(&m->tally);
    mem_free(m);
    return code;
}
