/* SPDX-License-Identifier: MIT */
/* App `echo`: answers with what it saw of the request, for tests of what stands in between. */
#include "base/buf.h"
#include "server/app/app.h"
#include <inttypes.h>

static int echo_handle(struct srv_request *rq);

const struct srv_app app_echo = {
    .name = "echo",
    .summary = "answers any request with its method, target, fields, client, scheme and body sum",
    .handle = echo_handle,
};

#define ECHO_BYTES_MAX 1048576

/* FNV-1a, 64 bits: enough to tell bodies apart. */
static uint64_t checksum(struct slice body) {
    uint64_t sum = 0xcbf29ce484222325;

    for (size_t i = 0; i < body.len; i++)
        sum = (sum ^ (uint8_t)body.ptr[i]) * 0x100000001b3;
    return sum;
}

static int add_line(struct buf *out, const char *what, struct slice value) {
    return buf_printf(out, "%s: %.*s\n", what, (int)value.len, value.ptr);
}

/* Names are written in lower case: proxies spell them in their own way. */
static int add_field(struct buf *out, struct slice name, struct slice value) {
    int rc = buf_reserve(out, name.len + value.len + 16);

    if (rc < 0)
        return rc;
    rc = buf_append(out, SLICE("field: "));
    for (size_t i = 0; rc == 0 && i < name.len; i++) {
        char c = name.ptr[i];

        c = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
        rc = buf_append(out, slice_of(&c, 1));
    }
    return rc < 0 ? rc : buf_printf(out, ": %.*s\n", (int)value.len, value.ptr);
}

static int describe(struct srv_request *rq, struct buf *out) {
    struct srv_cursor at = { .started = false };
    struct slice name, value, body = srv_body(rq);
    int rc = add_line(out, "method", srv_method(rq));

    if (rc == 0)
        rc = add_line(out, "target", srv_target(rq));
    if (rc == 0)
        rc = add_line(out, "client", srv_client_address(rq));
    if (rc == 0)
        rc = add_line(out, "scheme", srv_scheme(rq));
    while (rc == 0 && srv_next_header(rq, &at, &name, &value))
        rc = add_field(out, name, value);
    if (rc == 0)
        rc = buf_printf(out, "body: %zu bytes, sum %016" PRIx64 "\n", body.len, checksum(body));
    return rc;
}

static int echo_handle(struct srv_request *rq) {
    struct buf out;
    int rc;

    buf_init(&out, ECHO_BYTES_MAX);
    rc = describe(rq, &out);
    if (rc == 0)
        rc = srv_reply(rq, 200, SLICE("text/plain"), buf_unread(&out));
    buf_free(&out);
    return rc;
}
