/* SPDX-License-Identifier: MIT */
/* Builds the request: method, fields in the order of importance to a reader, body from a file. */
#include "loadgen/request.h"
#include "base/arena.h"
#include "base/base64.h"
#include "http/encode.h"
#include "loadgen/codings.h"
#include "loadgen/form.h"
#include "loadgen/input.h"
#include <errno.h>
#include <stdio.h>

enum { FIELDS_MAX = OPTION_STRINGS_MAX + 11, SCRATCH_BYTES_MAX = 1 << 20 };

struct builder {
    const struct loadgen_config *config;
    struct arena scratch; /* joined and encoded values, until the head is written */
    struct http_field fields[FIELDS_MAX];
    size_t count;
    struct slice host;
    char form_type[FORM_TYPE_BYTES]; /* Content-Type of a form; "": the body is none */
};

static int out_of_memory(struct error *err) {
    return error_set(err, -ENOMEM, "out of memory for the request");
}

static void add_field(struct builder *b, struct slice name, struct slice value) {
    b->fields[b->count++] = (struct http_field){ name, value };
}

static bool has_field(const struct builder *b, struct slice name) {
    for (size_t i = 0; i < b->count; i++)
        if (slice_eq_nocase(b->fields[i].name, name))
            return true;
    return false;
}

/* A field that -H can replace. */
static void add_default(struct builder *b, struct slice name, struct slice value) {
    if (!has_field(b, name))
        add_field(b, name, value);
}

/* One -H. Host goes where Host belongs; a Connection field decides about keep-alive as -k does. */
static int add_header(struct builder *b, struct request *r, const char *text, struct error *err) {
    struct slice value = slice_str(text);
    if (slice_find(value, ':') == value.len)
        return error_set(err, -EINVAL, "--header '%s': expected 'Name: value'", text);
    struct slice name = slice_cut(&value, ':');
    value = slice_trim(value);
    if (slice_eq_nocase(name, SLICE("Content-Length")) ||
        slice_eq_nocase(name, SLICE("Transfer-Encoding")))
        return error_set(err, -EINVAL, "--header '%s': the framing of the body is not up to -H",
                         text);

    if (slice_eq_nocase(name, SLICE("Host"))) {
        b->host = value;
        return 0;
    }
    if (slice_eq_nocase(name, SLICE("Connection"))) {
        if (slice_list_has_nocase(value, SLICE("close")))
            r->close = true;
        else if (slice_list_has_nocase(value, SLICE("keep-alive")))
            r->close = false;
    }
    add_field(b, name, value);
    return 0;
}

static int add_cookies(struct builder *b, struct error *err) {
    const struct option_strings *cookies = &b->config->cookies;
    const char *joined = NULL;
    for (size_t i = 0; i < cookies->count; i++) {
        joined = joined == NULL ? cookies->items[i]
                                : arena_printf(&b->scratch, "%s; %s", joined, cookies->items[i]);
        if (joined == NULL)
            return out_of_memory(err);
    }
    if (joined != NULL)
        add_field(b, SLICE("Cookie"), slice_str(joined));
    return 0;
}

static int add_credentials(struct builder *b, struct slice name, const char *credentials,
                           struct error *err) {
    if (credentials == NULL)
        return 0;
    struct slice plain = slice_str(credentials);
    size_t prefix = sizeof("Basic ") - 1;
    char *text = arena_alloc(&b->scratch, prefix + base64_size(plain.len));
    if (text == NULL)
        return out_of_memory(err);
    memcpy(text, "Basic ", prefix);
    size_t len = prefix + base64_encode(plain, BASE64_STANDARD, text + prefix);
    add_default(b, name, slice_of(text, len));
    return 0;
}

/* The file that the body comes from, or NULL. --body names one by @FILE. */
static const char *body_file_of(const struct loadgen_config *c) {
    if (c->post_file != NULL || c->put_file != NULL)
        return c->post_file != NULL ? c->post_file : c->put_file;
    return c->body_text != NULL && c->body_text[0] == '@' ? c->body_text + 1 : NULL;
}

static struct slice method_text(const struct loadgen_config *c) {
    if (c->method != NULL)
        return slice_str(c->method);
    if (c->post_file != NULL || c->body_text != NULL || c->form.count > 0 || c->body_stream != NULL)
        return SLICE("POST");
    if (c->put_file != NULL)
        return SLICE("PUT");
    return c->head ? SLICE("HEAD") : SLICE("GET");
}

static int add_fields(struct builder *b, struct request *r, bool to_proxy, struct error *err) {
    const struct loadgen_config *c = b->config;
    for (size_t i = 0; i < c->headers.count; i++) {
        int rc = add_header(b, r, c->headers.items[i], err);
        if (rc != 0)
            return rc;
    }
    int rc = add_cookies(b, err);
    if (rc == 0)
        rc = add_credentials(b, SLICE("Authorization"), c->credentials, err);
    if (rc == 0 && to_proxy)
        rc = add_credentials(b, SLICE("Proxy-Authorization"), c->proxy_credentials, err);
    if (rc != 0)
        return rc;
    if (b->form_type[0] != '\0' && has_field(b, SLICE("Content-Type")))
        return error_set(err, -EINVAL,
                         "--form excludes a Content-Type in --header: it is "
                         "multipart/form-data, with the boundary that the parts have");
    if (b->form_type[0] != '\0')
        add_field(b, SLICE("Content-Type"), slice_str(b->form_type));
    else if (r->has_body)
        add_default(b, SLICE("Content-Type"),
                    slice_str(c->content_type != NULL ? c->content_type : "text/plain"));
    add_default(b, SLICE("User-Agent"), SLICE("srv-bench/" SRV_VERSION));
    add_default(b, SLICE("Accept"), SLICE("*/*"));
    if (c->expect_continue)
        add_default(b, SLICE("Expect"), SLICE("100-continue"));
    if (c->compressed)
        add_default(b, SLICE("Accept-Encoding"), SLICE(CODINGS_ACCEPTED));
    return 0;
}

/* A proxy is told the whole URL (RFC 9112 section 3.2.2). */
static struct slice target_text(struct builder *b, const struct target *t) {
    if (!t->through_proxy || t->is_tls) /* within a tunnel the server is asked itself */
        return t->url.target;
    const char *text = arena_printf(&b->scratch, "http://%s%.*s", t->authority,
                                    (int)t->url.target.len, t->url.target.ptr);
    return slice_str(text != NULL ? text : "");
}

/* RFC 9110 section 8.6: these say that there is no body, or servers answer 411. */
static bool needs_length(struct slice method) {
    return slice_eq(method, SLICE("POST")) || slice_eq(method, SLICE("PUT")) ||
           slice_eq(method, SLICE("PATCH"));
}

static int append_body(struct buf *bytes, struct slice body, bool is_chunked) {
    if (!is_chunked)
        return buf_append(bytes, body);
    int rc = 0;
    while (body.len > 0 && rc == 0) {
        rc = http_encode_chunk(bytes, slice_take(body, BODY_CHUNK_BYTES));
        body = slice_drop(body, BODY_CHUNK_BYTES);
    }
    return rc == 0 ? http_encode_chunk(bytes, SLICE("")) : rc;
}

static int encode(struct builder *b, struct request *r, const struct target *t, struct slice body,
                  struct error *err) {
    bool own_connection = !has_field(b, SLICE("Connection"));
    bool http10 = b->config->http10 || b->config->ab_strict;
    struct http_request_head head = {
        .method = r->method,
        .method_text = method_text(b->config),
        .target = target_text(b, t),
        .host = b->host,
        .fields = b->fields,
        .field_count = b->count,
        .content_length = r->is_streamed ? r->file.file_bytes : body.len,
        .has_content_length =
            !b->config->chunked && (r->has_body || needs_length(method_text(b->config))),
        .chunked = b->config->chunked,
        .version_minor = http10 ? 0 : 1,
        .close = own_connection && r->close && !http10,
        .keep_alive = own_connection && !r->close && http10,
    };
    if (head.target.len == 0)
        return out_of_memory(err);
    int rc = http_encode_request(&r->bytes, &head);
    r->head_bytes = buf_unread(&r->bytes).len;
    if (rc == 0 && !r->is_streamed)
        rc = append_body(&r->bytes, body, b->config->chunked);
    if (rc == -EINVAL)
        return error_set(err, rc,
                         "--method, --header, --cookie or --auth hold characters that "
                         "cannot be sent");
    return rc == 0 ? 0 : out_of_memory(err);
}

int request_build(struct request *r, const struct loadgen_config *c, const struct target *t,
                  struct error *err) {
    struct builder b = { .config = c, .host = slice_str(t->authority) };
    const char *body_file = body_file_of(c);
    struct buf body;
    buf_init(&body, LOADGEN_BODY_BYTES_MAX);
    arena_init(&b.scratch, SCRATCH_BYTES_MAX);
    buf_init(&r->bytes, LOADGEN_BODY_BYTES_MAX + SCRATCH_BYTES_MAX);
    r->method = http_method_of(method_text(c));
    r->has_body = loadgen_config_has_body(c);
    r->is_streamed = false;
    r->close = !c->keep_alive;

    int rc = 0;
    if (c->form.count > 0)
        rc = form_build(&c->form, (uint64_t)c->seed, &body, b.form_type, err);
    if (rc == 0)
        rc = add_fields(&b, r, !t->is_tls, err);
    if (rc == 0 && c->body_stream != NULL) {
        rc = body_file_open(&r->file, c->body_stream, c->chunked, err);
        r->is_streamed = rc == 0;
    }
    if (rc == 0 && body_file != NULL)
        rc = input_read(body_file, &body, err);
    if (rc == 0)
        rc = encode(&b, r, t,
                    body_file == NULL && c->body_text != NULL ? slice_str(c->body_text)
                                                              : buf_unread(&body),
                    err);

    buf_free(&body);
    arena_free(&b.scratch);
    if (rc != 0)
        request_free(r);
    return rc;
}

/* RFC 9110 section 9.3.6: the target is host and port, also where that is the usual one. */
int request_build_tunnel(struct buf *to, const struct loadgen_config *c, const struct target *t,
                         struct error *err) {
    struct builder b = { .config = c };
    arena_init(&b.scratch, SCRATCH_BYTES_MAX);
    const char *at =
        arena_printf(&b.scratch, t->url.host_is_ipv6 ? "[%s]:%u" : "%s:%u", t->host, t->url.port);
    int rc = at == NULL
                 ? out_of_memory(err)
                 : add_credentials(&b, SLICE("Proxy-Authorization"), c->proxy_credentials, err);
    add_field(&b, SLICE("User-Agent"), SLICE("srv-bench/" SRV_VERSION));
    struct http_request_head head = {
        .method = HTTP_METHOD_CONNECT,
        .method_text = SLICE("CONNECT"),
        .target = slice_str(at),
        .host = slice_str(at),
        .fields = b.fields,
        .field_count = b.count,
        .version_minor = 1,
    };
    if (rc == 0 && http_encode_request(to, &head) != 0)
        rc = error_set(err, -EINVAL, "--proxy-auth holds characters that cannot be sent");
    arena_free(&b.scratch);
    return rc;
}

void request_free(struct request *r) {
    if (r->is_streamed)
        body_file_close(&r->file);
    r->is_streamed = false;
    buf_free(&r->bytes);
}

void request_show(const struct request *r) {
    struct slice head = slice_take(buf_unread(&r->bytes), r->head_bytes);
    fprintf(stderr, "request head:\n---\n%.*s---\n", (int)head.len, head.ptr);
}

void request_show_answer(const struct http_head *head, int64_t level) {
    if (level >= VERBOSE_STATUS)
        fprintf(stderr, "response code = %u\n", head->status);
    struct slice rest = head->fields, name, value;
    fprintf(stderr, "response head:\n");
    while (http_field_next(&rest, &name, &value))
        fprintf(stderr, "  %.*s: %.*s\n", (int)name.len, name.ptr, (int)value.len, value.ptr);
}
