/* SPDX-License-Identifier: MIT */
/* A part of the report that a feature adds, in text and in JSON, and what such parts are made of.
 *
 * A feature has its section in a file of its own, and one line in the table output_sections:
 *
 *     stages.c      const struct section stages_section = {
 *                       .print = print_stages,      "\nStages\n", and a line for each
 *                       .put = put_stages,          "stages": [...]
 *                       .add = add_stages,          --merge: a file's member into the sum
 *                   };
 *     output.c      &stages_section,
 *
 * The figures themselves are reached through struct report: those that workers count are members of
 * struct counters, which counters_merge adds up; anything else is a pointer of its own there.
 * A section says nothing in text when it has nothing to say. Scripts look for ab's lines in the
 * same text, so that its words must not be ab's: bench/text.c says which. The member in JSON is
 * always there, null or empty at least, and docs/bench-output.md describes it. */
#ifndef LOADGEN_SECTION_H
#define LOADGEN_SECTION_H

#include "base/error.h"
#include "base/json.h"
#include "loadgen/percentile.h"
#include "loadgen/report.h"
#include <stdio.h>

#define SECTION_COUNT_MAX INT64_C(900000000000000)

struct section {
    /* After an empty line of its own; not in ab's forms of the report (--ab-strict, -w). */
    void (*print)(FILE *out, const struct report *r);
    void (*put)(struct json_draft root, const struct report *r);

    /* NULL, or adds what `root`, a whole report of another machine, has of it. 0; or -errno with
     * the reason in `err`. */
    int (*add)(struct counters *sum, const json_t *root, struct error *err);
};

/* All sections of a report in their order; none when it has none. */
void sections_print(FILE *out, const struct report *r);
void sections_put(struct json_draft root, const struct report *r);
int sections_add(const struct report *r, struct counters *sum, const json_t *root,
                 struct error *err);

/* --- in text ---------------------------------------------------------------------------------- */

/* The label of a line, in the width that all have. */
void section_label(FILE *out, const char *label);

/* A table of times: an empty line and the columns' heads; a row; a row unless all its times are 0,
 * as of a phase that nobody went through. */
void section_columns(FILE *out, const char *label);
void section_row(FILE *out, const char *label, struct times t);
void section_phase(FILE *out, const char *label, struct times t);

/* Spells what a user wrote with its percent signs apart from the numbers, so that what looks for
 * ab's "50%" finds ab's. Returns `text`, of SECTION_SPELLED_BYTES; too long a one is cut. */
#define SECTION_SPELLED_BYTES 192
const char *section_spell(const char *written, char *text);

/* --- in JSON ---------------------------------------------------------------------------------- */

/* A member with count, percentiles, mean and so on, in microseconds. */
void section_put_times(struct json_draft o, const char *key, struct times t);

/* A member that --merge adds up: a list of [the largest value of a bucket, how many are in it]. */
void section_put_histogram(struct json_draft o, const char *key, const struct hist *h);

/* A count of a report that may be any JSON: 0 when it is none, and at most SECTION_COUNT_MAX, so
 * that sums of LOADGEN_SHARDS_MAX of them fit 63 bits. */
uint64_t section_count_of(const json_t *number);
uint64_t section_count(const json_t *object, const char *key);

/* Adds such a list to a histogram. */
void section_add_histogram(struct hist *to, const json_t *buckets);

/* Microseconds, or null when nothing was measured: nothing has no minimum. */
NODISCARD json_t *section_usec(bool any, int64_t usec);

#endif
