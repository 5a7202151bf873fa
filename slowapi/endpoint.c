/* SPDX-License-Identifier: MIT */
/* Answers what httpbin and go-httpbin answer, from the facts that their pages tell. */
#include "slowapi/endpoint.h"
#include "base/alloc.h"
#include "base/base64.h"
#include "base/json.h"
#include "base/units.h"
#include "http/chars.h"
#include "http/coding.h"
#include "http/select.h"
#include "http/url.h"
#include "http/websocket.h"
#include "net/address.h"
#include "slowapi/limits.h"
#include "slowapi/page.h"
#include "slowapi/param.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

/* Few of them need all of what they are given. */
#define ENDPOINT(name)                                                              \
    int endpoint_##name(struct reply *reply UNUSED, const struct spec *spec UNUSED, \
                        const struct slow_request *request UNUSED, struct error *why UNUSED)

/* --- the request ------------------------------------------------------------------------------ */

ENDPOINT(anything) {
    if (request_form_is_too_long(request))
        return error_set(why, -EINVAL, "the form has more than %d fields", SLOWAPI_FORM_FIELDS);
    return reply_set_json(reply, request_json(request, REQUEST_ARGS | REQUEST_BODY));
}

ENDPOINT(headers) {
    return reply_set_json(reply,
                          json_pack("{s:o}", "headers", request_headers_json(request->head)));
}

ENDPOINT(get) {
    return reply_set_json(reply, request_json(request, REQUEST_ARGS));
}

ENDPOINT(ip) {
    return reply_set_json(reply, json_pack("{s:o}", "origin", request_origin_json(request)));
}

ENDPOINT(user_agent) {
    struct slice value;
    bool has = http_field_find(request->head, SLICE("User-Agent"), &value);

    return reply_set_json(
        reply, json_pack("{s:o}", "user-agent", has ? json_text(value, SIZE_MAX) : json_null()));
}

ENDPOINT(echo) {
    return reply_set_copy(reply, "text/plain", request->body);
}

/* The request as it came, its body without chunks. */
ENDPOINT(dump) {
    const struct http_head *head = request->head;
    struct buf out;

    buf_init(&out, head->target.len + head->fields.len + request->body.len + 64);
    int rc = buf_printf(&out, "%.*s %.*s HTTP/1.%d\r\n", (int)head->method_text.len,
                        head->method_text.ptr, (int)head->target.len, head->target.ptr,
                        head->version_minor);
    if (rc == 0)
        rc = buf_append(&out, head->fields);
    if (rc == 0)
        rc = buf_append(&out, SLICE("\r\n"));
    if (rc == 0)
        rc = buf_append(&out, request->body);
    if (rc == 0)
        rc = reply_set_copy(reply, "text/plain", buf_unread(&out));
    buf_free(&out);
    return rc;
}

ENDPOINT(uuid) {
    char text[UUID_TEXT_BYTES];

    return reply_set_json(reply, json_pack("{s:s}", "uuid", reply_uuid(reply, text)));
}

ENDPOINT(hostname) {
    char name[256] = "";

    gethostname(name, sizeof(name) - 1);
    return reply_set_json(reply, json_pack("{s:s}", "hostname", name));
}

/* --- pages ------------------------------------------------------------------------------------ */

static int show_page(struct reply *reply, struct slice path) {
    const struct page *page = page_find(path);
    size_t size;

    if (page == NULL)
        return -ENOENT;
    char *text = page_text(page, &size);
    if (text == NULL)
        return -ENOMEM;
    reply_set_text(reply, text, size);
    reply->body.type = page->type;
    return 0;
}

ENDPOINT(page) {
    return show_page(reply, request->path);
}

/* The first of these that the client names wins; any image is a PNG. */
ENDPOINT(image) {
    static const struct {
        const char *accept, *path;
    } kinds[] = {
        { "image/webp", "/image/webp" }, { "image/svg+xml", "/image/svg" },
        { "image/jpeg", "/image/jpeg" }, { "image/png", "/image/png" },
        { "image/*", "/image/png" },     { "*/*", "/image/png" },
    };
    struct slice accept;

    if (!http_field_find(request->head, SLICE("Accept"), &accept) || accept.len == 0)
        accept = SLICE("*/*");
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct slice rest = accept;
        while (rest.len > 0) {
            struct slice one = slice_cut(&rest, ',');
            if (slice_eq_nocase(slice_trim(slice_cut(&one, ';')), slice_str(kinds[i].accept)))
                return show_page(reply, slice_str(kinds[i].path));
        }
    }
    reply_set_status(reply, 406);
    return reply_set_copy(
        reply, "text/plain",
        SLICE("there is webp, svg+xml, jpeg and png; Accept names none of them\n"));
}

#define LINKS_MAX 256

ENDPOINT(links) {
    struct slice rest = request->rest, count = slice_cut(&rest, '/');
    uint64_t links, offset = 0;
    char target[64];
    struct buf out;

    if (slice_parse_u64(count, LINKS_MAX, &links) < 0 ||
        (rest.len > 0 && slice_parse_u64(rest, LINKS_MAX, &offset) < 0))
        return error_set(why, -EINVAL, "/links/N/OFFSET takes numbers up to %d", LINKS_MAX);
    if (rest.len == 0) {
        reply_set_status(reply, 302);
        snprintf(target, sizeof(target), "/links/%u/0", (unsigned)links);
        return reply_add_field(reply, "Location", slice_str(target), why);
    }
    buf_init(&out, 65536);
    int rc = buf_append(&out, SLICE("<html><head><title>Links</title></head><body>"));
    for (unsigned i = 0; i < links && rc == 0; i++)
        rc = i == offset
                 ? buf_printf(&out, "%u ", i)
                 : buf_printf(&out, "<a href='/links/%u/%u'>%u</a> ", (unsigned)links, i, i);
    if (rc == 0)
        rc = buf_append(&out, SLICE("</body></html>"));
    if (rc == 0)
        rc = reply_set_copy(reply, "text/html; charset=utf-8", buf_unread(&out));
    buf_free(&out);
    return rc;
}

/* Decodes; what is no text comes as bytes. */
ENDPOINT(base64_decode) {
    struct slice type;
    char *text, *room = NULL;

    text = slice_dup(request->rest);
    long size = text != NULL ? base64_decode(request->rest, text) : 0;
    if (size < 0) {
        mem_free(text);
        return error_set(why, -EINVAL, "the path ends with no base64");
    }
    if (text == NULL)
        return -ENOMEM;
    reply_set_text(reply, text, (size_t)size);
    reply->body.type = "text/plain";
    if (reply->type != NULL || !http_query_find(request->query, SLICE("content-type"), &type))
        return 0;
    type = request_decoded(type, &room);
    if (type.len > 0 && http_span_value(type.ptr, type.len) == type.len)
        reply->own_type = slice_dup(type);
    mem_free(room);
    reply->type = reply->own_type;
    return 0;
}

ENDPOINT(base64_encode) {
    size_t size = base64_size(request->rest.len);
    char *text = mem_alloc(size + 1);

    if (text == NULL)
        return -ENOMEM;
    base64_encode(request->rest, BASE64_URL, text);
    reply_set_text(reply, text, size);
    reply->body.type = "text/plain";
    return 0;
}

/* --- codings ---------------------------------------------------------------------------------- */

static int show_coded(struct reply *reply, const struct slow_request *request,
                      enum http_coding coding, const char *name) {
    json_t *json = request_json(request, REQUEST_ARGS);

    reply->coding = (uint8_t)coding;
    json_object_set_new(json, name, json_true());
    return reply_set_json(reply, json);
}

ENDPOINT(gzip) {
    return show_coded(reply, request, HTTP_CODING_GZIP, "gzipped");
}

ENDPOINT(deflate) {
    return show_coded(reply, request, HTTP_CODING_DEFLATE, "deflated");
}

ENDPOINT(brotli) {
    return show_coded(reply, request, HTTP_CODING_BR, "brotli");
}

/* --- redirects -------------------------------------------------------------------------------- */

#define REDIRECTS_MAX 1000

/* `prefix` is that of the next one; the last leads to /get. */
static int redirect(struct reply *reply, const struct slow_request *request, const char *prefix,
                    bool is_absolute, struct error *why) {
    char target[64], here[ADDRESS_TEXT_BYTES];
    struct slice host = request_host(request, here);
    struct buf url;
    uint64_t n;

    if (slice_parse_u64(request->rest, REDIRECTS_MAX, &n) < 0 || n == 0)
        return error_set(why, -EINVAL, "the path ends with no number from 1 to %d", REDIRECTS_MAX);
    snprintf(target, sizeof(target), "%s%u", n > 1 ? prefix : "/get", (unsigned)n - 1);
    if (n == 1)
        snprintf(target, sizeof(target), "/get");
    buf_init(&url, host.len + sizeof(target) + 16);
    int rc = is_absolute ? buf_printf(&url, "%s://%.*s", request->is_secure ? "https" : "http",
                                      (int)host.len, host.ptr)
                         : 0;
    if (rc == 0)
        rc = buf_append(&url, slice_str(target));
    if (rc == 0)
        rc = reply_add_field(reply, "Location", buf_unread(&url), why);
    buf_free(&url);
    reply_set_status(reply, 302);
    return rc == 0 ? reply_set_copy(reply, "text/plain", SLICE("")) : rc;
}

static bool is_said_true(struct slice query, struct slice name) {
    struct slice value;

    return http_query_find(query, name, &value) && slice_eq_nocase(value, SLICE("true"));
}

ENDPOINT(redirect) {
    bool is_absolute = is_said_true(request->query, SLICE("absolute"));

    return redirect(reply, request, is_absolute ? "/absolute-redirect/" : "/relative-redirect/",
                    is_absolute, why);
}

ENDPOINT(relative_redirect) {
    return redirect(reply, request, "/relative-redirect/", false, why);
}

ENDPOINT(absolute_redirect) {
    return redirect(reply, request, "/absolute-redirect/", true, why);
}

/* As it was given, but for what no URI has (RFC 3986 section 2): spaces, quotes, characters beyond
 * ASCII. Control characters are refused later. */
static int append_uri(struct buf *out, struct slice text) {
    int rc = 0;

    for (size_t i = 0; i < text.len && rc == 0; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool is_other = c >= 0x80 || (c >= ' ' && strchr(" \"<>\\^`{|}", c) != NULL);
        rc = is_other ? buf_printf(out, "%%%02X", c) : buf_append(out, slice_of(text.ptr + i, 1));
    }
    return rc;
}

ENDPOINT(redirect_to) {
    struct slice raw, code;
    uint64_t status = 302;
    struct buf uri;
    char *room;

    if (!http_query_find(request->query, SLICE("url"), &raw) || raw.len == 0)
        return error_set(why, -EINVAL, "/redirect-to needs ?url=");
    if (http_query_find(request->query, SLICE("status_code"), &code) &&
        (slice_parse_u64(code, 399, &status) < 0 || status < 300))
        return error_set(why, -EINVAL, "status_code is not one from 300 to 399");
    buf_init(&uri, 3 * raw.len);
    int rc = append_uri(&uri, request_decoded(raw, &room));
    if (room == NULL)
        rc = -ENOMEM;
    if (rc == 0)
        rc = reply_add_field(reply, "Location", buf_unread(&uri), why);
    mem_free(room);
    buf_free(&uri);
    reply_set_status(reply, (uint16_t)status);
    return rc == 0 ? reply_set_copy(reply, "text/plain", SLICE("")) : rc;
}

/* --- fields ----------------------------------------------------------------------------------- */

/* Walks the arguments that are no parameters of ours, decoded. False at the end. Both rooms are to
 * be freed with free_pair after each. */
struct pair {
    struct slice name, value;
    char *name_room, *value_room;
};

static bool next_pair(struct slice *query, struct pair *ret) {
    struct slice name, value;

    while (http_query_next(query, &name, &value)) {
        ret->name = request_decoded(name, &ret->name_room);
        ret->value = request_decoded(value, &ret->value_room);
        if (ret->name.len > 0 && !param_exists(ret->name))
            return true;
        mem_free(ret->name_room);
        mem_free(ret->value_room);
    }
    return false;
}

static void free_pair(struct pair *pair) {
    mem_free(pair->name_room);
    mem_free(pair->value_room);
}

static bool is_field(const struct pair *pair) {
    return http_span(pair->name.ptr, pair->name.len, HTTP_CHAR_TOKEN) == pair->name.len &&
           http_span_value(pair->value.ptr, pair->value.len) == pair->value.len;
}

/* The arguments as header lines in `out`. 0, -EINVAL or -ENOMEM. */
static int fields_of(struct slice query, struct buf *out, struct error *why) {
    struct pair pair;
    int rc = 0;

    while (rc == 0 && next_pair(&query, &pair)) {
        if (is_field(&pair))
            rc = buf_printf(out, "%.*s: %.*s\r\n", (int)pair.name.len, pair.name.ptr,
                            (int)pair.value.len, pair.value.ptr);
        else
            rc = error_set(why, -EINVAL, "an argument has a name or value that no header can have");
        free_pair(&pair);
    }
    return rc;
}

ENDPOINT(response_headers) {
    struct buf lines;

    buf_init(&lines, 65536);
    int rc = fields_of(request->query, &lines, why);
    if (rc == 0 && lines.end > 0)
        rc = reply_add_custom(reply, lines.data, lines.end);
    buf_free(&lines);
    return rc == 0 ? reply_set_json(reply, request_args_json(request->query)) : rc;
}

/* Fields that frame a message or say what it is cannot come behind it (RFC 9110 section 6.5.1). */
static bool may_trail(struct slice name) {
    static const char *const never[] = { "Content-Length", "Transfer-Encoding", "Host",
                                         "Trailer",        "Content-Encoding",  "Content-Type",
                                         "Content-Range",  "Connection",        "Set-Cookie" };

    for (size_t i = 0; i < ARRAY_LEN(never); i++)
        if (slice_eq_nocase(name, slice_str(never[i])))
            return false;
    return true;
}

static int announce_trailers(struct reply *reply, struct slice lines, struct error *why) {
    struct slice name, value;
    struct buf names;

    buf_init(&names, lines.len + 8);
    int rc = 0;
    while (rc == 0 && http_field_next(&lines, &name, &value)) {
        if (!may_trail(name))
            rc = error_set(why, -EINVAL, "%.*s cannot be a trailer", (int)name.len, name.ptr);
        else
            rc = buf_printf(&names, "%s%.*s", names.end > 0 ? ", " : "", (int)name.len, name.ptr);
    }
    if (rc == 0 && names.end > 0)
        rc = reply_add_field(reply, "Trailer", buf_unread(&names), why);
    buf_free(&names);
    return rc;
}

ENDPOINT(trailers) {
    struct buf lines;

    buf_init(&lines, 65536);
    int rc = fields_of(request->query, &lines, why);
    if (rc == 0)
        rc = announce_trailers(reply, buf_unread(&lines), why);
    if (rc == 0) {
        reply->trailers = slice_dup(buf_unread(&lines));
        rc = reply->trailers != NULL ? 0 : -ENOMEM;
    }
    buf_free(&lines);
    reply->body.is_chunked = true;
    return rc == 0 ? reply_set_json(reply, request_args_json(request->query)) : rc;
}

/* A page that never changes: whoever has it need not get it again. */
ENDPOINT(cache) {
    struct slice value;
    char text[UUID_TEXT_BYTES], line[UUID_TEXT_BYTES + HTTP_DATE_BYTES + 64], date[HTTP_DATE_BYTES];

    if (http_field_find(request->head, SLICE("If-Modified-Since"), &value) ||
        http_field_find(request->head, SLICE("If-None-Match"), &value)) {
        reply_set_status(reply, 304);
        return reply_set_copy(reply, "", SLICE(""));
    }
    http_date(clock_wall() / NSEC_PER_SEC, date);
    snprintf(line, sizeof(line), "Last-Modified: %s\r\nETag: \"%s\"\r\n", date,
             reply_uuid(reply, text));
    int rc = reply_add_fields(reply, line);
    return rc == 0 ? endpoint_get(reply, spec, request, why) : rc;
}

ENDPOINT(cache_for) {
    char line[64];
    uint64_t seconds;

    if (slice_parse_u64(request->rest, INT32_MAX, &seconds) < 0)
        return error_set(why, -EINVAL, "/cache/N takes a number of seconds");
    snprintf(line, sizeof(line), "public, max-age=%u", (unsigned)seconds);
    int rc = reply_add_field(reply, "Cache-Control", slice_str(line), why);
    return rc == 0 ? endpoint_get(reply, spec, request, why) : rc;
}

ENDPOINT(etag) {
    struct http_state state = { .modified = -1 };
    uint64_t from, to;
    char *etag;

    if (request->rest.len == 0 || slice_find(request->rest, '"') < request->rest.len)
        return -ENOENT;
    etag = mem_alloc(request->rest.len + 2);
    if (etag == NULL)
        return -ENOMEM;
    etag[0] = etag[request->rest.len + 1] = '"';
    memcpy(etag + 1, request->rest.ptr, request->rest.len);
    state.etag = slice_of(etag, request->rest.len + 2);
    uint16_t status = http_select(request->head, &state, &from, &to);
    int rc = reply_add_field(reply, "ETag", state.etag, why);
    mem_free(etag);
    if (rc == 0 && (status == 304 || status == 412)) {
        reply_set_status(reply, status);
        return reply_set_copy(reply, "text/plain", SLICE(""));
    }
    return rc == 0 ? endpoint_get(reply, spec, request, why) : rc;
}

/* --- cookies ---------------------------------------------------------------------------------- */

/* Servers take the quotes for none of the value. */
static struct slice unquoted(struct slice value) {
    bool is_quoted = value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"';

    return is_quoted ? slice_take(slice_drop(value, 1), value.len - 2) : value;
}

ENDPOINT(cookies) {
    struct slice rest = request->head->fields, name, value;
    json_t *cookies = json_object();

    while (http_field_next(&rest, &name, &value)) {
        while (slice_eq_nocase(name, SLICE("Cookie")) && value.len > 0) {
            struct slice pair = slice_trim(slice_cut(&value, ';'));
            char *key = slice_dup(slice_cut(&pair, '='));
            if (key != NULL && key[0] != '\0')
                json_object_set_new(cookies, key, json_text(unquoted(pair), SIZE_MAX));
            mem_free(key);
        }
    }
    return reply_set_json(reply, json_pack("{s:o}", "cookies", cookies));
}

static int set_cookie(struct reply *reply, struct slice name, struct slice value, const char *rest,
                      struct error *why) {
    struct buf line;

    if (name.len == 0 || http_span(name.ptr, name.len, HTTP_CHAR_TOKEN) != name.len ||
        slice_find(value, ';') < value.len)
        return error_set(why, -EINVAL, "a cookie has a name or value that none can have");
    buf_init(&line, name.len + value.len + strlen(rest) + 8);
    int rc =
        buf_printf(&line, "%.*s=%.*s%s", (int)name.len, name.ptr, (int)value.len, value.ptr, rest);
    if (rc == 0)
        rc = reply_add_field(reply, "Set-Cookie", buf_unread(&line), why);
    buf_free(&line);
    return rc;
}

static int to_cookies(struct reply *reply, struct error *why) {
    reply_set_status(reply, 302);
    return reply_add_field(reply, "Location", SLICE("/cookies"), why);
}

static int change_cookies(struct reply *reply, struct slice query, bool deletes,
                          struct error *why) {
    struct pair pair;
    int rc = to_cookies(reply, why);

    while (rc == 0 && next_pair(&query, &pair)) {
        rc = deletes ? set_cookie(reply, pair.name, SLICE(""),
                                  "; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/", why)
                     : set_cookie(reply, pair.name, pair.value, "; Path=/", why);
        free_pair(&pair);
    }
    return rc;
}

ENDPOINT(cookies_set) {
    return change_cookies(reply, request->query, false, why);
}

ENDPOINT(cookies_delete) {
    return change_cookies(reply, request->query, true, why);
}

ENDPOINT(cookies_set_one) {
    struct slice value = request->rest, name = slice_cut(&value, '/');

    int rc = to_cookies(reply, why);
    return rc == 0 ? set_cookie(reply, name, value, "; Path=/", why) : rc;
}

/* --- WebSocket -------------------------------------------------------------------------------- */

static bool names(const struct slow_request *request, struct slice field, struct slice word) {
    struct slice value;

    return http_field_find(request->head, field, &value) && slice_list_has_nocase(value, word);
}

/* A number of bytes that an argument names; `otherwise` when none does. 0 or -EINVAL. */
static int size_of(const struct slow_request *request, struct slice name, uint64_t otherwise,
                   uint64_t *ret) {
    struct slice value;

    *ret = otherwise;
    if (!http_query_find(request->query, name, &value) || value.len == 0)
        return 0;
    if (units_parse_size(value, ret) < 0 || *ret == 0 || *ret > SLOWAPI_MESSAGE_BYTES)
        return -EINVAL;
    return 0;
}

/* Refuses a handshake of another version, and tells ours (RFC 6455 section 4.4). */
static int refuse_version(struct reply *reply) {
    reply_set_status(reply, 426);
    reply->has_status_fields = true;
    int rc = reply_add_fields(reply, "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                                     "Sec-WebSocket-Version: 13\r\n");
    return rc == 0 ? reply_set_copy(reply, "text/plain", SLICE("a WebSocket of version 13\n")) : rc;
}

static int open_socket(struct reply *reply, const char *accept, uint64_t message,
                       uint64_t fragment) {
    char lines[160];

    reply->socket = mem_alloc(sizeof(*reply->socket));
    if (reply->socket == NULL)
        return -ENOMEM;
    websocket_init(reply->socket, message, fragment);
    reply->status = 101;
    snprintf(lines, sizeof(lines),
             "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n", accept);
    int rc = reply_add_fields(reply, lines);
    return rc == 0 ? reply_set_copy(reply, "", SLICE("")) : rc;
}

ENDPOINT(websocket) {
    struct slice key = SLICE(""), version = SLICE("");
    char accept[WEBSOCKET_ACCEPT_BYTES];
    uint64_t message, fragment;

    if (size_of(request, SLICE("max_message_size"), SLOWAPI_MESSAGE_BYTES / 16, &message) < 0 ||
        size_of(request, SLICE("max_fragment_size"), message, &fragment) < 0 || fragment > message)
        return error_set(why, -EINVAL,
                         "max_message_size is 1 to 1m bytes, and max_fragment_size "
                         "1 to that");
    http_field_find(request->head, SLICE("Sec-WebSocket-Key"), &key);
    http_field_find(request->head, SLICE("Sec-WebSocket-Version"), &version);
    if (!names(request, SLICE("Upgrade"), SLICE("websocket")))
        return refuse_version(reply);
    if (request->head->version_minor == 0 ||
        !names(request, SLICE("Connection"), SLICE("upgrade")) || !websocket_accept(key, accept))
        return error_set(why, -EINVAL,
                         "no handshake of a WebSocket: it needs Connection: upgrade "
                         "and a Sec-WebSocket-Key of 16 bytes");
    if (!slice_eq(version, SLICE("13")))
        return refuse_version(reply);
    if (reply->status != 200) /* another answer was rolled */
        return reply_set_copy(reply, "text/plain", SLICE(""));
    return open_socket(reply, accept, message, fragment);
}
