/* SPDX-License-Identifier: MIT */
/* Finds rows and fields of comma-separated values. */
#include "loadgen/csv.h"
#include "base/alloc.h"
#include <errno.h>

enum { ROWS_FIRST = 1024 };

/* Cuts a field, and the comma behind it. *ret_ends: it was the last one of its row, whose end is
 * cut, too. False for a quote that is never closed, or closed within a field. */
static bool cut_field(struct slice *rest, struct slice *ret, bool *ret_is_quoted, bool *ret_ends) {
    size_t len = 0;
    *ret_is_quoted = rest->len > 0 && rest->ptr[0] == '"';
    if (*ret_is_quoted) {
        for (len = 1; len < rest->len; len++) {
            if (rest->ptr[len] != '"')
                continue;
            if (len + 1 < rest->len && rest->ptr[len + 1] == '"')
                len++;
            else
                break;
        }
        if (len >= rest->len)
            return false;
        *ret = slice_of(rest->ptr + 1, len - 1);
        *rest = slice_drop(*rest, len + 1);
        len = 0;
    }
    while (len < rest->len && rest->ptr[len] != ',' && rest->ptr[len] != '\n')
        len++;
    struct slice plain = slice_take(*rest, len);
    *ret_ends = len == rest->len || rest->ptr[len] == '\n';
    if (*ret_ends && plain.len > 0 && plain.ptr[plain.len - 1] == '\r')
        plain.len--;
    *rest = slice_drop(*rest, len + 1);
    if (*ret_is_quoted)
        return plain.len == 0;
    *ret = plain;
    return true;
}

/* Cuts a row and counts its fields; -EINVAL for quotes that are not closed where they should be. */
static int cut_row(struct slice *rest, size_t *ret_fields) {
    struct slice field;
    bool is_quoted, ends = false;
    for (*ret_fields = 0; !ends; (*ret_fields)++)
        if (!cut_field(rest, &field, &is_quoted, &ends))
            return -EINVAL;
    return 0;
}

static size_t lines_in(struct slice text) {
    size_t count = 1;
    while (text.len > 0) {
        size_t len = slice_find(text, '\n');
        count += len < text.len;
        text = slice_drop(text, len + 1);
    }
    return count;
}

static int read_columns(struct csv *c, struct slice *rest, const char *path, struct error *err) {
    bool is_quoted, ends = false;
    while (!ends) {
        if (c->column_count == CSV_COLUMNS_MAX)
            return error_set(err, -EINVAL, "%s has more than %d columns", path, CSV_COLUMNS_MAX);
        if (!cut_field(rest, &c->columns[c->column_count], &is_quoted, &ends))
            return error_set(err, -EINVAL, "%s:1: a quote is not closed where it should be", path);
        c->columns[c->column_count] = slice_trim(c->columns[c->column_count]);
        c->column_count++;
    }
    return 0;
}

static int add_row(struct csv *c, size_t offset) {
    if (c->row_count == c->row_cap) {
        size_t cap = c->row_cap > 0 ? c->row_cap * 2 : ROWS_FIRST;
        size_t *rows = mem_realloc(c->rows, cap * sizeof(*rows));
        if (rows == NULL)
            return -ENOMEM;
        c->rows = rows;
        c->row_cap = cap;
    }
    c->rows[c->row_count++] = offset;
    return 0;
}

static bool is_blank(struct slice rest) {
    return rest.len > 0 && (rest.ptr[0] == '\n' || slice_starts_with(rest, SLICE("\r\n")));
}

static int read_rows(struct csv *c, struct slice rest, const char *path, struct error *err) {
    struct slice text = c->input.text;
    while (rest.len > 0) {
        size_t offset = (size_t)(rest.ptr - text.ptr), fields;
        if (is_blank(rest)) {
            rest = slice_drop(rest, slice_find(rest, '\n') + 1);
            continue;
        }
        int rc = cut_row(&rest, &fields);
        if (rc != 0)
            return error_set(err, rc, "%s:%zu: a quote is not closed where it should be", path,
                             lines_in(slice_take(text, offset)));
        if (fields != c->column_count)
            return error_set(err, -EINVAL, "%s:%zu: %zu fields, and the first row has %zu", path,
                             lines_in(slice_take(text, offset)), fields, c->column_count);
        if (add_row(c, offset) != 0)
            return error_set(err, -ENOMEM, "out of memory for the rows of %s", path);
    }
    return 0;
}

int csv_open(struct csv *c, const char *path, struct error *err) {
    *c = (struct csv){ .rows = NULL };
    int rc = input_open(&c->input, path, err);
    struct slice rest = c->input.text;
    if (rc == 0 && rest.len == 0)
        return error_set(err, -EINVAL, "%s is empty: its first row names the columns", path);
    if (rc == 0)
        rc = read_columns(c, &rest, path, err);
    if (rc == 0)
        rc = read_rows(c, rest, path, err);
    if (rc == 0 && c->row_count == 0)
        rc = error_set(err, -EINVAL, "%s has no row behind the names of its columns", path);
    return rc;
}

void csv_close(struct csv *c) {
    mem_free(c->rows);
    c->rows = NULL;
    input_close(&c->input);
}

int csv_column(const struct csv *c, struct slice name) {
    for (size_t i = 0; i < c->column_count; i++)
        if (slice_eq(c->columns[i], name))
            return (int)i;
    return -ENOENT;
}

struct slice csv_field(const struct csv *c, size_t row, size_t column, bool *ret_is_quoted) {
    struct slice rest = slice_drop(c->input.text, c->rows[row]), field = { "", 0 };
    bool ends = false;
    for (size_t i = 0; i <= column && !ends; i++)
        if (!cut_field(&rest, &field, ret_is_quoted, &ends))
            return SLICE("");
    return field;
}
