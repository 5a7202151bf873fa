/* SPDX-License-Identifier: MIT */
/* Reads the words of a form, and writes its parts. */
#include "loadgen/form.h"
#include "base/arena.h"
#include "base/rng.h"
#include "http/media_type.h"
#include "loadgen/input.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

enum { SCRATCH_BYTES_MAX = 1 << 20 };

/* A word of the user's, taken apart. */
struct form_part {
    const char *word;
    struct slice name, value; /* the value, or the path of a file */
    struct slice type, filename;
    bool is_file, is_from_file;
};

static int refuse(const struct form_part *p, const char *why, struct error *err) {
    return error_set(err, -EINVAL, "--form '%s': %s", p->word, why);
}

/* --- words ------------------------------------------------------------------------------------ */

/* Takes a text up to `;`, or in quotes, in which a backslash protects '"' and '\'. -EINVAL without
 * the closing one, or when something stands behind it. */
static int take_text(struct slice *rest, struct arena *scratch, struct slice *ret) {
    if (rest->len == 0 || rest->ptr[0] != '"') {
        *ret = slice_take(*rest, slice_find(*rest, ';'));
        *rest = slice_drop(*rest, ret->len);
        return 0;
    }
    char *text = arena_alloc(scratch, rest->len);
    size_t len = 0, i = 1;
    if (text == NULL)
        return -ENOMEM;
    for (; i < rest->len && rest->ptr[i] != '"'; i++) {
        if (rest->ptr[i] == '\\' && i + 1 < rest->len && strchr("\"\\", rest->ptr[i + 1]) != NULL)
            i++;
        text[len++] = rest->ptr[i];
    }
    if (i == rest->len)
        return -EINVAL;
    *ret = slice_of(text, len);
    *rest = slice_drop(*rest, i + 1);
    return rest->len > 0 && rest->ptr[0] != ';' ? -EINVAL : 0;
}

static bool is_attribute(struct slice text) {
    return slice_starts_with(text, SLICE("type=")) || slice_starts_with(text, SLICE("filename="));
}

/* A type takes parameters of its own: `text/plain;charset=utf-8`. */
static int take_type(struct slice *rest, struct form_part *p) {
    struct slice whole = *rest;
    size_t end = slice_find(whole, ';');
    while (end < whole.len && !is_attribute(slice_trim(slice_drop(whole, end + 1))))
        end += 1 + slice_find(slice_drop(whole, end + 1), ';');
    p->type = slice_trim(slice_take(whole, end));
    *rest = slice_drop(whole, end);
    return p->type.len > 0 ? 0 : -EINVAL;
}

static int take_attributes(struct form_part *p, struct slice rest, struct arena *scratch,
                           struct error *err) {
    while (rest.len > 0) {
        rest = slice_trim(slice_drop(rest, 1));
        struct slice name = slice_take(rest, slice_find(rest, '='));
        bool is_type = slice_eq(name, SLICE("type"));
        if (name.len == rest.len || (!is_type && !slice_eq(name, SLICE("filename"))))
            return refuse(p,
                          "behind ';' stands type=TYPE or filename=NAME; a value that has one is "
                          "written in quotes",
                          err);
        rest = slice_drop(rest, name.len + 1);
        int rc = is_type ? take_type(&rest, p) : take_text(&rest, scratch, &p->filename);
        if (rc == -ENOMEM)
            return error_set(err, rc, "out of memory for the form");
        if (rc != 0)
            return refuse(p, is_type ? "its type is empty" : "a quoted name has no end", err);
    }
    return 0;
}

static int read_word(struct form_part *p, struct arena *scratch, struct error *err) {
    struct slice rest = slice_str(p->word);
    size_t equals = slice_find(rest, '=');
    if (equals == rest.len || equals == 0)
        return refuse(p, "expected NAME=VALUE, NAME=@FILE or NAME=<FILE", err);
    p->name = slice_take(rest, equals);
    rest = slice_drop(rest, equals + 1);
    p->is_file = rest.len > 0 && rest.ptr[0] == '@';
    p->is_from_file = p->is_file || (rest.len > 0 && rest.ptr[0] == '<');
    if (p->is_from_file)
        rest = slice_drop(rest, 1);
    int rc = take_text(&rest, scratch, &p->value);
    if (rc == -ENOMEM)
        return error_set(err, rc, "out of memory for the form");
    if (rc != 0)
        return refuse(p, "a quoted value has no end", err);
    if (p->is_from_file && p->value.len == 0)
        return refuse(p, "the file has no name", err);
    return take_attributes(p, rest, scratch, err);
}

/* --- parts ------------------------------------------------------------------------------------ */

/* RFC 7578 section 5.1 leaves it open; browsers and curl write these three as %22, %0D and %0A. */
static int append_quoted(struct buf *body, struct slice text) {
    int rc = buf_append(body, SLICE("\""));
    for (size_t i = 0; i < text.len && rc == 0; i++) {
        char c = text.ptr[i];
        if (c == '"')
            rc = buf_append(body, SLICE("%22"));
        else if (c == '\r' || c == '\n')
            rc = buf_append(body, c == '\r' ? SLICE("%0D") : SLICE("%0A"));
        else
            rc = buf_append(body, slice_of(&c, 1));
    }
    return rc == 0 ? buf_append(body, SLICE("\"")) : rc;
}

static bool has_control(struct slice text) {
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] < ' ' || text.ptr[i] == 127)
            return true;
    return false;
}

static int append_head(struct buf *body, const struct form_part *p, struct slice filename) {
    int rc = buf_append(body, SLICE("Content-Disposition: form-data; name="));
    if (rc == 0)
        rc = append_quoted(body, p->name);
    if (rc == 0 && filename.ptr != NULL)
        rc = buf_append(body, SLICE("; filename="));
    if (rc == 0 && filename.ptr != NULL)
        rc = append_quoted(body, filename);
    if (rc == 0 && p->type.len > 0)
        rc = buf_append(body, SLICE("\r\nContent-Type: "));
    if (rc == 0)
        rc = buf_append(body, p->type);
    return rc == 0 ? buf_append(body, SLICE("\r\n\r\n")) : rc;
}

static int append_part(struct buf *body, struct form_part *p, struct arena *scratch,
                       struct error *err) {
    const char *path = arena_printf(scratch, "%.*s", (int)p->value.len, p->value.ptr);
    struct slice filename = p->filename;
    if (path == NULL)
        return error_set(err, -ENOMEM, "out of memory for the form");
    if (p->is_file && filename.ptr == NULL) {
        const char *slash = strrchr(path, '/');
        filename = slice_str(slash != NULL ? slash + 1 : path);
    }
    if (p->is_file && p->type.len == 0)
        p->type = http_media_type_of(filename.len > 0 ? path : "");
    if (has_control(p->type))
        return refuse(p, "its type has control characters", err);
    int rc = append_head(body, p, filename);
    if (rc == 0 && p->is_from_file)
        return input_read(path, body, err);
    if (rc == 0)
        rc = buf_append(body, p->value);
    return rc == 0 ? 0 : error_set(err, rc, "out of memory for the form");
}

/* All parts, each behind its boundary. */
static int append_parts(const struct option_strings *words, struct slice boundary, struct buf *body,
                        struct error *err) {
    struct arena scratch;
    int rc = 0;
    arena_init(&scratch, SCRATCH_BYTES_MAX);
    for (size_t i = 0; i < words->count && rc == 0; i++) {
        struct form_part part = { .word = words->items[i] };
        if (buf_append(body, SLICE("--")) != 0 || buf_append(body, boundary) != 0 ||
            buf_append(body, SLICE("\r\n")) != 0)
            rc = error_set(err, -ENOMEM, "out of memory for the form");
        if (rc == 0)
            rc = read_word(&part, &scratch, err);
        if (rc == 0)
            rc = append_part(body, &part, &scratch, err);
        if (rc == 0 && buf_append(body, SLICE("\r\n")) != 0)
            rc = error_set(err, -ENOMEM, "out of memory for the form");
    }
    arena_free(&scratch);
    if (rc == 0 && (buf_append(body, SLICE("--")) != 0 || buf_append(body, boundary) != 0 ||
                    buf_append(body, SLICE("--\r\n")) != 0))
        rc = error_set(err, -ENOMEM, "out of memory for the form");
    return rc;
}

int form_build(const struct option_strings *words, uint64_t seed, struct buf *body,
               char type[FORM_TYPE_BYTES], struct error *err) {
    struct rng rng = rng_stream(seed, UINT64_C(1) << 33);
    char boundary[41];
    snprintf(boundary, sizeof(boundary), "------------------------%016" PRIx64, rng_next(&rng));
    int rc = append_parts(words, slice_str(boundary), body, err);
    if (rc != 0)
        return rc;
    size_t times = 0;
    struct slice rest = buf_unread(body);
    for (const char *at; (at = memmem(rest.ptr, rest.len, boundary, 40)) != NULL; times++)
        rest = slice_drop(rest, (size_t)(at - rest.ptr) + 40);
    if (times != words->count + 1)
        return error_set(
            err, -EINVAL,
            "--form: a part has the boundary of the parts in it; another --seed helps");
    snprintf(type, FORM_TYPE_BYTES, "multipart/form-data; boundary=%s", boundary);
    return 0;
}
