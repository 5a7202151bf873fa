/* SPDX-License-Identifier: MIT */
/* Opens a mix: reads every line once, refuses those with a fault, and keeps what all share: hosts,
 * names, files, templates. */
#include "base/alloc.h"
#include "http/chars.h"
#include "loadgen/form.h"
#include "loadgen/mix.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>

enum {
    ENTRIES_FIRST = 1024,
    LINES_NAMED_MAX = 50, /* a file of more lines without names has no results by name */
};

static_assert(sizeof(struct mix_entry) == 8, "eight bytes per line");
static_assert(MIX_TARGETS_MAX < 1 << 7 && NAMES_MAX < 1 << 15, "numbers fit");

static int out_of_memory(struct error *err) {
    return error_set(err, -ENOMEM, "out of memory for the requests");
}

static int has_changed(struct error *err) {
    return error_set(err, -ESTALE, "a file changed while it was read");
}

/* Something that does not fit into the buffer that it goes to, or into memory. */
static int out_of_room(int rc, struct error *err) {
    if (rc != -ENOBUFS)
        return rc == -ENOMEM ? out_of_memory(err) : has_changed(err);
    return error_set(err, -EINVAL, "the line is too long: it has texts of over %d MiB",
                     MIX_TEXT_BYTES_MAX >> 20);
}

/* --- learning: what a line needs beside its bytes --------------------------------------------- */

static int refuse_line(const struct load_mix *m, size_t number, const char *why,
                       struct error *err) {
    return error_set(err, -EINVAL, "%s:%zu: the line %s", m->config->requests_file, number, why);
}

/* An error of something that a line names, with the line's number. */
static int blame_line(const struct load_mix *m, size_t number, int rc, struct error *err) {
    if (err == NULL)
        return rc;
    struct error reason = *err;
    return error_set(err, rc, "%s:%zu: %s", m->config->requests_file, number, reason.text);
}

static bool is_same_host(const struct target *a, const struct target *b) {
    return a->is_tls == b->is_tls && a->url.port == b->url.port && strcmp(a->host, b->host) == 0;
}

/* A form's parts are the body, with templates in them; its type is a field like others. */
static int take_form_type(struct loadgen_config *plain, char *field, struct error *err) {
    char type[FORM_TYPE_BYTES];
    struct buf body;
    if (plain->form.count == 0)
        return 0;
    if (plain->headers.count == OPTION_STRINGS_MAX)
        return error_set(err, -EINVAL, "--header: at most %d with a form", OPTION_STRINGS_MAX - 1);
    buf_init(&body, LOADGEN_BODY_BYTES_MAX);
    int rc = form_build(&plain->form, (uint64_t)plain->seed, &body, type, err);
    buf_free(&body);
    if (rc != 0)
        return rc;
    snprintf(field, sizeof("Content-Type: ") + FORM_TYPE_BYTES, "Content-Type: %s", type);
    plain->headers.items[plain->headers.count++] = field;
    plain->form.count = 0;
    return 0;
}

/* The fields that the options ask for, as the one request of a usual run has them. */
static int build_fields(struct load_mix *m, struct mix_host *host, struct error *err) {
    struct loadgen_config *plain = mem_alloc(sizeof(*plain)); /* large for a stack */
    struct request request = { .has_body = false };
    if (plain == NULL)
        return out_of_memory(err);
    *plain = *m->config;
    plain->method = plain->post_file = plain->put_file = plain->body_text = NULL;
    plain->head = false;
    char type[sizeof("Content-Type: ") + FORM_TYPE_BYTES];
    int rc = take_form_type(plain, type, err);
    if (rc == 0)
        rc = request_build(&request, plain, host->target, err);
    mem_free(plain);
    if (rc != 0)
        return rc;
    host->close = request.close;
    struct slice rest = request_bytes(&request);
    rest = slice_drop(rest, slice_find(rest, '\r') - (sizeof(" HTTP/1.1") - 1));
    buf_init(&host->tail, MIX_TEXT_BYTES_MAX);
    rc = buf_append(&host->tail, rest);
    while (rest.len > 0) {
        struct slice name = slice_take(rest, slice_find(rest, ':'));
        host->has_type = host->has_type || slice_eq_nocase(name, SLICE("Content-Type"));
        rest = slice_drop(rest, slice_find(rest, '\n') + 1);
    }
    request_free(&request);
    return rc == 0 ? 0 : out_of_memory(err);
}

static int add_host(struct load_mix *m, struct target *target, struct error *err) {
    struct mix_host *host = &m->hosts[m->host_count];
    host->target = target;
    int rc = build_fields(m, host, err);
    if (rc == 0 && target->through_proxy && !target->is_tls) {
        size_t size = sizeof("http://") + strlen(target->authority);
        host->prefix_text = mem_alloc(size);
        if (host->prefix_text == NULL)
            return out_of_memory(err);
        snprintf(host->prefix_text, size, "http://%s", target->authority);
        host->prefix = slice_of(host->prefix_text, size - 1);
    }
    struct slice fields = buf_unread(&host->tail);
    if (rc == 0 && m->templates != NULL)
        rc = templates_learn(m->templates, fields, TEMPLATE_IN_HEADER, err);
    host->has_templates = m->templates != NULL && template_is_in(fields);
    m->host_count++;
    return rc;
}

static int make_host(struct load_mix *m, const char *url, size_t *ret, struct error *err) {
    const struct loadgen_config *c = m->config;
    struct target *target = mem_calloc(1, sizeof(*target));
    if (target == NULL)
        return out_of_memory(err);
    int rc = target_parse(target, url, err);
    if (rc == 0)
        rc = target_via(target, c->proxy, c->unix_path, err);
    *ret = 0;
    while (rc == 0 && *ret < m->host_count && !is_same_host(m->hosts[*ret].target, target))
        (*ret)++;
    if (rc == 0 && *ret == MIX_TARGETS_MAX)
        rc = error_set(err, -EINVAL, "there are more than %d hosts", MIX_TARGETS_MAX);
    if (rc == 0 && *ret == m->host_count)
        return add_host(m, target, err);
    mem_free(target);
    return rc;
}

/* The host of a URL, which is added when it is new. */
static int learn_host(struct load_mix *m, struct slice url, size_t *ret, struct error *err) {
    struct slice key = slice_take(url, mix_path_at(url));
    *ret = 0;
    if (url.len > 0 && url.ptr[0] == '/')
        return 0;
    if (slice_starts_with(url, SLICE("unix:")))
        return error_set(err, -EINVAL, "a unix socket is that of all lines: --unix-socket PATH");
    if (slice_starts_with(slice_drop(url, key.len), SLICE("?")))
        return error_set(err, -EINVAL, "the URL needs a / before the query");
    if (m->templates != NULL && template_is_in(key))
        return error_set(err, -EINVAL, "templates stand in the path or the query, not in the host");
    size_t before = m->urls.count, number;
    int rc = intern_add(&m->urls, key, &number);
    if (rc != 0)
        return error_set(err, rc == -ENOSPC ? -EINVAL : rc,
                         "there are more than %d hosts, or memory is out", MIX_TARGETS_MAX);
    if (number == before) {
        size_t host = 0;
        rc = make_host(m, m->urls.texts[number], &host, err);
        m->url_hosts[number] = (uint8_t)host;
    }
    *ret = m->url_hosts[number];
    return rc;
}

static int learn_text(struct load_mix *m, struct slice text, enum template_place place,
                      struct error *err) {
    return m->templates != NULL ? templates_learn(m->templates, text, place, err) : 0;
}

/* Reads a body's file when it is named for the first time. */
static int learn_file(struct load_mix *m, struct slice path, struct error *err) {
    size_t before = m->files.count, number;
    int rc = intern_add(&m->files, path, &number);
    if (rc != 0)
        return error_set(err, rc == -ENOSPC ? -EINVAL : rc,
                         "there are more than %d files of bodies, or memory is out", MIX_FILES_MAX);
    if (number < before)
        return 0;
    struct buf *bodies = mem_realloc(m->bodies, m->files.count * sizeof(*bodies));
    if (bodies == NULL)
        return out_of_memory(err);
    m->bodies = bodies;
    buf_init(&bodies[number], LOADGEN_BODY_BYTES_MAX);
    rc = input_read(m->files.texts[number], &bodies[number], err);
    return rc == 0 ? learn_text(m, buf_unread(&bodies[number]), TEMPLATE_IN_BODY, err) : rc;
}

static int learn_expect(struct load_mix *m, struct slice text, struct error *err) {
    size_t before = m->texts.count, number;
    int rc = intern_add(&m->texts, text, &number);
    if (rc != 0)
        return error_set(err, rc == -ENOMEM ? rc : -EINVAL,
                         "a body that is expected has a NUL, or there are more than %d",
                         MIX_TEXTS_MAX);
    if (number < before)
        return 0;
    struct expect_body *expects = mem_realloc(m->expects, m->texts.count * sizeof(*expects));
    if (expects == NULL)
        return out_of_memory(err);
    m->expects = expects;
    if (expect_body_init(&expects[number], m->texts.texts[number]) != 0) {
        expects[number] = (struct expect_body){ .fallbacks = NULL };
        return out_of_memory(err);
    }
    return 0;
}

static int learn_status(struct slice status, struct error *err) {
    char text[64];
    struct expect_status parsed;
    struct error allowed = { .text = "" };
    snprintf(text, sizeof(text), "%.*s", (int)status.len, status.ptr);
    if (status.len < sizeof(text) && expect_status_parse(text, &parsed, &allowed) == 0)
        return 0;
    return error_set(err, -EINVAL, "the status that is expected: %s",
                     allowed.text[0] != '\0' ? allowed.text : "too long");
}

static int learn_header(struct mix_filling *f, struct load_mix *m, const struct json_member *field,
                        struct error *err) {
    struct slice value;
    if (field->kind != JSON_KIND_STRING && field->kind != JSON_KIND_NUMBER)
        return error_set(err, -EINVAL, "a header's value is no string");
    if (field->key.len == 0 ||
        http_span(field->key.ptr, field->key.len, HTTP_CHAR_TOKEN) != field->key.len)
        return error_set(err, -EINVAL, "a header's name is no token");
    if (slice_eq_nocase(field->key, SLICE("Content-Length")) ||
        slice_eq_nocase(field->key, SLICE("Transfer-Encoding")))
        return error_set(err, -EINVAL, "the framing of the body is not up to headers");
    if (mix_plain_of(f, (struct mix_text){ field->value, field->has_escapes }, &value) != 0)
        return out_of_memory(err);
    if (value.len > 0 && http_span_value(value.ptr, value.len) != value.len)
        return error_set(err, -EINVAL, "a header's value has control characters");
    return learn_text(m, value, TEMPLATE_IN_HEADER, err);
}

static int learn_headers(struct mix_filling *f, struct load_mix *m, struct slice headers,
                         struct error *err) {
    struct json_scan scan;
    struct json_member field;
    size_t count = 0;
    int rc = headers.len > 0 ? json_scan_begin(&scan, headers) : 0;
    while (headers.len > 0 && rc == 0 && (rc = json_scan_next(&scan, &field)) > 0) {
        rc = learn_header(f, m, &field, err);
        if (rc == 0 && ++count > MIX_HEADERS_MAX)
            rc = error_set(err, -EINVAL, "there are more than %d headers", MIX_HEADERS_MAX);
    }
    return rc;
}

static int learn_body(struct mix_filling *f, struct load_mix *m, const struct mix_line *line,
                      struct error *err) {
    struct slice text;
    if (line->body_kind == MIX_BODY_NONE)
        return 0;
    int rc = mix_plain_of(f, line->body, &text);
    if (rc != 0)
        return out_of_room(rc, err);
    if (line->body_kind == MIX_BODY_FILE)
        return learn_file(m, text, err);
    return learn_text(m, text,
                      line->body_kind == MIX_BODY_JSON ? TEMPLATE_IN_JSON : TEMPLATE_IN_BODY, err);
}

static int learn_demands(struct mix_filling *f, struct load_mix *m, const struct mix_line *line,
                         struct error *err) {
    struct slice text;
    int rc = line->expect_status.len > 0 ? learn_status(line->expect_status, err) : 0;
    if (rc != 0 || line->expect_body.raw.len == 0)
        return rc;
    return mix_plain_of(f, line->expect_body, &text) == 0 ? learn_expect(m, text, err)
                                                          : out_of_memory(err);
}

/* The number of the line's name; MIX_NO_NAME: it has none. */
static int learn_name(struct mix_filling *f, struct load_mix *m, const struct mix_line *line,
                      size_t *ret, struct error *err) {
    struct slice name;
    *ret = MIX_NO_NAME;
    if (line->name.raw.len == 0)
        return 0;
    if (mix_plain_of(f, line->name, &name) != 0)
        return out_of_memory(err);
    int rc = name.len <= NAME_BYTES_MAX ? intern_add(&m->names, name, ret) : -EINVAL;
    if (rc == -ENOMEM)
        return out_of_memory(err);
    if (rc != 0)
        return error_set(err, -EINVAL,
                         "there are more than %d names, or one has more than %d bytes or a NUL",
                         NAMES_MAX - 1, NAME_BYTES_MAX);
    return 0;
}

/* --- checking --------------------------------------------------------------------------------- */

static int check_method(struct slice method, struct error *err) {
    if (http_span(method.ptr, method.len, HTTP_CHAR_TOKEN) != method.len)
        return error_set(err, -EINVAL, "the method is no token");
    if (slice_eq(method, SLICE("CONNECT")))
        return error_set(err, -EINVAL, "CONNECT asks for a tunnel, which is not loaded");
    return 0;
}

/* The target of what was filled in can be sent. */
static int check_target(const struct request *r, struct slice url, struct error *err) {
    struct slice line = slice_take(request_bytes(r), slice_find(request_bytes(r), '\r'));
    line = slice_drop(line, slice_find(line, ' ') + 1);
    size_t len = line.len > 9 ? line.len - 9 : 0; /* without " HTTP/1.1" */
    if (slice_find(url, '\r') < url.len || len == 0 || http_span_target(line.ptr, len) != len)
        return error_set(err, -EINVAL,
                         "the URL has characters that cannot be sent: percent-encode them");
    return 0;
}

static int check_line(struct load_mix *m, const struct mix_line *line, struct mix_request *r,
                      struct mix_entry *entry, struct error *err) {
    struct mix_filling f = { .m = m, .r = r };
    struct slice url;
    size_t host = 0, name = MIX_NO_NAME;
    if (mix_plain_of(&f, line->url, &url) != 0)
        return out_of_memory(err);
    int rc = learn_host(m, url, &host, err);
    if (rc == 0)
        rc = learn_text(m, mix_target_of(url), TEMPLATE_IN_URL, err);
    if (rc == 0)
        rc = learn_headers(&f, m, line->headers, err);
    if (rc == 0)
        rc = learn_body(&f, m, line, err);
    if (rc == 0)
        rc = learn_demands(&f, m, line, err);
    if (rc == 0)
        rc = learn_name(&f, m, line, &name, err);
    if (rc != 0)
        return rc;
    rc = check_method(line->method, err);
    if (rc != 0)
        return rc;
    f.host = &m->hosts[host];
    f.values = template_request_of((uint64_t)m->config->seed, 0);
    rc = mix_fill_line(&f, line);
    if (rc != 0)
        return out_of_room(rc, err);
    entry->target = host & 127;
    entry->name = name & MIX_NO_NAME;
    return mix_plain_of(&f, line->url, &url) == 0 ? check_target(&r->request, url, err)
                                                  : out_of_memory(err);
}

static int add_entry(struct load_mix *m, struct mix_entry entry, struct error *err) {
    if (m->count == m->cap) {
        size_t cap = m->cap > 0 ? m->cap * 2 : ENTRIES_FIRST;
        struct mix_entry *entries = mem_realloc(m->entries, cap * sizeof(*entries));
        if (entries == NULL)
            return out_of_memory(err);
        m->entries = entries;
        m->cap = cap;
    }
    m->entries[m->count++] = entry;
    return 0;
}

static int check_order(const struct load_mix *m, const struct mix_line *line, size_t number,
                       struct error *err) {
    enum loadgen_order order = m->config->requests_order;
    if (!line->has_weight || order == LOADGEN_ORDER_AUTO || order == LOADGEN_ORDER_WEIGHTED)
        return 0;
    return refuse_line(m, number,
                       "has a weight, which --requests-order in-order and random do not heed", err);
}

/* Reads all lines. *ret_weighted: one of them has a weight. */
static int read_file(struct load_mix *m, struct mix_request *r, bool *ret_weighted,
                     struct error *err) {
    struct slice text;
    size_t offset = 0, number = 0;
    for (;;) {
        struct mix_line line;
        const char *why = "";
        struct mix_entry entry = { .offset = offset & ((UINT64_C(1) << 42) - 1) };
        if (!input_line(m->input.text, &offset, &text))
            return 0;
        number++;
        int rc = mix_line_parse(text, &line, &why);
        if (rc == 0)
            continue;
        if (rc < 0)
            return refuse_line(m, number, why, err);
        rc = check_line(m, &line, r, &entry, err);
        if (rc != 0)
            return blame_line(m, number, rc, err);
        rc = check_order(m, &line, number, err);
        if (rc == 0)
            rc = add_entry(m, entry, err);
        if (rc != 0)
            return rc;
        *ret_weighted = *ret_weighted || line.has_weight;
    }
}

/* --- opening ---------------------------------------------------------------------------------- */

/* Vose's way to make the table: each line fills its own slot with what is below the mean, and slots
 * that are not full take the rest from a line above it. */
static int make_aliases(struct load_mix *m, struct error *err) {
    double *left = mem_alloc(m->count * sizeof(*left)), sum = 0;
    uint32_t *stack = mem_alloc(m->count * sizeof(*stack)); /* small from below, large from above */
    m->aliases = mem_alloc(m->count * sizeof(*m->aliases));
    size_t small = 0, large = m->count;
    bool ok = left != NULL && stack != NULL && m->aliases != NULL;
    for (size_t i = 0; ok && i < m->count; i++) {
        struct mix_line line;
        sum += left[i] = mix_read_line(m, i, &line) == 0 ? line.weight : 1;
    }
    for (size_t i = 0; ok && i < m->count; i++) {
        left[i] *= (double)m->count / sum;
        m->aliases[i] = (struct mix_alias){ UINT32_MAX, (uint32_t)i };
        if (left[i] < 1)
            stack[small++] = (uint32_t)i;
        else
            stack[--large] = (uint32_t)i;
    }
    while (ok && small > 0 && large < m->count) {
        uint32_t less = stack[--small], more = stack[large];
        m->aliases[less] = (struct mix_alias){ (uint32_t)(left[less] * 0x1p32), more };
        left[more] -= 1 - left[less];
        if (left[more] < 1) {
            large++;
            stack[small++] = more;
        }
    }
    mem_free(left);
    mem_free(stack);
    return ok ? 0 : out_of_memory(err);
}

/* Lines of a short file are their own names when none has one. */
static int name_by_url(struct load_mix *m) {
    char text[NAME_BYTES_MAX], room[NAME_BYTES_MAX];
    for (size_t i = 0; i < m->count; i++) {
        struct mix_line line;
        int rc = mix_read_line(m, i, &line);
        if (rc != 0)
            return rc;
        struct slice url = slice_take(line.url.raw, sizeof(room));
        if (line.url.has_escapes)
            url = line.url.raw.len <= sizeof(room) ? mix_text_of(line.url, room) : SLICE("");
        const char *method = line.body_kind != MIX_BODY_NONE ? "POST" : "GET";
        if (line.method.len > 0)
            snprintf(text, sizeof(text), "%.*s %.*s", (int)line.method.len, line.method.ptr,
                     (int)url.len, url.ptr);
        else
            snprintf(text, sizeof(text), "%s %.*s", method, (int)url.len, url.ptr);
        size_t name;
        rc = intern_add(&m->names, slice_str(text), &name);
        if (rc != 0)
            return rc;
        m->entries[i].name = name & MIX_NO_NAME;
    }
    return 0;
}

static int name_lines(struct load_mix *m, struct error *err) {
    size_t unnamed = 0;
    if (m->names.count == 0 && m->count > LINES_NAMED_MAX)
        return 0;
    if (m->names.count == 0) {
        int rc = name_by_url(m);
        return rc == 0 ? 0 : out_of_room(rc, err);
    }
    m->names.max++;
    for (size_t i = 0; i < m->count; i++) {
        if (m->entries[i].name != MIX_NO_NAME)
            continue;
        if (unnamed == 0 && intern_add(&m->names, SLICE("(unnamed)"), &unnamed) != 0)
            return out_of_memory(err);
        m->entries[i].name = unnamed & MIX_NO_NAME;
    }
    return 0;
}

static int open_file(struct load_mix *m, struct mix_request *r, struct error *err) {
    enum loadgen_order order = m->config->requests_order;
    bool is_weighted = false;
    int rc = input_open(&m->input, m->config->requests_file, err);
    if (rc == 0)
        rc = read_file(m, r, &is_weighted, err);
    if (rc == 0 && m->count == 0)
        rc = error_set(err, -EINVAL, "%s has no request", m->config->requests_file);
    if (rc == 0)
        rc = name_lines(m, err);
    m->is_random = is_weighted || order == LOADGEN_ORDER_RANDOM || order == LOADGEN_ORDER_WEIGHTED;
    return rc == 0 && is_weighted ? make_aliases(m, err) : rc;
}

/* The request of the options, with templates. */
static int open_single(struct load_mix *m, struct mix_request *r, struct error *err) {
    struct request request = { .has_body = false };
    struct target *target = m->hosts[0].target;
    struct mix_entry entry;
    int rc = request_build(&request, m->config, target, err);
    if (rc != 0)
        return rc;
    struct slice bytes = request_bytes(&request);
    rc = buf_append(&m->single_bytes, bytes);
    bytes = buf_unread(&m->single_bytes);
    m->single = (struct mix_line){ .url.raw = target->url.target,
                                   .method = slice_take(bytes, slice_find(bytes, ' ')) };
    if (request.has_body) {
        m->single.body_kind = MIX_BODY_TEXT;
        m->single.body.raw = slice_drop(bytes, request.head_bytes);
    }
    request_free(&request);
    m->count = 1;
    return rc == 0 ? check_line(m, &m->single, r, &entry, err) : out_of_memory(err);
}

static int open_log(struct load_mix *m, struct error *err) {
    const struct loadgen_config *c = m->config;
    struct error reason = { .text = "" };
    int rc = input_open(&m->input, c->replay, err);
    if (rc == 0)
        rc = replay_read(&m->replay, m->input.text, c->replay_methods, c->replay_speed, &reason);
    if (rc == 0)
        m->count = m->replay.count;
    else if (reason.text[0] != '\0')
        error_set(err, rc, "%s: %s", c->replay, reason.text);
    return rc;
}

static void init(struct load_mix *m, const struct loadgen_config *c) {
    m->config = c;
    intern_init(&m->urls, MIX_URLS_MAX);
    intern_init(&m->names, NAMES_MAX - 1);
    intern_init(&m->files, MIX_FILES_MAX);
    intern_init(&m->texts, MIX_TEXTS_MAX);
    buf_init(&m->single_bytes, LOADGEN_BODY_BYTES_MAX + MIX_TEXT_BYTES_MAX);
}

int mix_open(struct load_mix **ret, const struct loadgen_config *c, struct target *base,
             struct error *err) {
    *ret = NULL;
    if (c->requests_file == NULL && c->replay == NULL && !c->templates)
        return 0;
    struct load_mix *m = mem_calloc(1, sizeof(*m));
    struct mix_request *r = mem_calloc(1, sizeof(*r));
    if (m == NULL || r == NULL) {
        mem_free(m);
        mem_free(r);
        return out_of_memory(err);
    }
    init(m, c);
    m->templates = c->templates ? templates_new() : NULL;
    mix_request_init(r);
    int rc = c->templates && m->templates == NULL ? out_of_memory(err) : add_host(m, base, err);
    if (rc == 0 && c->replay != NULL)
        rc = open_log(m, err);
    else if (rc == 0 && c->requests_file != NULL)
        rc = open_file(m, r, err);
    else if (rc == 0)
        rc = open_single(m, r, err);
    mix_request_free(r);
    if (rc == 0 && input_has_shrunk())
        rc = has_changed(err);
    if (rc != 0)
        mix_free(m);
    else
        *ret = m;
    return rc;
}

void mix_free(struct load_mix *m) {
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->host_count; i++) {
        if (i > 0)
            mem_free(m->hosts[i].target);
        mem_free(m->hosts[i].prefix_text);
        buf_free(&m->hosts[i].tail);
    }
    for (size_t i = 0; m->bodies != NULL && i < m->files.count; i++)
        buf_free(&m->bodies[i]);
    for (size_t i = 0; m->expects != NULL && i < m->texts.count; i++)
        expect_body_free(&m->expects[i]);
    mem_free(m->bodies);
    mem_free(m->expects);
    mem_free(m->entries);
    mem_free(m->aliases);
    buf_free(&m->single_bytes);
    intern_free(&m->urls);
    intern_free(&m->names);
    intern_free(&m->files);
    intern_free(&m->texts);
    templates_free(m->templates);
    replay_free(&m->replay);
    input_close(&m->input);
    mem_free(m);
}

int mix_first_url(const char *path, char *url, size_t size, struct error *err) {
    struct input in;
    struct slice text;
    size_t offset = 0;
    const char *why;
    int rc = input_open(&in, path, err);
    bool found = false;
    while (rc == 0 && !found && input_line(in.text, &offset, &text)) {
        struct mix_line line;
        if (mix_line_parse(text, &line, &why) <= 0 || line.url.raw.len >= size)
            continue;
        struct slice plain = mix_text_of(line.url, url);
        memmove(url, plain.ptr, plain.len);
        url[plain.len] = '\0';
        found = url[0] != '/';
    }
    if (!found)
        url[0] = '\0';
    input_close(&in);
    return rc;
}
