/* SPDX-License-Identifier: MIT */
/* Reads the delay of a request, and spends one in the slow API. */
#include "server/app/delay.h"
#include "base/units.h"
#include <errno.h>

int app_reply_text(struct srv_request *rq, uint16_t status, struct slice text) {
    return srv_reply(rq, status, SLICE("text/plain"), text);
}

/* 1 when it is answered, for those that pass it on. */
static int reply_and_stop(struct srv_request *rq, uint16_t status, const char *text) {
    int rc = text == NULL ? -ENOMEM : app_reply_text(rq, status, slice_str(text));

    return rc < 0 ? rc : 1;
}

int app_delay_parse(struct srv_request *rq, struct slice value, struct app_delay *ret) {
    struct slice shown;
    const char *why = NULL;

    ret->text = value;
    if (units_parse_seconds(value, &ret->span, &why) == 0)
        return 0;
    shown = slice_take(value, 60);
    return reply_and_stop(
        rq, 400,
        srv_format(rq, "delay '%.*s' %s; examples: 0, 0.25, 30\n", (int)shown.len, shown.ptr, why));
}

int app_delay_read(struct srv_request *rq, struct app_delay *ret) {
    struct slice value = SLICE("");

    if (!slice_eq(srv_path(rq), SLICE("/")))
        return reply_and_stop(rq, 404, "not found\n");
    if (!srv_query(rq, SLICE("delay"), &value) || value.len == 0)
        value = SLICE("1");
    return app_delay_parse(rq, value, ret);
}

const char *app_delay_half(struct srv_request *rq, const struct app_delay *delay) {
    nsec_t half = delay->span / 2;

    return srv_format(rq, "%lld.%09lld", (long long)(half / NSEC_PER_SEC),
                      (long long)(half % NSEC_PER_SEC));
}

/* Both, in memory of the request. 0 or -ENOMEM. */
static int join(struct srv_request *rq, struct slice first, struct slice second,
                struct slice *ret) {
    char *text = srv_alloc(rq, first.len + second.len);

    if (text == NULL)
        return -ENOMEM;
    memcpy(text, first.ptr, first.len);
    memcpy(text + first.len, second.ptr, second.len);
    *ret = slice_of(text, first.len + second.len);
    return 0;
}

int app_delay_suffix(struct srv_request *rq, struct slice seconds, struct slice *ret) {
    return join(rq, SLICE("?delay="), seconds, ret);
}

int app_delay_take(struct srv_request *rq, const struct srv_answer *answer, struct slice *ret) {
    *ret = answer->body;
    if (answer->status == 200)
        return 0;
    return reply_and_stop(rq, 502, srv_format(rq, "upstream answered %u\n", answer->status));
}

int app_delay_ask(struct srv_request *rq, struct slice seconds, struct slice *ret) {
    struct srv_answer answer;
    struct slice suffix;
    int rc = app_delay_suffix(rq, seconds, &suffix);

    if (rc == 0)
        rc = srv_upstream_get(rq, suffix, &answer);
    return rc < 0 ? rc : app_delay_take(rq, &answer, ret);
}

int app_delay_greet(struct srv_request *rq, struct slice text) {
    struct slice body;
    int rc = join(rq, SLICE("Hi there! "), text, &body);

    return rc < 0 ? rc : app_reply_text(rq, 200, body);
}
