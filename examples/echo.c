/* SPDX-License-Identifier: MIT */
/* App `echo`: answers with what it saw of the request, for tests of what stands in between. */
#include <ctype.h>
#include <inttypes.h>
#include <srv/app.h>
#include <string.h>

/* FNV-1a, 64 bits: enough to tell bodies apart. */
static uint64_t checksum(const char *body, size_t len) {
    uint64_t sum = 0xcbf29ce484222325;

    for (size_t i = 0; i < len; i++)
        sum = (sum ^ (uint8_t)body[i]) * 0x100000001b3;
    return sum;
}

/* Names are written in lower case: proxies spell them in their own way. */
static int print_field(void *arg, const char *name, const char *value) {
    srv_request *rq = arg;
    char *lower = srv_alloc(rq, strlen(name) + 1);

    for (size_t i = 0; lower != NULL && name[i] != '\0'; i++)
        lower[i] = (char)tolower((unsigned char)name[i]);
    srv_print(rq, "field: %s: %s\n", lower != NULL ? lower : name, value);
    return 0;
}

static int echo_page(srv_request *rq) {
    size_t len;
    const char *body = srv_body(rq, &len);

    srv_print(rq, "method: %s\ntarget: %s\n", srv_method(rq), srv_target(rq));
    srv_print(rq, "client: %s\nscheme: %s\n", srv_client(rq), srv_scheme(rq));
    srv_headers(rq, print_field, rq);
    srv_print(rq, "body: %zu bytes, sum %016" PRIx64 "\n", len, checksum(body, len));
    return srv_reply_printed(rq, 200);
}

SRV_APP(.handle = echo_page)
