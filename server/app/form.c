/* SPDX-License-Identifier: MIT */
/* The forms of <srv/app.h>: reads the body once, and keeps its fields. */
#include "http/multipart.h"
#include "http/url.h"
#include "server/app/request.h"
#include <string.h>

struct form {
    struct srv_field *fields;
    size_t count, cap;
};

static bool add(struct srv_request *rq, struct form *form, struct srv_field field) {
    size_t cap = form->cap > 0 ? 2 * form->cap : 16;

    if (form->count == SERVER_FORM_FIELDS_MAX) {
        srv_fail(rq, 400, "the form has more than %d fields", SERVER_FORM_FIELDS_MAX);
        return false;
    }
    if (form->count == form->cap) {
        struct srv_field *grown = request_alloc(rq, cap * sizeof(*grown));

        if (grown == NULL)
            return false;
        if (form->count > 0)
            memcpy(grown, form->fields, form->count * sizeof(*grown));
        form->fields = grown;
        form->cap = cap;
    }
    form->fields[form->count++] = field;
    return true;
}

/* --- urlencoded ---------------------------------------------------------- */

/* Decoded; as it came when it cannot be. */
static struct slice decode(struct srv_request *rq, struct slice raw) {
    char *text = request_alloc(rq, raw.len + 1);
    long len = text != NULL ? http_percent_decode(raw, text) : 0;

    if (text == NULL)
        return SLICE("");
    if (len < 0)
        memcpy(text, raw.ptr, raw.len);
    text[len < 0 ? raw.len : (size_t)len] = '\0';
    return slice_of(text, len < 0 ? raw.len : (size_t)len);
}

static void read_urlencoded(struct srv_request *rq, struct form *form, struct slice body) {
    struct slice name, value;
    bool more = true;

    while (more && rq->failed == 0 && http_query_next(&body, &name, &value)) {
        struct slice text = decode(rq, value);

        more = add(
            rq, form,
            (struct srv_field){ .name = decode(rq, name).ptr, .value = text.ptr, .len = text.len });
    }
}

/* --- multipart ----------------------------------------------------------- */

static const char *unquote(struct srv_request *rq, struct slice raw) {
    char *text = request_alloc(rq, raw.len + 1);

    if (text == NULL)
        return "";
    text[http_unquote(raw, text)] = '\0';
    return text;
}

/* The last segment of what the client calls the file. */
static const char *base_name(const char *name) {
    const char *slash = strrchr(name, '/'), *backslash = strrchr(name, '\\');

    name = slash != NULL ? slash + 1 : name;
    name = backslash != NULL && backslash >= name ? backslash + 1 : name;
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ? "" : name;
}

static bool add_part(struct srv_request *rq, struct form *form, const struct http_part *part) {
    struct srv_field field = { .name = unquote(rq, part->name),
                               .value = request_text(rq, part->data),
                               .len = part->data.len,
                               .type = request_text(rq, part->type) };

    if (part->file.ptr != NULL)
        field.file = base_name(unquote(rq, part->file));
    return rq->failed == 0 && add(rq, form, field);
}

static void read_multipart(struct srv_request *rq, struct form *form, struct slice type,
                           struct slice body) {
    struct http_multipart m;
    struct http_part part;
    int rc = http_multipart_begin(&m, type, body);

    while (rc >= 0 && (rc = http_multipart_next(&m, &part)) > 0)
        if (!add_part(rq, form, &part))
            return;
    if (rc < 0)
        srv_fail(rq, 400, "%s", m.why);
}

/* --- the calls ----------------------------------------------------------- */

static bool is_urlencoded(struct slice type) {
    return slice_eq_nocase(slice_trim(slice_take(type, slice_find(type, ';'))),
                           SLICE("application/x-www-form-urlencoded"));
}

/* Reads it with the first call; NULL without memory. */
static struct form *form_of(struct srv_request *rq) {
    struct slice type = slice_str(srv_header(rq, "Content-Type", ""));
    bool multipart = http_is_multipart(type);
    const char *body;
    size_t len;

    if (rq->form != NULL)
        return rq->form;
    rq->form = request_alloc(rq, sizeof(*rq->form));
    if (rq->form == NULL)
        return NULL;
    *rq->form = (struct form){ .count = 0 };
    if (rq->failed < 0 || (!multipart && !is_urlencoded(type)))
        return rq->form;
    body = srv_body(rq, &len);
    if (rq->failed == 0 && multipart)
        read_multipart(rq, rq->form, type, slice_of(body, len));
    else if (rq->failed == 0)
        read_urlencoded(rq, rq->form, slice_of(body, len));
    return rq->form;
}

const struct srv_field *srv_form_field(struct srv_request *rq, size_t index) {
    const struct form *form = form_of(rq);

    return form != NULL && index < form->count ? &form->fields[index] : NULL;
}

const char *srv_form(struct srv_request *rq, const char *name, const char *otherwise) {
    const struct srv_field *field;

    for (size_t i = 0; (field = srv_form_field(rq, i)) != NULL; i++)
        if (field->file == NULL && strcmp(field->name, name) == 0)
            return field->value;
    return otherwise;
}

const struct srv_field *srv_form_file(struct srv_request *rq, const char *name) {
    const struct srv_field *field;

    for (size_t i = 0; (field = srv_form_field(rq, i)) != NULL; i++)
        if (field->file != NULL && strcmp(field->name, name) == 0)
            return field;
    return NULL;
}
