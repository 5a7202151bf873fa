/* SPDX-License-Identifier: MIT */
/* The report for programs: one object of JSON, of schema "srv-bench/1" (docs/bench-output.md).
 * Members are only ever added. */
#ifndef BENCH_DOCUMENT_H
#define BENCH_DOCUMENT_H

#include "base/error.h"
#include "loadgen/counters.h"
#include "loadgen/report.h"
#include <jansson.h>
#include <stdio.h>

/* The distributions under their keys. */
struct document_time {
    const char *key;
    enum counters_time time;
};
extern const struct document_time document_times[];
extern const size_t document_time_count;

/* The object. For json_decref; NULL when out of memory. */
NODISCARD json_t *document_make(const struct report *r);

/* Reads such an object back, or what --find-max wrote when that will do. For json_decref; -errno
 * with the file and the reason. */
NODISCARD int document_read(json_t **ret, const char *path, bool or_search, struct error *err);

/* The object and a newline. 0, -ENOMEM, or -EIO. */
NODISCARD int document_write(FILE *out, const struct report *r);

#endif
