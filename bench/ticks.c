/* SPDX-License-Identifier: MIT */
/* Writes a row of a run as a line of JSON. */
#include "bench/ticks.h"
#include "base/alloc.h"
#include "base/json.h"
#include "loadgen/band.h"
#include <errno.h>

static void put_latencies(struct json_draft o, const struct hist *latency) {
    json_t *list = json_array();
    struct band band = { 0, 0 };
    uint32_t cursor = 0;
    int64_t usec;
    uint64_t count;
    while (hist_next(latency, &cursor, &usec, &count)) {
        if (band.count > 0 && band_of(usec) != band_of(band.usec)) {
            json_append(o, list, json_pack("[II]", (json_int_t)band.usec, (json_int_t)band.count));
            band.count = 0;
        }
        band = (struct band){ usec, band.count + count };
    }
    if (band.count > 0)
        json_append(o, list, json_pack("[II]", (json_int_t)band.usec, (json_int_t)band.count));
    json_put(o, "latency_us", list);
}

static void put_totals(struct json_draft o, const struct live_totals *sum) {
    json_put_count(o, "planned", sum->planned);
    json_put_count(o, "late", sum->late);
    json_put_count(o, "dropped", sum->dropped);
    struct json_draft statuses = json_put_object(o, "statuses");
    for (int i = 0; i < ANSWERS_STATUSES; i++) {
        char status[8];
        snprintf(status, sizeof(status), "%d", i);
        if (sum->statuses[i] > 0)
            json_put_count(statuses, status, sum->statuses[i]);
    }
    struct json_draft failures = json_put_object(o, "failures");
    for (int i = 0; i < FAILURE_COUNT; i++)
        if (sum->failed[i] > 0)
            json_put_count(failures, failure_infos[i].key, sum->failed[i]);
}

static void on_row(struct live_watcher *watcher, const struct live *l, const struct live_row *row) {
    struct ticks *t = CONTAINER_OF(watcher, struct ticks, watcher);
    bool ok = true;
    struct json_draft o = { json_object(), &ok };
    json_put_real(o, "second", row->second);
    json_put_real(o, "seconds", row->length);
    json_put_count(o, "ended", row->requests);
    json_put_count(o, "failed", row->failed);
    json_put_count(o, "in_flight", row->in_flight);
    json_put_real(o, "mean_us", row->answers > 0 ? hist_mean(l->row.latency) : 0);
    put_latencies(o, l->row.latency);
    live_sum_totals(l, t->sum);
    put_totals(o, t->sum);
    if (!ok) {
        json_decref(o.json);
        o.json = NULL;
    }
    int rc = json_write(t->out, o.json, true);
    if (rc == 0 && fflush(t->out) != 0)
        rc = -errno;
    t->rc = t->rc != 0 ? t->rc : rc;
}

void ticks_start(struct ticks *t, struct live *l, FILE *out) {
    *t = (struct ticks){ .watcher = { .on_row = on_row }, .out = out };
    t->sum = mem_alloc(sizeof(*t->sum));
    t->rc = t->sum != NULL ? live_want_totals(l) : -ENOMEM;
    if (t->rc == 0)
        live_watch(l, &t->watcher);
}

void ticks_free(struct ticks *t) {
    mem_free(t->sum);
    t->sum = NULL;
}
