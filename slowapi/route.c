/* SPDX-License-Identifier: MIT */
/* The rows of the paths, and the bodies that they answer. */
#include "slowapi/route.h"
#include "base/alloc.h"
#include "base/json.h"
#include "http/select.h"
#include "slowapi/limits.h"
#include <errno.h>
#include <stdlib.h>

#define JSON "application/json"

static int64_t given(int64_t value, int64_t otherwise) {
    return value >= 0 ? value : otherwise;
}

/* --- bodies ----------------------------------------------------------------------------------- */

static int set_body(struct reply *reply, enum body_kind kind, const char *type, uint64_t units) {
    reply->body.kind = (uint8_t)kind;
    reply->body.type = type;
    reply->body.units = units;
    reply->body.seed = reply->seed;
    return 0;
}

/* Drops the reference; NULL is what is left when memory was short. */
static int set_json(struct reply *reply, json_t *json) {
    char *text = json != NULL ? json_dumps(json, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;

    json_decref(json);
    if (text == NULL)
        return -ENOMEM;
    reply_set_text(reply, text, strlen(text));
    reply->body.type = JSON;
    return 0;
}

#define PREPARE(name)                                                                     \
    static int prepare_##name(struct reply *reply UNUSED, const struct spec *spec UNUSED, \
                              const struct slow_request *request UNUSED, struct error *why UNUSED)

PREPARE(anything) {
    if (request_form_is_too_long(request))
        return error_set(why, -EINVAL, "the form has more than %d fields", SLOWAPI_FORM_FIELDS);
    return set_json(reply, request_json(request, REQUEST_ARGS | REQUEST_BODY));
}

PREPARE(headers) {
    return set_json(reply, json_pack("{s:o}", "headers", request_headers_json(request->head)));
}

PREPARE(nothing) {
    return set_body(reply, BODY_TEXT, "text/plain", 0);
}

PREPARE(bytes) {
    return set_body(reply, BODY_BYTES, "application/octet-stream",
                    (uint64_t)given(spec->numbytes, 0));
}

PREPARE(stream_bytes) {
    reply->body.is_chunked = true;
    reply->body.piece = (uint64_t)given(spec->chunk_size, 10240);
    return prepare_bytes(reply, spec, request, why);
}

PREPARE(stream) {
    reply->body.is_chunked = true;
    return set_body(reply, BODY_LINES, JSON, (uint64_t)given(spec->count, 0));
}

PREPARE(drip) {
    set_body(reply, BODY_STARS, "application/octet-stream", (uint64_t)given(spec->numbytes, 10));
    reply->body.piece = 0;
    reply->body.span = given(spec->duration, 2 * NSEC_PER_SEC);
    return 0;
}

PREPARE(unstable) {
    if (rng_unit(&reply->rng) < spec->failure_rate)
        reply->status = 500;
    return set_body(reply, BODY_TEXT, "text/plain", 0);
}

static int prepare_events(struct reply *reply, const struct spec *spec, enum body_kind kind,
                          const char *type) {
    reply->body.is_chunked = true;
    reply->body.piece = 1;
    set_body(reply, kind, type, (uint64_t)given(spec->count, 10));
    reply->body.interval = given(spec->interval, 0);
    reply->body.span = given(spec->duration, spec->interval < 0 ? 5 * NSEC_PER_SEC : 0);
    reply->body.jitter = spec->jitter;
    return 0;
}

PREPARE(sse) {
    return prepare_events(reply, spec, BODY_SSE, "text/event-stream");
}

PREPARE(jsonl) {
    return prepare_events(reply, spec, BODY_JSONL, "application/jsonl");
}

PREPARE(range) {
    uint64_t size = (uint64_t)given(spec->numbytes, 0), from = 0, to = size;
    struct http_state state = { .modified = -1, .size = size };
    char etag[32], line[160], part[80] = "";

    snprintf(etag, sizeof(etag), "\"range%llu\"", (unsigned long long)size);
    state.etag = slice_str(etag);
    if (reply->status == 200)
        reply->status = http_select(request->head, &state, &from, &to);
    if (reply->status == 416)
        snprintf(part, sizeof(part), "Content-Range: bytes */%llu\r\n", (unsigned long long)size);
    else if (reply->status == 206)
        snprintf(part, sizeof(part), "Content-Range: bytes %llu-%llu/%llu\r\n",
                 (unsigned long long)from, (unsigned long long)to - 1, (unsigned long long)size);
    snprintf(line, sizeof(line), "Accept-Ranges: bytes\r\nETag: %s\r\n%s", etag, part);
    reply->fields = slice_dup(slice_str(line));
    bool has_none = reply->status == 416 || reply->status == 412;
    set_body(reply, BODY_PATTERN, "application/octet-stream", has_none ? 0 : to - from);
    reply->body.offset = from;
    reply->body.piece = (uint64_t)given(spec->chunk_size, 10240);
    reply->body.span = given(spec->duration, 0);
    return reply->fields != NULL ? 0 : -ENOMEM;
}

/* Tells about the server as a whole (RFC 9110 section 9.3.7). */
PREPARE(options) {
    reply->fields =
        slice_dup(SLICE("Allow: GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS, TRACE\r\n"));
    set_body(reply, BODY_TEXT, "", 0);
    return reply->fields != NULL ? 0 : -ENOMEM;
}

/* --- rows ------------------------------------------------------------------------------------- */

static const struct route routes[] = {
    { SLICE_INIT("/"), "/", false, true, NULL, SLICE_INIT(""),
      "`slow api response`, after `delay` or `--delay`" },
    { SLICE_INIT("*"), "OPTIONS *", true, false, prepare_options, SLICE_INIT(""),
      "the methods that some path takes; no other method asks for `*`" },
    { SLICE_INIT("/delay/"), "/delay/DELAY", true, false, prepare_anything, SLICE_INIT("delay"),
      "the request as JSON, that much later; any law of delays; httpbin caps at 10 s, we do not",
      .wants_body = true },
    { SLICE_INIT("/status/"), "/status/STATUS[:WEIGHT],...", true, false, prepare_nothing,
      SLICE_INIT("weights"),
      "that status, or one by weight, without a body; 1xx is refused, redirects have no Location" },
    { SLICE_INIT("/unstable"), "/unstable?failure_rate=0.5", true, false, prepare_unstable,
      SLICE_INIT(""), "500 that often, else 200", .takes = SLICE_INIT("failure_rate") },
    { SLICE_INIT("/headers"), "/headers", true, false, prepare_headers, SLICE_INIT(""),
      "the request headers as JSON" },
    { SLICE_INIT("/anything"), "/anything", true, false, prepare_anything, SLICE_INIT(""),
      "the request as JSON: args, data, files, form, headers, json, method, origin and url",
      .takes_any = true, .wants_body = true },
    { SLICE_INIT("/anything/"), "/anything/...", true, false, prepare_anything, SLICE_INIT(""),
      "the same", .takes_any = true, .wants_body = true },
    { SLICE_INIT("/bytes/"), "/bytes/N", true, false, prepare_bytes, SLICE_INIT("numbytes"),
      "N pseudo-random bytes, by `seed`; up to 1g instead of httpbin's 100 KiB" },
    { SLICE_INIT("/stream-bytes/"), "/stream-bytes/N?chunk_size=", true, false,
      prepare_stream_bytes, SLICE_INIT("numbytes"), "the same in chunks",
      .takes = SLICE_INIT("chunk_size") },
    { SLICE_INIT("/range/"), "/range/N?duration=&chunk_size=", true, false, prepare_range,
      SLICE_INIT("numbytes"),
      "N letters, a to z again and again; GET with Range gets 206 or 416, and If-Match, "
      "If-None-Match and If-Range are kept",
      .takes = SLICE_INIT("chunk_size duration") },
    { SLICE_INIT("/stream/"), "/stream/N", true, false, prepare_stream, SLICE_INIT("count"),
      "N lines of JSON in chunks; httpbin stops at 100" },
    { SLICE_INIT("/drip"), "/drip?duration=2&numbytes=10&code=200&delay=0", true, false,
      prepare_drip, SLICE_INIT(""),
      "that many `*` over that time, one by one where they are 1 ms apart or more",
      .takes = SLICE_INIT("duration numbytes") },
    { SLICE_INIT("/sse"), "/sse?count=10&duration=5&delay=0&jitter=0", true, false, prepare_sse,
      SLICE_INIT(""),
      "server-sent events; `interval` sets the time between two; beside a `duration` the longer "
      "counts",
      .takes = SLICE_INIT("count duration interval jitter") },
    { SLICE_INIT("/jsonl"), "/jsonl?count=10&duration=5&delay=0&jitter=0", true, false,
      prepare_jsonl, SLICE_INIT(""), "the same as lines of JSON",
      .takes = SLICE_INIT("count duration interval jitter") },
};

static bool fits(const struct route *route, struct slice path) {
    bool takes_rest = route->path.len > 1 && route->path.ptr[route->path.len - 1] == '/';

    return takes_rest ? slice_starts_with(path, route->path) : slice_eq(path, route->path);
}

const struct route *route_find(struct slice path, struct slice *ret_rest) {
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (!fits(&routes[i], path))
            continue;
        *ret_rest = slice_drop(path, routes[i].path.len);
        return &routes[i];
    }
    return NULL;
}

void route_print_rows(FILE *out) {
    for (size_t i = 0; i < ARRAY_LEN(routes); i++)
        fprintf(out, "path|%s||%s\n", routes[i].shown, routes[i].help);
}
