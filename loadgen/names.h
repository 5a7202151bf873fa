/* SPDX-License-Identifier: MIT */
/* Results by the names of requests: of a worker while it runs, and their sum. */
#ifndef LOADGEN_NAMES_H
#define LOADGEN_NAMES_H

#include "loadgen/counters.h"
#include "loadgen/section.h"

#define NAMES_MAX       256
#define NAME_BYTES_MAX  200
#define NAME_STATUS_MAX 999

struct names_row {
    const char *text; /* the name; of a sum over machines the row's own */
    uint64_t ended, failed;
    uint64_t statuses[NAME_STATUS_MAX + 1];
    struct hist *latency, *ages; /* the times of counters' TIME_TOTAL */
};

struct names {
    struct names_row *rows[NAMES_MAX]; /* NULL: nothing was recorded yet */
    size_t count;
    bool owns_texts;
};

/* Rows for `count` texts, at most NAMES_MAX, which stay. *ret is NULL for 0 of them. 0 or -ENOMEM.
 */
NODISCARD int names_new(struct names **ret, char *const *texts, size_t count);
void names_free(struct names *n);

/* Records the end of a request of a name, as counters_end. */
void names_record(struct names *n, size_t name, int outcome, uint16_t status,
                  const struct timing *timing);

/* Forgets what was recorded. NULL-safe. */
void names_restart(struct names *n);

/* Adds all of `from`, which has the same texts, or NULL. */
void names_merge(struct names *to, const struct names *from);

extern const struct section names_section;

#endif
