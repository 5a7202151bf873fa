/* SPDX-License-Identifier: MIT */
/* Keeps requests until their body has come, and tells them back. */
#include "slowapi/request.h"
#include "base/alloc.h"
#include "base/base64.h"
#include "base/json.h"
#include "http/multipart.h"
#include "http/url.h"
#include "net/peer.h"
#include "slowapi/limits.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>

/* --- kept ------------------------------------------------------------------------------------- */

/* The slice in a copy of what it lies in. */
static struct slice moved(struct slice s, struct slice from, struct slice to) {
    return s.len > 0 ? slice_of(to.ptr + (s.ptr - from.ptr), s.len) : SLICE("");
}

static struct slice copied(char **at, struct slice s) {
    struct slice copy = slice_of(*at, s.len);

    if (s.len > 0)
        memcpy(*at, s.ptr, s.len);
    *at += s.len;
    return copy;
}

struct kept_request *kept_new(const struct slow_request *request, const struct spec *spec,
                              const struct route *route, uint64_t *held_bytes) {
    const struct http_head *head = request->head;
    struct kept_request *kept = mem_alloc(sizeof(*kept) + head->method_text.len + head->target.len +
                                          head->fields.len + head->host.len + request->path.len);
    char *at;

    if (kept == NULL)
        return NULL;
    *kept = (struct kept_request){
        .request = *request, .head = *head, .spec = *spec, .route = route, .held_bytes = held_bytes
    };
    at = kept->bytes;
    kept->head.method_text = copied(&at, head->method_text);
    kept->head.target = copied(&at, head->target);
    kept->head.fields = copied(&at, head->fields);
    kept->head.host = copied(&at, head->host);
    kept->head.protocol = kept->head.reason = SLICE("");
    kept->request.head = &kept->head;
    kept->request.path = copied(&at, request->path);
    kept->request.rest = moved(request->rest, request->path, kept->request.path);
    kept->request.query = moved(request->query, head->target, kept->head.target);
    kept->spec.body.raw = kept->spec.body_file.raw = kept->spec.type.raw = SLICE("");
    kept->spec.key_template.raw = SLICE("");
    buf_init(&kept->body, SLOWAPI_KEPT_BYTES);
    return kept;
}

void kept_free(struct kept_request *kept) {
    if (kept == NULL)
        return;
    *kept->held_bytes -= kept->body.cap;
    buf_free(&kept->body);
    mem_free(kept);
}

int kept_add(struct kept_request *kept, struct slice data, const char **ret_why) {
    size_t before = kept->body.cap;

    *ret_why = SLOWAPI_KEPT_TOO_MANY;
    if (*kept->held_bytes + data.len > SLOWAPI_KEPT_ALL_BYTES)
        return 503;
    *ret_why = SLOWAPI_KEPT_TOO_LONG;
    int rc = buf_append(&kept->body, data);
    *kept->held_bytes += kept->body.cap - before;
    kept->request.body = buf_unread(&kept->body);
    return rc == -ENOBUFS ? 413 : rc;
}

/* --- texts ------------------------------------------------------------------------------------ */

struct slice request_decoded(struct slice raw, char **ret_room) {
    *ret_room = slice_dup(raw);
    if (*ret_room == NULL)
        return SLICE("");
    long len = http_percent_decode(raw, *ret_room);
    return len < 0 ? raw : slice_of(*ret_room, (size_t)len);
}

/* Adds a value to the object. The values of a name that comes again stand in a list. */
static void add(json_t *object, struct slice name, json_t *value) {
    char *key = slice_dup(name);
    json_t *there = key != NULL ? json_object_get(object, key) : NULL;

    if (json_is_array(there)) {
        json_array_append_new(there, value);
    } else if (there != NULL) {
        json_object_set_new(object, key, json_pack("[O,o]", there, value));
    } else if (key == NULL) {
        json_decref(value);
    } else if (json_object_set_new(object, key, value) < 0) {
        /* a name that is no UTF-8 is left out */
    }
    mem_free(key);
}

/* Each-Word: names are compared without regard to case, and tests compare them with it. */
static void spell(char *name) {
    bool begins = true;

    for (char *at = name; *at != '\0'; at++) {
        *at = (char)(begins ? toupper((unsigned char)*at) : tolower((unsigned char)*at));
        begins = *at == '-';
    }
}

/* The values of a name that comes again are one, with commas between (RFC 9110 section 5.2). */
static void add_header(json_t *object, const char *name, struct slice value) {
    const char *there = json_string_value(json_object_get(object, name));
    struct buf all;

    if (there == NULL) {
        json_object_set_new(object, name, json_text(value, SIZE_MAX));
        return;
    }
    buf_init(&all, strlen(there) + value.len + 2);
    if (buf_printf(&all, "%s,%.*s", there, (int)value.len, value.ptr) == 0)
        json_object_set_new(object, name, json_text(buf_unread(&all), SIZE_MAX));
    buf_free(&all);
}

json_t *request_headers_json(const struct http_head *head) {
    json_t *object = json_object();
    struct http_cursor at = { .started = false };
    struct slice name, value;

    while (object != NULL && http_field_walk(head, &at, &name, &value)) {
        char *spelled = slice_dup(name);
        if (spelled != NULL) {
            spell(spelled);
            add_header(object, spelled, value);
        }
        mem_free(spelled);
    }
    return object;
}

json_t *request_args_json(struct slice query) {
    json_t *object = json_object();
    struct slice name, value;
    char *name_room, *value_room;

    while (object != NULL && http_query_next(&query, &name, &value)) {
        struct slice key = request_decoded(name, &name_room);
        add(object, key, json_text(request_decoded(value, &value_room), SIZE_MAX));
        mem_free(name_room);
        mem_free(value_room);
    }
    return object;
}

json_t *request_origin_json(const struct slow_request *request) {
    char text[PEER_TEXT_BYTES];
    struct slice value;

    if (http_field_find(request->head, SLICE("X-Forwarded-For"), &value))
        return json_text(slice_trim(slice_cut(&value, ',')), SIZE_MAX);
    struct peer peer = peer_of_socket(request->fd);
    return json_text(slice_str(peer_format(&peer, text)), SIZE_MAX);
}

struct slice request_host(const struct slow_request *request, char *text) {
    struct address here = { .len = sizeof(here.local) };
    struct slice host = request->head->host;

    if (host.len > 0 || getsockname(request->fd, &here.any, &here.len) < 0)
        return host;
    return here.any.sa_family == AF_UNIX ? SLICE("localhost")
                                         : slice_str(address_format(&here, text));
}

json_t *request_url_json(const struct slow_request *request) {
    char here[ADDRESS_TEXT_BYTES];
    struct slice target = request->head->target, host = request_host(request, here), scheme;
    struct buf url;

    if (target.len > 0 && target.ptr[0] != '/') /* absolute-form; or OPTIONS * */
        return json_text(target, SIZE_MAX);
    if (!http_field_find(request->head, SLICE("X-Forwarded-Proto"), &scheme))
        scheme = request->is_secure ? SLICE("https") : SLICE("http");
    buf_init(&url, scheme.len + host.len + target.len + 4);
    int rc = buf_printf(&url, "%.*s://%.*s", (int)scheme.len, scheme.ptr, (int)host.len, host.ptr);
    if (rc == 0)
        rc = buf_append(&url, target);
    json_t *json = rc == 0 ? json_text(buf_unread(&url), SIZE_MAX) : NULL;
    buf_free(&url);
    return json;
}

/* --- bodies ----------------------------------------------------------------------------------- */

static struct slice type_of(const struct slow_request *request) {
    struct slice value;

    return http_field_find(request->head, SLICE("Content-Type"), &value) ? value : SLICE("");
}

static bool is_urlencoded(struct slice type) {
    return slice_eq_nocase(slice_trim(slice_cut(&type, ';')),
                           SLICE("application/x-www-form-urlencoded"));
}

/* Text as it is; bytes that are no UTF-8 as a data URL (RFC 2397). */
static json_t *data_json(struct slice data, struct slice type) {
    json_t *json = json_stringn(data.len > 0 ? data.ptr : "", data.len);
    struct buf url;

    if (json != NULL)
        return json;
    if (type.len == 0)
        type = SLICE("application/octet-stream");
    size_t size = base64_size(data.len);
    buf_init(&url, type.len + size + 32);
    int rc = buf_printf(&url, "data:%.*s;base64,", (int)type.len, type.ptr);
    if (rc == 0)
        rc = buf_reserve(&url, size);
    if (rc == 0) {
        buf_added(&url, base64_encode(data, BASE64_STANDARD, buf_tail(&url)));
        json = json_text(buf_unread(&url), SIZE_MAX);
    }
    buf_free(&url);
    return json;
}

static void add_part(const struct http_part *part, json_t *form, json_t *files) {
    char *name = slice_dup(part->name);

    if (name == NULL)
        return;
    struct slice key = slice_of(name, http_unquote(part->name, name));
    bool is_file = part->file.ptr != NULL;
    add(is_file ? files : form, key, data_json(part->data, part->type));
    mem_free(name);
}

/* False: it is none. What was read of a form that is malformed further on stays out. */
static bool read_multipart(struct slice type, struct slice body, json_t *form, json_t *files) {
    struct http_multipart m;
    struct http_part part;
    int rc;

    if (!http_is_multipart(type) || http_multipart_begin(&m, type, body) < 0)
        return false;
    while ((rc = http_multipart_next(&m, &part)) > 0)
        add_part(&part, form, files);
    if (rc == 0)
        return true;
    json_object_clear(form);
    json_object_clear(files);
    return false;
}

bool request_form_is_too_long(const struct slow_request *request) {
    struct slice type = type_of(request), rest = request->body, name, value;
    struct http_multipart m;
    struct http_part part;
    size_t count = 0;

    if (is_urlencoded(type))
        while (count <= SLOWAPI_FORM_FIELDS && http_query_next(&rest, &name, &value))
            count++;
    else if (http_is_multipart(type) && http_multipart_begin(&m, type, rest) == 0)
        while (count <= SLOWAPI_FORM_FIELDS && http_multipart_next(&m, &part) > 0)
            count++;
    return count > SLOWAPI_FORM_FIELDS;
}

static int add_body(json_t *json, const struct slow_request *request) {
    struct slice type = type_of(request), body = request->body, data = body;
    json_t *form = json_object(), *files = json_object(), *value = NULL;

    if (is_urlencoded(type)) {
        json_decref(form);
        form = request_args_json(body);
        data = SLICE("");
    } else if (read_multipart(type, body, form, files)) {
        data = SLICE("");
    } else if (body.len > 0) {
        value = json_parse(body);
    }
    return json_object_set_new(json, "data", data_json(data, SLICE(""))) |
           json_object_set_new(json, "files", files) | json_object_set_new(json, "form", form) |
           json_object_set_new(json, "json", value != NULL ? value : json_null());
}

json_t *request_json(const struct slow_request *request, unsigned parts) {
    json_t *json = json_object();
    const struct http_head *head = request->head;
    int rc = 0;

    if (parts & REQUEST_ARGS)
        rc = json_object_set_new(json, "args", request_args_json(request->query)) |
             json_object_set_new(json, "headers", request_headers_json(head)) |
             json_object_set_new(json, "method", json_text(head->method_text, SIZE_MAX)) |
             json_object_set_new(json, "origin", request_origin_json(request)) |
             json_object_set_new(json, "url", request_url_json(request));
    if (rc == 0 && (parts & REQUEST_BODY))
        rc = add_body(json, request);
    if (rc == 0)
        return json;
    json_decref(json);
    return NULL;
}
