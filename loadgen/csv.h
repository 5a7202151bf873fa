/* SPDX-License-Identifier: MIT */
/* A file of comma-separated values (RFC 4180) whose first row names the columns: mapped, with eight
 * bytes of memory per row. */
#ifndef LOADGEN_CSV_H
#define LOADGEN_CSV_H

#include "loadgen/input.h"

#define CSV_COLUMNS_MAX 256

struct csv {
    struct input input;
    struct slice columns[CSV_COLUMNS_MAX]; /* the fields of the first row, as they stand there */
    size_t column_count;
    size_t *rows; /* offsets in the text */
    size_t row_count, row_cap;
};

/* Opens and checks the file: each row has as many fields as the first, and there is one behind it.
 * 0 or -errno with the reason, and the number of the line; csv_close in any case. */
NODISCARD int csv_open(struct csv *c, const char *path, struct error *err);
void csv_close(struct csv *c);

/* The number of the column with that name; -ENOENT: there is none. */
NODISCARD int csv_column(const struct csv *c, struct slice name);

/* The field of a row, both below their counts, as it stands in the file; *ret_is_quoted: between
 * its quotes, and two quotes stand for one. */
struct slice csv_field(const struct csv *c, size_t row, size_t column, bool *ret_is_quoted);

#endif
