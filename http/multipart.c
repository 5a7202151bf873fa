/* SPDX-License-Identifier: MIT */
/* Takes multipart bodies apart: boundaries, heads of parts, parameters. */
#include "http/multipart.h"
#include "http/chars.h"
#include <errno.h>
#include <string.h>

static int refuse(struct http_multipart *m, const char *why) {
    m->why = why;
    return -EINVAL;
}

/* --- parameters ------------------------------------------------------------ */

/* The length of a quoted string with its quotes; 0: it has no end. */
static size_t quoted_len(struct slice text) {
    for (size_t i = 1; i < text.len; i++) {
        if (text.ptr[i] == '\\' && i + 1 < text.len && strchr("\"\\", text.ptr[i + 1]) != NULL)
            i++;
        else if (text.ptr[i] == '"')
            return i + 1;
    }
    return 0;
}

/* One `; name=value`, the value without quotes. 1; 0 at the end; -EINVAL. */
static int next_param(struct slice *rest, struct slice *ret_name, struct slice *ret_value) {
    size_t equals, len;

    *rest = slice_trim(*rest);
    if (rest->len == 0)
        return 0;
    if (rest->ptr[0] != ';')
        return -EINVAL;
    *rest = slice_trim(slice_drop(*rest, 1));
    if (rest->len == 0)
        return 0; /* a semicolon at the end */
    equals = slice_find(*rest, '=');
    if (equals == rest->len)
        return -EINVAL;
    *ret_name = slice_take(*rest, equals);
    *rest = slice_drop(*rest, equals + 1);
    if (ret_name->len == 0 ||
        http_span(ret_name->ptr, ret_name->len, HTTP_CHAR_TOKEN) < ret_name->len)
        return -EINVAL;
    if (rest->len > 0 && rest->ptr[0] == '"') {
        len = quoted_len(*rest);
        *ret_value = len > 0 ? slice_of(rest->ptr + 1, len - 2) : slice_of(NULL, 0);
    } else {
        len = slice_find(*rest, ';');
        *ret_value = slice_trim(slice_take(*rest, len));
    }
    *rest = slice_drop(*rest, len);
    return ret_value->ptr != NULL ? 1 : -EINVAL;
}

/* "form-data; name=..." into its type and what follows. */
static struct slice cut_type(struct slice *value) {
    size_t len = slice_find(*value, ';');
    struct slice type = slice_trim(slice_take(*value, len));

    *value = slice_drop(*value, len);
    return type;
}

bool http_is_multipart(struct slice content_type) {
    return slice_eq_nocase(cut_type(&content_type), SLICE("multipart/form-data"));
}

/* --- boundaries ------------------------------------------------------------ */

/* Characters of a boundary: RFC 2046 section 5.1.1. */
static bool is_boundary(struct slice text) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool alphanumeric = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');

        if (c == '\0' || (!alphanumeric && strchr("'()+_,-./:=? ", c) == NULL))
            return false;
    }
    return text.len > 0 && text.len <= HTTP_BOUNDARY_BYTES_MAX && text.ptr[text.len - 1] != ' ';
}

static int find_boundary(struct http_multipart *m, struct slice content_type) {
    struct slice name, value, boundary = slice_of(NULL, 0);
    int rc;

    cut_type(&content_type);
    while ((rc = next_param(&content_type, &name, &value)) > 0)
        if (slice_eq_nocase(name, SLICE("boundary")) && boundary.ptr == NULL)
            boundary = value;
    if (rc < 0 || boundary.ptr == NULL || !is_boundary(boundary))
        return refuse(m, "the Content-Type of the form has no valid boundary");
    memcpy(m->delimiter, "\r\n--", 4);
    memcpy(m->delimiter + 4, boundary.ptr, boundary.len);
    m->delimiter_len = boundary.len + 4;
    return 0;
}

/* What may follow a boundary: two dashes, or blanks and a line end. 1: a part follows; 0: it was
 * the last one; -EINVAL: this is no boundary. */
static int pass_boundary(struct slice *at) {
    size_t blanks = 0;

    if (slice_starts_with(*at, SLICE("--")))
        return 0;
    while (blanks < at->len && (at->ptr[blanks] == ' ' || at->ptr[blanks] == '\t'))
        blanks++;
    if (!slice_starts_with(slice_drop(*at, blanks), SLICE("\r\n")))
        return -EINVAL;
    *at = slice_drop(*at, blanks + 2);
    return 1;
}

/* The next boundary: what stands before it in *ret_data. As pass_boundary; a line that only begins
 * like one is data. */
static int find_delimiter(struct http_multipart *m, struct slice *ret_data) {
    struct slice from = m->rest, behind;
    const char *at;
    int rc;

    while (from.len > 0 &&
           (at = memmem(from.ptr, from.len, m->delimiter, m->delimiter_len)) != NULL) {
        *ret_data = slice_of(m->rest.ptr, (size_t)(at - m->rest.ptr));
        behind = slice_drop(m->rest, ret_data->len + m->delimiter_len);
        rc = pass_boundary(&behind);
        if (rc >= 0) {
            m->rest = behind;
            return rc;
        }
        from = slice_drop(m->rest, ret_data->len + 2);
    }
    return refuse(m, "the form has no final boundary");
}

int http_multipart_begin(struct http_multipart *m, struct slice content_type, struct slice body) {
    struct slice skipped, first;
    int rc;

    *m = (struct http_multipart){ .rest = body };
    rc = find_boundary(m, content_type);
    if (rc < 0)
        return rc;
    first =
        slice_of(m->delimiter + 2, m->delimiter_len - 2); /* no line end before the first byte */
    if (slice_starts_with(body, first)) {
        m->rest = slice_drop(body, first.len);
        rc = pass_boundary(&m->rest);
    }
    if (!slice_starts_with(body, first) || rc < 0)
        rc = find_delimiter(m, &skipped);
    if (rc == 0)
        m->rest = slice_of(NULL, 0);
    return rc < 0 ? rc : 0;
}

/* --- parts ------------------------------------------------------------ */

static int take_disposition(struct http_multipart *m, struct slice value, struct http_part *part) {
    struct slice name, content;
    int rc;

    if (!slice_eq_nocase(cut_type(&value), SLICE("form-data")))
        return refuse(m, "a part of the form is no form-data");
    while ((rc = next_param(&value, &name, &content)) > 0) {
        if (slice_eq_nocase(name, SLICE("name")) && part->name.ptr == NULL)
            part->name = content;
        else if (slice_eq_nocase(name, SLICE("filename")) && part->file.ptr == NULL)
            part->file = content;
    }
    if (rc < 0 || part->name.ptr == NULL)
        return refuse(m, "a part of the form has no valid name");
    return 0;
}

/* RFC 7578 section 4.7: senders have stopped to use others. */
static bool is_plain_encoding(struct slice value) {
    return slice_eq_nocase(value, SLICE("binary")) || slice_eq_nocase(value, SLICE("8bit")) ||
           slice_eq_nocase(value, SLICE("7bit"));
}

static int take_line(struct http_multipart *m, struct slice line, struct http_part *part) {
    size_t colon = slice_find(line, ':');
    struct slice name = slice_take(line, colon), value = slice_trim(slice_drop(line, colon + 1));

    if (colon == line.len || name.len == 0 ||
        http_span(name.ptr, name.len, HTTP_CHAR_TOKEN) < name.len ||
        http_span_value(value.ptr, value.len) < value.len)
        return refuse(m, "a part of the form has a malformed head");
    if (slice_eq_nocase(name, SLICE("Content-Disposition")))
        return take_disposition(m, value, part);
    if (slice_eq_nocase(name, SLICE("Content-Type")))
        part->type = value;
    if (slice_eq_nocase(name, SLICE("Content-Transfer-Encoding")) && !is_plain_encoding(value))
        return refuse(m, "a part of the form is encoded");
    return 0;
}

static int take_head(struct http_multipart *m, struct slice *data, struct http_part *part) {
    struct slice all = *data;

    for (;;) {
        const char *end = data->len > 0 ? memmem(data->ptr, data->len, "\r\n", 2) : NULL;
        size_t len = end != NULL ? (size_t)(end - data->ptr) : 0;
        struct slice line = slice_take(*data, len);

        if (end == NULL || all.len - data->len + len > HTTP_PART_HEAD_BYTES_MAX)
            return refuse(m, "a part of the form has no end of its head, or a large one");
        *data = slice_drop(*data, len + 2);
        if (len == 0)
            return part->name.ptr != NULL ? 0 : refuse(m, "a part of the form has no valid name");
        if (take_line(m, line, part) < 0)
            return -EINVAL;
    }
}

int http_multipart_next(struct http_multipart *m, struct http_part *ret) {
    struct slice data, rest;
    int rc;

    *ret = (struct http_part){ .type = SLICE("") };
    if (m->rest.ptr == NULL)
        return 0;
    rc = find_delimiter(m, &data);
    if (rc < 0)
        return rc;
    rest = m->rest;
    if (take_head(m, &data, ret) < 0)
        return -EINVAL;
    ret->data = data;
    m->rest = rc > 0 ? rest : slice_of(NULL, 0);
    return 1;
}

size_t http_unquote(struct slice raw, char *out) {
    size_t len = 0;

    for (size_t i = 0; i < raw.len; i++) {
        bool escaped = raw.ptr[i] == '\\' && i + 1 < raw.len &&
                       (raw.ptr[i + 1] == '"' || raw.ptr[i + 1] == '\\');

        out[len++] = raw.ptr[i + escaped];
        i += escaped;
    }
    return len;
}
