/* SPDX-License-Identifier: MIT */
/* The rows of the paths, and the bodies that they answer. */
#include "slowapi/route.h"
#include "base/json.h"
#include "http/select.h"
#include "slowapi/auth.h"
#include "slowapi/endpoint.h"
#include "slowapi/limits.h"
#include "slowapi/openai.h"
#include <errno.h>
#include <stdio.h>
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

#define PREPARE(name)                                                                     \
    static int prepare_##name(struct reply *reply UNUSED, const struct spec *spec UNUSED, \
                              const struct slow_request *request UNUSED, struct error *why UNUSED)

/* A redirect needs somewhere to go. */
PREPARE(status) {
    uint16_t status = reply->status;
    bool redirects =
        (status >= 301 && status <= 303) || status == 305 || status == 307 || status == 308;

    int rc = redirects ? reply_add_field(reply, "Location", SLICE("/redirect/1"), why) : 0;
    return rc == 0 ? set_body(reply, BODY_TEXT, "text/plain", 0) : rc;
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

/* Each line tells the request, unless it is too long for that. */
PREPARE(stream) {
    json_t *json = request_json(request, REQUEST_ARGS);
    char *text = json_dump_short(json, JSON_SORT_KEYS);

    json_decref(json);
    if (text == NULL)
        return -ENOMEM;
    struct slice told = slice_str(text);
    int rc = reply_set_copy(reply, JSON, told.len <= SLOWAPI_LINE_BYTES ? told : SLICE(""));
    free(text);
    reply->body.is_chunked = true;
    return rc == 0 ? set_body(reply, BODY_LINES, JSON, (uint64_t)given(spec->count, 0)) : rc;
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

#define BIT(method) (1u << HTTP_METHOD_##method)
#define ANY         (BIT(OTHER) - 1)
#define READ        (BIT(GET) | BIT(HEAD))

#define ROW(path_, shown_, methods_, prepare_) \
    .path = SLICE_INIT(path_), .shown = shown_, .methods = methods_, .prepare = prepare_

static const struct route routes[] = {
    { ROW("/", "/", READ | BIT(POST) | BIT(PUT), NULL), .is_own = true,
      .help = "`slow api response`, after `delay` or `--delay`" },
    { ROW("*", "OPTIONS *", ANY, prepare_options), .is_own = true,
      .help = "the methods that some path takes; no other method asks for `*`" },
    { ROW("/delay/", "/delay/DELAY", ANY, endpoint_anything), .param = SLICE_INIT("delay"),
      .wants_body = true,
      .help = "the request as JSON, that much later; any law of delays; httpbin caps at 10 s, we "
              "do not" },
    { ROW("/status/", "/status/STATUS[:WEIGHT],...", ANY, prepare_status),
      .param = SLICE_INIT("weights"),
      .help = "that status, or one by weight, without a body; 1xx is refused, redirects lead to "
              "/redirect/1" },
    { ROW("/unstable", "/unstable?failure_rate=0.5", ANY, prepare_unstable),
      .takes = SLICE_INIT("failure_rate"), .help = "500 that often, else 200" },
    { ROW("/headers", "/headers", ANY, endpoint_headers), .help = "the request headers as JSON" },
    { ROW("/get", "/get", READ, endpoint_get), .takes_any = true,
      .help = "args, headers, method, origin and url of the request as JSON; /head, /post, /put, "
              "/patch and /delete take the other methods, and tell data, files, form and json" },
    { ROW("/head", "/head", BIT(HEAD), endpoint_get), .takes_any = true, .is_quiet = true },
    { ROW("/post", "/post", BIT(POST), endpoint_anything), .takes_any = true, .wants_body = true,
      .is_quiet = true },
    { ROW("/put", "/put", BIT(PUT), endpoint_anything), .takes_any = true, .wants_body = true,
      .is_quiet = true },
    { ROW("/patch", "/patch", BIT(PATCH), endpoint_anything), .takes_any = true, .wants_body = true,
      .is_quiet = true },
    { ROW("/delete", "/delete", BIT(DELETE), endpoint_anything), .takes_any = true,
      .wants_body = true, .is_quiet = true },
    { ROW("/anything", "/anything", ANY, endpoint_anything), .takes_any = true, .wants_body = true,
      .help = "the request as JSON: args, data, files, form, headers, json, method, origin, url" },
    { ROW("/anything/", "/anything/...", ANY, endpoint_anything), .takes_any = true,
      .wants_body = true, .help = "the same" },
    { ROW("/upload", "/upload", BIT(POST) | BIT(PUT) | BIT(PATCH), endpoint_get), .takes_any = true,
      .help = "takes up to 1 GiB, throws it away, and tells the rest of the request" },
    { ROW("/echo", "/echo", ANY, endpoint_echo), .takes_any = true, .wants_body = true,
      .help = "the body of the request as it came" },
    { ROW("/dump/request", "/dump/request", ANY, endpoint_dump), .takes_any = true,
      .wants_body = true, .help = "the request as text: its lines, and its body without chunks" },
    { ROW("/ip", "/ip", READ, endpoint_ip),
      .help = "the address of the client, or the first one in X-Forwarded-For" },
    { ROW("/user-agent", "/user-agent", READ, endpoint_user_agent), .help = "User-Agent as JSON" },
    { ROW("/uuid", "/uuid", READ, endpoint_uuid), .help = "a random UUID, by `seed`" },
    { ROW("/hostname", "/hostname", READ, endpoint_hostname), .help = "the name of the machine" },
    { ROW("/html", "/html, /xml, /json", READ, endpoint_page), .help = "small pages of that kind" },
    { ROW("/xml", "/xml", READ, endpoint_page), .is_quiet = true },
    { ROW("/json", "/json", READ, endpoint_page), .is_quiet = true },
    { ROW("/robots.txt", "/robots.txt, /deny", READ, endpoint_page),
      .help = "rules for robots, and the page that they are not to read" },
    { ROW("/deny", "/deny", READ, endpoint_page), .is_quiet = true },
    { ROW("/encoding/utf8", "/encoding/utf8", READ, endpoint_page),
      .help = "a page with characters of many alphabets" },
    { ROW("/forms/post", "/forms/post", READ, endpoint_page),
      .help = "a page with a form for /post" },
    { ROW("/image", "/image", READ, endpoint_image),
      .help = "an image as Accept asks for, or 406" },
    { ROW("/image/", "/image/png, jpeg, webp, svg", READ, endpoint_page),
      .help = "an image of that kind" },
    { ROW("/links/", "/links/N[/OFFSET]", READ, endpoint_links),
      .help = "a page with N links to such pages, up to 256" },
    { ROW("/base64/decode/", "/base64/decode/TEXT?content-type=", READ, endpoint_base64_decode),
      .takes_any = true, .help = "the text decoded, of either alphabet; 400 when it is none" },
    { ROW("/base64/encode/", "/base64/encode/TEXT", READ, endpoint_base64_encode),
      .help = "the text in the alphabet of URLs" },
    { ROW("/base64/", "/base64/TEXT", READ, endpoint_base64_decode), .takes_any = true,
      .help = "as /base64/decode/" },
    { ROW("/gzip", "/gzip, /deflate, /brotli", READ, endpoint_gzip), .takes_any = true,
      .help = "the request as JSON, coded whatever the client accepts" },
    { ROW("/deflate", "/deflate", READ, endpoint_deflate), .takes_any = true, .is_quiet = true },
    { ROW("/brotli", "/brotli", READ, endpoint_brotli), .takes_any = true, .is_quiet = true },
    { ROW("/redirect/", "/redirect/N?absolute=", ANY, endpoint_redirect), .takes_any = true,
      .help = "302, N times in all, then /get; also /relative-redirect/N, /absolute-redirect/N" },
    { ROW("/relative-redirect/", "/relative-redirect/N", ANY, endpoint_relative_redirect),
      .is_quiet = true },
    { ROW("/absolute-redirect/", "/absolute-redirect/N", ANY, endpoint_absolute_redirect),
      .is_quiet = true },
    { ROW("/redirect-to", "/redirect-to?url=&status_code=302", ANY, endpoint_redirect_to),
      .takes_any = true, .help = "a redirect to that URL" },
    { ROW("/response-headers", "/response-headers?NAME=VALUE", READ | BIT(POST),
          endpoint_response_headers),
      .takes_any = true, .help = "the arguments as headers of the answer, and as JSON" },
    { ROW("/trailers", "/trailers?NAME=VALUE", READ, endpoint_trailers), .takes_any = true,
      .help = "the arguments as trailers behind the chunks, and as JSON" },
    { ROW("/cache", "/cache", READ, endpoint_cache), .takes_any = true,
      .help = "as /get with ETag and Last-Modified; 304 to If-None-Match and If-Modified-Since" },
    { ROW("/cache/", "/cache/N", READ, endpoint_cache_for), .takes_any = true,
      .help = "as /get, with Cache-Control for N seconds" },
    { ROW("/etag/", "/etag/ETAG", READ, endpoint_etag), .takes_any = true,
      .help = "as /get with that ETag; If-None-Match gets 304, If-Match 412, when they should" },
    { ROW("/cookies", "/cookies", READ, endpoint_cookies), .help = "the cookies of the request" },
    { ROW("/cookies/set", "/cookies/set?NAME=VALUE", READ, endpoint_cookies_set), .takes_any = true,
      .help = "sets cookies, and redirects to /cookies; also /cookies/set/NAME/VALUE" },
    { ROW("/cookies/set/", "/cookies/set/NAME/VALUE", READ, endpoint_cookies_set_one),
      .is_quiet = true },
    { ROW("/cookies/delete", "/cookies/delete?NAME", READ, endpoint_cookies_delete),
      .takes_any = true, .help = "deletes cookies, and redirects to /cookies" },
    { ROW("/basic-auth/", "/basic-auth/USER/PASSWORD", ANY, auth_basic),
      .help = "200 to those credentials, else 401" },
    { ROW("/hidden-basic-auth/", "/hidden-basic-auth/USER/PASSWORD", ANY, auth_hidden),
      .help = "the same, but 404" },
    { ROW("/bearer", "/bearer", ANY, auth_bearer), .help = "200 to any bearer token, else 401" },
    { ROW("/digest-auth/", "/digest-auth/QOP/USER/PASSWORD[/ALGORITHM[/STALE_AFTER]]", ANY,
          auth_digest),
      .wants_body = true,
      .help = "digest authentication: QOP auth or auth-int; MD5, SHA-256, SHA-512-256, SHA-512, "
              "and -sess; a nonce lives for 5 minutes and STALE_AFTER requests" },
    { ROW("/websocket/echo", "/websocket/echo?max_message_size=64k&max_fragment_size=", BIT(GET),
          endpoint_websocket),
      .takes_any = true,
      .help = "a WebSocket that sends messages of up to 1m back, each as one frame" },
    { ROW("/bytes/", "/bytes/N", ANY, prepare_bytes), .param = SLICE_INIT("numbytes"),
      .help = "N pseudo-random bytes, by `seed`; up to 1g instead of httpbin's 100 KiB" },
    { ROW("/stream-bytes/", "/stream-bytes/N?chunk_size=", ANY, prepare_stream_bytes),
      .param = SLICE_INIT("numbytes"), .takes = SLICE_INIT("chunk_size"),
      .help = "the same in chunks" },
    { ROW("/range/", "/range/N?duration=&chunk_size=", ANY, prepare_range),
      .param = SLICE_INIT("numbytes"), .takes = SLICE_INIT("chunk_size duration"),
      .help = "N letters, a to z again and again; GET with Range gets 206 or 416, and If-Match, "
              "If-None-Match and If-Range are kept" },
    { ROW("/stream/", "/stream/N", ANY, prepare_stream), .param = SLICE_INIT("count"),
      .takes_any = true,
      .help = "N lines of JSON in chunks, each the request with its number; httpbin stops at 100" },
    { ROW("/drip", "/drip?duration=2&numbytes=10&code=200&delay=0", ANY, prepare_drip),
      .takes = SLICE_INIT("duration numbytes"),
      .help = "that many `*` over that time, one by one where they are 1 ms apart or more" },
    { ROW("/sse", "/sse?count=10&duration=5&delay=0&jitter=0", ANY, prepare_sse),
      .takes = SLICE_INIT("count duration interval jitter"),
      .help = "server-sent events; `interval` sets the time between two; beside a `duration` the "
              "longer counts" },
    { ROW("/jsonl", "/jsonl?count=10&duration=5&delay=0&jitter=0", ANY, prepare_jsonl),
      .takes = SLICE_INIT("count duration interval jitter"), .help = "the same as lines of JSON" },
    { ROW("/v1/chat/completions", "/v1/chat/completions", BIT(POST), openai_chat),
      .takes = SLICE_INIT("ttft gap tokens tpm rpm"), .wants_body = true, .shapes_refusals = true,
      .help = "a chat completion in OpenAI's shape, with `stream: true` as server-sent events; see "
              "A model" },
    { ROW("/v1/models", "/v1/models, /v1/models/NAME", READ, openai_models),
      .help = "the models in OpenAI's shape; there is one of any name" },
    { ROW("/v1/models/", "/v1/models/NAME", READ, openai_model), .is_quiet = true },
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
        if (!routes[i].is_quiet)
            fprintf(out, "path|%s||%s\n", routes[i].shown, routes[i].help);
}

/* --- methods and origins ---------------------------------------------------------------------- */

/* OPTIONS is taken everywhere but on our own paths. */
bool route_takes(const struct route *route, enum http_method method) {
    return (route->methods & 1u << method) != 0 ||
           (method == HTTP_METHOD_OPTIONS && !route->is_own);
}

const char *route_allow(const struct route *route, char text[static ROUTE_ALLOW_BYTES]) {
    size_t len = 0;

    text[0] = '\0';
    for (enum http_method method = HTTP_METHOD_GET; method < HTTP_METHOD_OTHER; method++)
        if (route_takes(route, method))
            len += (size_t)snprintf(text + len, ROUTE_ALLOW_BYTES - len, "%s%s",
                                    len > 0 ? ", " : "", http_method_name(method));
    return text;
}

int route_tell_allow(const struct route *route, struct reply *reply) {
    char allow[ROUTE_ALLOW_BYTES];

    reply->has_status_fields = true;
    return reply_add_field(reply, "Allow", slice_str(route_allow(route, allow)), NULL);
}

int route_allow_origin(const struct slow_request *request, struct reply *reply) {
    struct slice origin;
    struct buf lines;

    if (!http_field_find(request->head, SLICE("Origin"), &origin) || origin.len == 0)
        origin = SLICE("*");
    buf_init(&lines, origin.len + 160);
    int rc = buf_printf(&lines,
                        "Access-Control-Allow-Origin: %.*s\r\n"
                        "Access-Control-Allow-Credentials: true\r\n",
                        (int)origin.len, origin.ptr);
    if (rc < 0)
        buf_free(&lines);
    reply->cors = lines.data;
    return rc;
}

int route_preflight(const struct route *route, const struct slow_request *request,
                    struct reply *reply) {
    struct slice asked;

    reply->status = 200; /* the request itself may get another */
    int rc = route_tell_allow(route, reply);
    if (rc == 0)
        rc = reply_add_fields(reply,
                              "Access-Control-Allow-Methods: GET, POST, HEAD, PUT, DELETE, PATCH, "
                              "OPTIONS\r\nAccess-Control-Max-Age: 3600\r\n");
    if (rc == 0 && http_field_find(request->head, SLICE("Access-Control-Request-Headers"), &asked))
        rc = reply_add_field(reply, "Access-Control-Allow-Headers", asked, NULL);
    return rc == 0 ? set_body(reply, BODY_TEXT, "", 0) : rc;
}
