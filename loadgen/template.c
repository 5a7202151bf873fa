/* SPDX-License-Identifier: MIT */
/* Learns expressions into a table, and expands texts by looking them up there. */
#include "loadgen/template.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "loadgen/csv.h"
#include "loadgen/intern.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { NUMBER_BYTES = 24, UUID_BYTES = 36 };

struct expression {
    struct slice text; /* between the braces */
    const struct expression_kind *kind;
    uint64_t first, span; /* numbers: the least one, and how many there are */
    struct slice argument;
    const struct csv *csv;
    size_t column;
};

struct templates {
    struct expression *expressions; /* by the number of their text */
    struct intern texts, paths;
    struct csv files[TEMPLATE_FILES_MAX]; /* by the number of their path */
};

/* 0; -ENOMEM, -ENOBUFS; -ESTALE: a file is no longer what it was. */
typedef int value_fn(const struct expression *e, struct template_request *r, struct buf *out,
                     enum template_place place);

/* --- values ----------------------------------------------------------------------------------- */

static bool is_unreserved(unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

/* RFC 3986 section 2.1: all but the unreserved characters, so that no value ends its part. */
static char *put_encoded(char *at, unsigned char c) {
    static const char digits[] = "0123456789ABCDEF";
    if (is_unreserved(c)) {
        *at = (char)c;
        return at + 1;
    }
    at[0] = '%';
    at[1] = digits[c >> 4];
    at[2] = digits[c & 15];
    return at + 3;
}

static char *put_json(char *at, unsigned char c) {
    static const char digits[] = "0123456789abcdef";
    if (c >= ' ' && c != '"' && c != '\\') {
        *at = (char)c;
        return at + 1;
    }
    if (c >= ' ') {
        at[0] = '\\';
        at[1] = (char)c;
        return at + 2;
    }
    memcpy(at, "\\u00", 4);
    at[4] = digits[c >> 4];
    at[5] = digits[c & 15];
    return at + 6;
}

/* A text from elsewhere. Of two quotes one is left out when they stand for one. */
static int put_text(struct slice text, bool is_quoted, struct buf *out, enum template_place place) {
    enum { LONGEST = 6 };
    if (!is_quoted && (place == TEMPLATE_IN_HEADER || place == TEMPLATE_IN_BODY))
        return buf_append(out, text);
    int rc = buf_reserve(out, text.len * LONGEST);
    if (rc != 0)
        return rc;
    char *at = buf_tail(out);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        i += is_quoted && c == '"';
        if (place == TEMPLATE_IN_URL)
            at = put_encoded(at, c);
        else if (place == TEMPLATE_IN_JSON)
            at = put_json(at, c);
        else
            *at++ = (char)c;
    }
    buf_added(out, (size_t)(at - buf_tail(out)));
    return 0;
}

static bool has_control(struct slice text) {
    for (size_t i = 0; i < text.len; i++)
        if (((unsigned char)text.ptr[i] < ' ' && text.ptr[i] != '\t') || text.ptr[i] == 0x7f)
            return true;
    return false;
}

static int put_number(uint64_t value, struct buf *out) {
    char digits[NUMBER_BYTES];
    size_t i = sizeof(digits);
    do {
        digits[--i] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return buf_append(out, slice_of(digits + i, sizeof(digits) - i));
}

/* The rest of 64 random bits favours no number of a usual span by more than 2^-40. */
static uint64_t draw(struct rng *rng, uint64_t span) {
    return rng_next(rng) % span;
}

static int seq_value(const struct expression *e, struct template_request *r, struct buf *out,
                     enum template_place place) {
    (void)place;
    return put_number(e->first + r->number, out);
}

static int random_value(const struct expression *e, struct template_request *r, struct buf *out,
                        enum template_place place) {
    (void)place;
    return put_number(e->first + draw(&r->rng, e->span), out);
}

/* RFC 9562 section 5.4. */
static int uuid_value(const struct expression *e, struct template_request *r, struct buf *out,
                      enum template_place place) {
    static const char digits[] = "0123456789abcdef";
    uint64_t high = (rng_next(&r->rng) & ~UINT64_C(0xf000)) | 0x4000;
    uint64_t low = (rng_next(&r->rng) & ~(UINT64_C(3) << 62)) | UINT64_C(1) << 63;
    (void)e;
    (void)place;
    int rc = buf_reserve(out, UUID_BYTES);
    if (rc != 0)
        return rc;
    char *at = buf_tail(out);
    for (unsigned i = 0; i < 16; i++, high = i == 8 ? low : high << 8) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        *at++ = digits[high >> 60];
        *at++ = digits[high >> 56 & 15];
    }
    buf_added(out, UUID_BYTES);
    return 0;
}

static int string_value(const struct expression *e, struct template_request *r, struct buf *out,
                        enum template_place place) {
    static const char signs[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (void)place;
    int rc = buf_reserve(out, e->first);
    char *at = rc == 0 ? buf_tail(out) : NULL;
    for (uint64_t i = 0, word = 0; rc == 0 && i < e->first; i++, word >>= 6) {
        if (i % 10 == 0)
            word = rng_next(&r->rng);
        *at++ = signs[word & 63];
    }
    if (rc == 0)
        buf_added(out, e->first);
    return rc;
}

static int choice_value(const struct expression *e, struct template_request *r, struct buf *out,
                        enum template_place place) {
    struct slice rest = e->argument, choice = slice_cut(&rest, ',');
    for (uint64_t i = draw(&r->rng, e->span); i > 0; i--)
        choice = slice_cut(&rest, ',');
    return put_text(choice, false, out, place);
}

static int csv_value(const struct expression *e, struct template_request *r, struct buf *out,
                     enum template_place place) {
    bool is_quoted = false;
    size_t row = r->number % e->csv->row_count;
    if (!input_begins_line(e->csv->input.text, e->csv->rows[row]))
        return -ESTALE;
    struct slice field = csv_field(e->csv, row, e->column, &is_quoted);
    if (place == TEMPLATE_IN_HEADER && has_control(field))
        return -ESTALE;
    return put_text(field, is_quoted, out, place);
}

static int env_value(const struct expression *e, struct template_request *r, struct buf *out,
                     enum template_place place) {
    (void)r;
    return put_text(e->argument, false, out, place);
}

static int now_value(const struct expression *e, struct template_request *r, struct buf *out,
                     enum template_place place) {
    char text[CLOCK_TEXT_BYTES];
    (void)e;
    (void)r;
    return put_text(slice_str(clock_format(clock_wall(), text)), false, out, place);
}

static int unix_value(const struct expression *e, struct template_request *r, struct buf *out,
                      enum template_place place) {
    (void)r;
    (void)place;
    return put_number((uint64_t)clock_wall() / e->span, out);
}

/* --- learning --------------------------------------------------------------------------------- */

typedef int learn_fn(struct templates *t, struct expression *e, struct slice argument,
                     struct error *err);

static int refuse(const struct expression *e, const char *why, struct error *err) {
    return error_set(err, -EINVAL, "template {{%.*s}}: %s", (int)e->text.len, e->text.ptr, why);
}

static int learn_nothing(struct templates *t, struct expression *e, struct slice argument,
                         struct error *err) {
    (void)t;
    return argument.len == 0 ? 0 : refuse(e, "takes nothing behind its name", err);
}

static int learn_unix(struct templates *t, struct expression *e, struct slice argument,
                      struct error *err) {
    e->span = slice_eq(e->text, SLICE("unix")) ? NSEC_PER_SEC : NSEC_PER_MSEC;
    return learn_nothing(t, e, argument, err);
}

static int learn_seq(struct templates *t, struct expression *e, struct slice argument,
                     struct error *err) {
    (void)t;
    e->first = 1;
    if (argument.len == 0 || slice_parse_u64(argument, INT64_MAX, &e->first) == 0)
        return 0;
    return refuse(e, "expected the first number, such as {{seq:1000}}", err);
}

static int learn_random(struct templates *t, struct expression *e, struct slice argument,
                        struct error *err) {
    struct slice first = slice_cut(&argument, '-');
    uint64_t last;
    (void)t;
    if (slice_parse_u64(first, INT64_MAX, &e->first) != 0 ||
        slice_parse_u64(argument, INT64_MAX, &last) != 0 || last < e->first)
        return refuse(e, "expected two numbers, the lesser first, such as {{random:1-1000}}", err);
    e->span = last - e->first + 1;
    return 0;
}

static int learn_string(struct templates *t, struct expression *e, struct slice argument,
                        struct error *err) {
    (void)t;
    if (slice_parse_u64(argument, TEMPLATE_STRING_BYTES_MAX, &e->first) == 0 && e->first > 0)
        return 0;
    return refuse(e, "expected a length from 1 to 65536, such as {{string:16}}", err);
}

static int learn_choice(struct templates *t, struct expression *e, struct slice argument,
                        struct error *err) {
    (void)t;
    e->argument = argument;
    if (argument.len == 0)
        return refuse(e, "expected texts, such as {{choice:red,green}}", err);
    e->span = 1;
    for (size_t i = 0; i < argument.len; i++)
        e->span += argument.ptr[i] == ',';
    return 0;
}

static int learn_env(struct templates *t, struct expression *e, struct slice argument,
                     struct error *err) {
    (void)t;
    const char *value = argument.len > 0 ? getenv(argument.ptr) : NULL; /* ends with its NUL */
    if (value == NULL)
        return refuse(e, "the environment has no such variable", err);
    e->argument = slice_str(value);
    return 0;
}

static int open_csv(struct templates *t, struct slice path, const struct csv **ret,
                    struct error *err) {
    size_t before = t->paths.count, number;
    int rc = intern_add(&t->paths, path, &number);
    if (rc == -ENOSPC)
        return error_set(err, -EINVAL, "templates name more than %d files", TEMPLATE_FILES_MAX);
    if (rc != 0)
        return error_set(err, rc, "out of memory for templates");
    *ret = &t->files[number];
    return number == before ? csv_open(&t->files[number], t->paths.texts[number], err) : 0;
}

/* The name of the column stands behind the last colon. */
static int learn_csv(struct templates *t, struct expression *e, struct slice argument,
                     struct error *err) {
    const char *colon = argument.ptr != NULL ? memrchr(argument.ptr, ':', argument.len) : NULL;
    if (colon == NULL || colon == argument.ptr)
        return refuse(e, "expected a file and a column, such as {{csv:users.csv:email}}", err);
    struct slice path = slice_take(argument, (size_t)(colon - argument.ptr));
    int rc = open_csv(t, path, &e->csv, err);
    if (rc != 0)
        return rc;
    int column = csv_column(e->csv, slice_drop(argument, path.len + 1));
    if (column < 0)
        return refuse(e, "the first row of the file names no such column", err);
    e->column = (size_t)column;
    return 0;
}

static const struct expression_kind {
    const char *name;
    learn_fn *learn;
    value_fn *value;
} kinds[] = {
    { "seq", learn_seq, seq_value },          { "uuid", learn_nothing, uuid_value },
    { "random", learn_random, random_value }, { "string", learn_string, string_value },
    { "choice", learn_choice, choice_value }, { "csv", learn_csv, csv_value },
    { "env", learn_env, env_value },          { "now", learn_nothing, now_value },
    { "unix", learn_unix, unix_value },       { "unix_ms", learn_unix, unix_value },
};

/* A value with the end of a line would become fields of its own in a head. */
static int check_header_values(const struct expression *e, struct error *err) {
    bool is_quoted;
    if (e->csv == NULL)
        return !has_control(e->argument)
                   ? 0
                   : refuse(e, "its value has control characters, which no header may have", err);
    for (size_t i = 0; i < e->csv->row_count; i++)
        if (has_control(csv_field(e->csv, i, e->column, &is_quoted)))
            return error_set(err, -EINVAL,
                             "template {{%.*s}}: its value in row %zu has control characters, "
                             "which no header may have",
                             (int)e->text.len, e->text.ptr, i + 1);
    return 0;
}

struct templates *templates_new(void) {
    struct templates *t = mem_calloc(1, sizeof(*t));
    struct expression *expressions = mem_calloc(TEMPLATES_MAX, sizeof(*expressions));
    if (t == NULL || expressions == NULL) {
        mem_free(t);
        mem_free(expressions);
        return NULL;
    }
    t->expressions = expressions;
    intern_init(&t->texts, TEMPLATES_MAX);
    intern_init(&t->paths, TEMPLATE_FILES_MAX);
    return t;
}

void templates_free(struct templates *t) {
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->paths.count; i++)
        csv_close(&t->files[i]);
    intern_free(&t->texts);
    intern_free(&t->paths);
    mem_free(t->expressions);
    mem_free(t);
}

static int learn_expression(struct templates *t, struct expression *e, struct error *err) {
    struct slice argument = e->text, name = slice_cut(&argument, ':');
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!slice_eq(slice_str(kinds[i].name), name))
            continue;
        e->kind = &kinds[i];
        return kinds[i].learn(t, e, argument, err);
    }
    return refuse(e,
                  "there are seq, uuid, random, string, choice, csv, env, now, unix and unix_ms; "
                  "{{{{ stands for two braces",
                  err);
}

static int learn_one(struct templates *t, struct slice text, enum template_place place,
                     struct error *err) {
    size_t before = t->texts.count, number;
    int rc = intern_add(&t->texts, text, &number);
    if (rc == -ENOSPC)
        return error_set(err, -EINVAL, "there are more than %d different templates", TEMPLATES_MAX);
    if (rc != 0)
        return error_set(err, rc, "a template holds a NUL, or memory is out");
    struct expression *e = &t->expressions[number];
    if (number == before) {
        e->text = slice_str(t->texts.texts[number]);
        rc = learn_expression(t, e, err);
    }
    if (rc != 0)
        return rc;
    return place == TEMPLATE_IN_HEADER ? check_header_values(e, err) : 0;
}

/* Cuts what stands before the next expression, and the expression; false: no further one. */
static bool next_expression(struct slice *rest, struct slice *ret_before, struct slice *ret) {
    *ret_before = slice_take(*rest, template_find(*rest, '{'));
    if (ret_before->len == rest->len)
        return false;
    struct slice behind = slice_drop(*rest, ret_before->len + 2);
    if (slice_starts_with(behind, SLICE("{{"))) {
        *ret = slice_of(NULL, 0);
        *rest = slice_drop(behind, 2);
        return true;
    }
    *ret = slice_take(behind, template_find(behind, '}'));
    *rest = slice_drop(behind, ret->len + 2);
    return true;
}

int templates_learn(struct templates *t, struct slice text, enum template_place place,
                    struct error *err) {
    struct slice rest = text, before, expression;
    while (next_expression(&rest, &before, &expression)) {
        if (expression.ptr == NULL)
            continue;
        if (expression.ptr + expression.len == text.ptr + text.len)
            return error_set(err, -EINVAL, "template {{%.*s lacks its }}",
                             expression.len < 40 ? (int)expression.len : 40, expression.ptr);
        int rc = learn_one(t, expression, place, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int templates_expand(const struct templates *t, struct slice text, enum template_place place,
                     struct template_request *request, struct buf *out) {
    struct slice rest = text, before, expression;
    bool more;
    do {
        more = next_expression(&rest, &before, &expression);
        int rc = buf_append(out, before);
        if (rc == 0 && more && expression.ptr == NULL) {
            rc = buf_append(out, SLICE("{{"));
        } else if (rc == 0 && more) {
            long number = intern_find(&t->texts, expression);
            const struct expression *e = number >= 0 ? &t->expressions[number] : NULL;
            rc = e != NULL && e->kind != NULL ? e->kind->value(e, request, out, place) : -EINVAL;
        }
        if (rc != 0)
            return rc;
    } while (more);
    return 0;
}
