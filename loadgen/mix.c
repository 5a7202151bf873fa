/* SPDX-License-Identifier: MIT */
/* Chooses the line of each request of a run, and makes its bytes. */
#include "loadgen/mix.h"
#include "base/alloc.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define ORDER_STREAM UINT64_C(0x6d6978) /* keeps the choice of lines apart from random values */

/* --- filling a request ------------------------------------------------------------------------ */

int mix_plain_of(struct mix_filling *f, struct mix_text text, struct slice *ret) {
    *ret = text.raw;
    if (LIKELY(!text.has_escapes))
        return 0;
    buf_consume(&f->r->text, buf_unread(&f->r->text).len);
    int rc = buf_reserve(&f->r->text, text.raw.len);
    if (rc == 0)
        *ret = mix_text_of(text, buf_tail(&f->r->text));
    return rc;
}

static int put_plain(struct mix_filling *f, struct slice text, enum template_place place,
                     struct buf *out) {
    if (f->m->templates == NULL)
        return buf_append(out, text);
    return templates_expand(f->m->templates, text, place, &f->values, out);
}

static int put_text(struct mix_filling *f, struct mix_text text, enum template_place place,
                    struct buf *out) {
    struct slice plain;
    int rc = mix_plain_of(f, text, &plain);
    return rc == 0 ? put_plain(f, plain, place, out) : rc;
}

static size_t find_delimiter(struct slice text, size_t from, const char *delimiters) {
    while (from < text.len && strchr(delimiters, text.ptr[from]) == NULL)
        from++;
    return from;
}

/* RFC 3986 section 3: a scheme ends with the first colon, unless something else ends before. */
size_t mix_path_at(struct slice url) {
    size_t at = find_delimiter(url, 0, ":/?#");
    bool has_scheme = slice_starts_with(slice_drop(url, at), SLICE("://"));
    return find_delimiter(url, has_scheme ? at + 3 : 0, "/?#");
}

struct slice mix_target_of(struct slice url) {
    url = slice_drop(url, mix_path_at(url));
    url = slice_take(url, slice_find(url, '#'));
    return url.len > 0 ? url : SLICE("/");
}

static int put_target(struct mix_filling *f, const struct mix_line *line) {
    struct slice url;
    int rc = mix_plain_of(f, line->url, &url);
    if (rc == 0 && f->host->prefix.len > 0)
        rc = buf_append(&f->r->request.bytes, f->host->prefix);
    if (rc == 0)
        rc = put_plain(f, mix_target_of(url), TEMPLATE_IN_URL, &f->r->request.bytes);
    return rc;
}

/* The fields of the options that the line does not replace. */
static int put_fields(struct mix_filling *f, const struct slice *own, size_t own_count) {
    struct buf *out = &f->r->request.bytes;
    struct slice rest = buf_unread(&f->host->tail);
    rest.len -= 2;
    if (own_count == 0)
        return f->host->has_templates ? put_plain(f, rest, TEMPLATE_IN_HEADER, out)
                                      : buf_append(out, rest);
    struct slice version = slice_take(rest, slice_find(rest, '\n') + 1);
    rest = slice_drop(rest, version.len);
    int rc = buf_append(out, version);
    while (rest.len > 0 && rc == 0) {
        struct slice line = slice_take(rest, slice_find(rest, '\n') + 1);
        struct slice name = slice_take(line, slice_find(line, ':'));
        bool is_replaced = false;
        rest = slice_drop(rest, line.len);
        for (size_t i = 0; i < own_count && !is_replaced; i++)
            is_replaced = slice_eq_nocase(own[i], name);
        if (!is_replaced)
            rc = put_plain(f, line, TEMPLATE_IN_HEADER, out);
    }
    return rc;
}

static int put_own_field(struct mix_filling *f, const struct json_member *field) {
    struct buf *out = &f->r->request.bytes;
    int rc = buf_append(out, field->key);
    if (rc == 0)
        rc = buf_append(out, SLICE(": "));
    if (rc == 0)
        rc = put_text(f, (struct mix_text){ field->value, field->has_escapes }, TEMPLATE_IN_HEADER,
                      out);
    if (slice_eq_nocase(field->key, SLICE("Connection")) &&
        slice_list_has_nocase(field->value, SLICE("close")))
        f->r->request.close = true;
    else if (slice_eq_nocase(field->key, SLICE("Connection")) &&
             slice_list_has_nocase(field->value, SLICE("keep-alive")))
        f->r->request.close = false;
    return rc == 0 ? buf_append(out, SLICE("\r\n")) : rc;
}

/* All fields but those of the body. *ret_has_type: the line has a Content-Type of its own. */
static int put_all_fields(struct mix_filling *f, const struct mix_line *line, bool *ret_has_type) {
    struct slice own[MIX_HEADERS_MAX];
    struct json_scan scan;
    struct json_member field;
    size_t count = 0;
    *ret_has_type = f->host->has_type;
    if (line->headers.len == 0)
        return put_fields(f, NULL, 0);
    int rc = json_scan_begin(&scan, line->headers);
    while (rc == 0 && (rc = json_scan_next(&scan, &field)) > 0 && count < MIX_HEADERS_MAX) {
        own[count++] = field.key;
        *ret_has_type = *ret_has_type || slice_eq_nocase(field.key, SLICE("Content-Type"));
        rc = 0;
    }
    rc = put_fields(f, own, count);
    if (rc == 0)
        rc = json_scan_begin(&scan, line->headers);
    while (rc == 0 && (rc = json_scan_next(&scan, &field)) > 0)
        rc = put_own_field(f, &field);
    return rc;
}

/* RFC 9110 section 8.6: these say that there is no body, or servers answer 411. */
static bool needs_length(enum http_method method) {
    return method == HTTP_METHOD_POST || method == HTTP_METHOD_PUT || method == HTTP_METHOD_PATCH;
}

static const char *type_of(const struct load_mix *m, enum mix_body kind) {
    if (m->config->content_type != NULL)
        return m->config->content_type;
    if (kind == MIX_BODY_FORM)
        return "application/x-www-form-urlencoded";
    return kind == MIX_BODY_JSON ? "application/json" : "text/plain";
}

/* The end of the head, and the body. */
static int put_body(struct mix_filling *f, const struct mix_line *line, struct slice body,
                    bool has_type) {
    struct request *r = &f->r->request;
    int rc = 0;
    if (line->body_kind != MIX_BODY_NONE && !has_type)
        rc = buf_printf(&r->bytes, "Content-Type: %s\r\n", type_of(f->m, line->body_kind));
    if (rc == 0 && (line->body_kind != MIX_BODY_NONE || needs_length(r->method)))
        rc = buf_printf(&r->bytes, "Content-Length: %zu\r\n", body.len);
    if (rc == 0)
        rc = buf_append(&r->bytes, SLICE("\r\n"));
    r->head_bytes = buf_unread(&r->bytes).len;
    return rc == 0 && body.len > 0 ? buf_append(&r->bytes, body) : rc;
}

/* The body as it is sent: of a file, of the options or of the line; until the next request. */
static int body_of(struct mix_filling *f, const struct mix_line *line, struct slice *ret) {
    const struct load_mix *m = f->m;
    enum template_place place =
        line->body_kind == MIX_BODY_JSON ? TEMPLATE_IN_JSON : TEMPLATE_IN_BODY;
    *ret = line->body.raw;
    int rc = 0;
    if (line->body_kind == MIX_BODY_FILE && m->files.count > 0) {
        struct slice path;
        rc = mix_plain_of(f, line->body, &path);
        long file = rc == 0 ? intern_find(&m->files, path) : -ENOENT;
        *ret = file >= 0 ? buf_unread(&m->bodies[file]) : SLICE("");
    }
    bool is_ready = line->body_kind == MIX_BODY_FILE || !line->body.has_escapes;
    if (rc != 0 || (is_ready && m->templates == NULL) || ret->len == 0)
        return rc;
    buf_consume(&f->r->body, buf_unread(&f->r->body).len);
    struct mix_text text = { *ret, line->body_kind != MIX_BODY_FILE && line->body.has_escapes };
    rc = put_text(f, text, place, &f->r->body);
    *ret = buf_unread(&f->r->body);
    return rc;
}

/* Parsing was tried before the run: a line that says 2xx then says it now. */
static void set_expect(struct mix_filling *f, const struct mix_line *line) {
    struct mix_request *r = f->r;
    char status[64];
    r->request.expect = NULL;
    if (line->expect_status.len == 0 && line->expect_body.raw.len == 0)
        return;
    r->expect = (struct request_expect){ .body = NULL };
    r->request.expect = &r->expect;
    snprintf(status, sizeof(status), "%.*s", (int)line->expect_status.len, line->expect_status.ptr);
    if (line->expect_status.len > 0 && expect_status_parse(status, &r->expect.status, NULL) != 0)
        r->expect.status.any_given = false;
    struct slice text;
    long number = line->expect_body.raw.len > 0 && mix_plain_of(f, line->expect_body, &text) == 0
                      ? intern_find(&f->m->texts, text)
                      : -ENOENT;
    if (number >= 0)
        r->expect.body = &f->m->expects[number];
}

/* All behind the target. Most requests have neither fields of their own nor a body. */
static int put_rest(struct mix_filling *f, const struct mix_line *line, struct slice body) {
    struct request *r = &f->r->request;
    bool has_type = false;
    if (line->headers.len == 0 && !r->has_body && !needs_length(r->method) &&
        !f->host->has_templates) {
        int rc = buf_append(&r->bytes, buf_unread(&f->host->tail));
        r->head_bytes = buf_unread(&r->bytes).len;
        return rc;
    }
    int rc = put_all_fields(f, line, &has_type);
    return rc == 0 ? put_body(f, line, body, has_type) : rc;
}

int mix_fill_line(struct mix_filling *f, const struct mix_line *line) {
    struct request *r = &f->r->request;
    struct slice method = line->method, body = { NULL, 0 };
    if (method.len == 0)
        method = line->body_kind != MIX_BODY_NONE ? SLICE("POST") : SLICE("GET");
    r->method = http_method_of(method);
    r->close = f->host->close;
    r->has_body = line->body_kind != MIX_BODY_NONE;
    buf_consume(&r->bytes, buf_unread(&r->bytes).len);
    int rc = r->has_body ? body_of(f, line, &body) : 0;
    if (rc == 0)
        rc = buf_append(&r->bytes, method);
    if (rc == 0)
        rc = buf_append(&r->bytes, SLICE(" "));
    if (rc == 0)
        rc = put_target(f, line);
    if (rc == 0)
        rc = put_rest(f, line, body);
    set_expect(f, line);
    return rc;
}

void mix_request_init(struct mix_request *r) {
    if (r->request.bytes.max > 0)
        return;
    buf_init(&r->request.bytes, LOADGEN_BODY_BYTES_MAX + MIX_TEXT_BYTES_MAX);
    buf_init(&r->body, LOADGEN_BODY_BYTES_MAX + MIX_TEXT_BYTES_MAX);
    buf_init(&r->text, MIX_TEXT_BYTES_MAX);
}

int mix_read_line(const struct load_mix *m, size_t number, struct mix_line *ret) {
    const char *why;
    enum mix_unplayable reason;
    size_t offset = m->entries != NULL ? m->entries[number].offset : m->replay.lines[number].offset;
    struct slice text = SLICE("");
    bool begins = input_begins_line(m->input.text, offset);
    (void)input_line(m->input.text, &offset, &text);
    int rc = m->entries != NULL ? mix_line_parse(text, ret, &why)
                                : mix_line_parse_log(text, ret, &reason);
    return LIKELY(begins && rc > 0) ? 0 : -ESTALE;
}

/* Templates and bodies that were learned are found again, unless a file says something else now. */
static int judge(int rc) {
    if (UNLIKELY(input_has_shrunk()))
        return -ESTALE;
    return rc == 0 || rc == -ENOMEM || rc == -ENOBUFS ? rc : -ESTALE;
}

int mix_fill(const struct load_mix *m, const struct mix_turn *turn, struct mix_request *r) {
    struct mix_filling f = { .m = m, .host = &m->hosts[turn->target], .r = r };
    struct mix_line line;
    mix_request_init(r);
    if (m->templates != NULL)
        f.values = template_request_of((uint64_t)m->config->seed, turn->number);
    if (m->input.text.len == 0)
        return judge(mix_fill_line(&f, &m->single));
    if (m->entries != NULL)
        r->request.name = (uint16_t)m->entries[turn->line].name;
    int rc = mix_read_line(m, turn->line, &line);
    return judge(rc == 0 ? mix_fill_line(&f, &line) : rc);
}

void mix_request_free(struct mix_request *r) {
    if (r == NULL)
        return;
    if (r->request.bytes.max > 0) {
        buf_free(&r->request.bytes);
        buf_free(&r->body);
        buf_free(&r->text);
    }
    mem_free(r);
}

/* --- choosing --------------------------------------------------------------------------------- */

static size_t choose(const struct load_mix *m, uint64_t number) {
    if (!m->is_random)
        return number % m->count;
    struct rng rng = rng_stream((uint64_t)m->config->seed ^ ORDER_STREAM, number);
    uint64_t word = rng_next(&rng);
    size_t line = (size_t)((word >> 32) * m->count >> 32);
    if (m->aliases != NULL && (uint32_t)word >= m->aliases[line].cutoff)
        line = m->aliases[line].other;
    return line;
}

void mix_next(struct load_mix *m, struct mix_turn *ret) {
    const struct share *shard = &m->config->shard.share;
    uint64_t number = atomic_fetch_add_explicit(&m->next, 1, memory_order_relaxed);
    if (shard->count > 0)
        number = number * shard->count + shard->index;
    *ret = (struct mix_turn){ .number = number };
    if (m->entries == NULL)
        return; /* one request */
    ret->line = choose(m, number);
    ret->target = m->entries[ret->line].target;
}

size_t mix_target_count(const struct load_mix *m) {
    return m->host_count;
}

struct target *mix_target(const struct load_mix *m, size_t target) {
    return m->hosts[target].target;
}

char *const *mix_names(const struct load_mix *m, size_t *ret_count) {
    *ret_count = m->names.count;
    return m->names.texts;
}

size_t mix_line_count(const struct load_mix *m) {
    return m->count;
}

const struct replay *mix_replay(const struct load_mix *m) {
    return m->config->replay != NULL ? &m->replay : NULL;
}

/* --- in the report ---------------------------------------------------------------------------- */

static const char *order_of(const struct load_mix *m) {
    if (!m->is_random)
        return "in-order";
    return m->aliases != NULL ? "weighted" : "random";
}

static double span_of(const struct replay *r) {
    return (double)r->lines[r->count - 1].at / (double)NSEC_PER_SEC;
}

static void print_replay(FILE *out, const struct load_mix *m) {
    const struct replay *r = &m->replay;
    const char *comma = " ";
    uint64_t left_out = 0;
    section_label(out, "replay");
    fprintf(out, "%zu requests of a log, planned over %.3f s at %g times its speed%s\n", r->count,
            span_of(r), m->config->replay_speed,
            r->is_spread ? "; whole seconds are spread evenly" : "");
    for (size_t i = 0; i < MIX_UNPLAYABLES_COUNT; i++)
        left_out += r->left_out[i];
    if (left_out == 0)
        return;
    section_label(out, "left out");
    fprintf(out, "%" PRIu64 " lines:", left_out);
    for (size_t i = 0; i < MIX_UNPLAYABLES_COUNT; i++) {
        if (r->left_out[i] == 0)
            continue;
        fprintf(out, "%s%" PRIu64 " %s", comma, r->left_out[i], replay_reasons[i].text);
        comma = ", ";
    }
    if (r->first_bad > 0)
        fprintf(out, "; line %zu is the first malformed one", r->first_bad);
    fputc('\n', out);
}

static void print_mix(FILE *out, const struct report *r) {
    const struct load_mix *m = r->mix;
    if (m == NULL || (m->config->replay == NULL && m->config->requests_file == NULL))
        return;
    fputc('\n', out);
    if (m->config->replay != NULL) {
        print_replay(out, m);
        return;
    }
    section_label(out, "lines");
    fprintf(out, "%zu, %s, to %zu host%s\n", m->count, order_of(m), m->host_count,
            m->host_count > 1 ? "s" : "");
}

static void put_replay(struct json_draft root, const struct load_mix *m) {
    const struct replay *r = &m->replay;
    struct json_draft o = json_put_object(root, "replay");
    json_put_real(o, "span_s", span_of(r));
    json_put_real(o, "speed", m->config->replay_speed);
    json_put(o, "whole_seconds", json_boolean(r->is_spread));
    struct json_draft left_out = json_put_object(o, "left_out");
    for (size_t i = 0; i < MIX_UNPLAYABLES_COUNT; i++)
        json_put_count(left_out, replay_reasons[i].key, r->left_out[i]);
    json_put(o, "first_malformed_line",
             r->first_bad > 0 ? json_integer((json_int_t)r->first_bad) : json_null());
}

static void put_mix(struct json_draft root, const struct report *r) {
    const struct load_mix *m = r->mix;
    if (m == NULL) {
        json_put(root, "mix", json_null());
        return;
    }
    const struct loadgen_config *c = m->config;
    const char *file = c->replay != NULL ? c->replay : c->requests_file;
    struct json_draft o = json_put_object(root, "mix");
    json_put(o, "file", file != NULL ? json_text(slice_str(file), SIZE_MAX) : json_null());
    json_put_count(o, "lines", m->count);
    json_put_count(o, "hosts", m->host_count);
    json_put_text(o, "order", slice_str(order_of(m)));
    json_put(o, "templates", json_boolean(c->templates));
    json_put(o, "seed", json_integer(c->seed));
    if (c->replay != NULL)
        put_replay(o, m);
    else
        json_put(o, "replay", json_null());
}

const struct section mix_section = { .print = print_mix, .put = put_mix };
