/* SPDX-License-Identifier: MIT */
/* App `index`: asks the slow upstream and passes its answer on; the workload of the whole project.
 */
#include "base/units.h"
#include "server/app.h"
#include <errno.h>

static int index_handle(struct srv_request *rq);

const struct srv_app app_index = {
    .name = "index",
    .summary = "GET /?delay=S: 'Hi there! ' and what the upstream said after S seconds",
    .handle = index_handle,
};

static int reply_text(struct srv_request *rq, uint16_t status, struct slice text) {
    return srv_reply(rq, status, SLICE("text/plain"), text);
}

static int reply_bad_delay(struct srv_request *rq, struct slice value, const char *why) {
    struct slice shown = slice_take(value, 60);
    const char *text = srv_format(rq, "delay '%.*s' %s; a decimal number of seconds is expected\n",
                                  (int)shown.len, shown.ptr, why);

    return text == NULL ? -ENOMEM : reply_text(rq, 400, slice_str(text));
}

static int reply_bad_upstream(struct srv_request *rq, unsigned status) {
    const char *text = srv_format(rq, "upstream answered %u\n", status);

    return text == NULL ? -ENOMEM : reply_text(rq, 502, slice_str(text));
}

/* "?delay=" and the digits as they came: the upstream parses the same grammar. */
static int ask_upstream(struct srv_request *rq, struct slice seconds, struct srv_answer *ret) {
    static const struct slice prefix = { "?delay=", 7 };
    char *suffix = srv_alloc(rq, prefix.len + seconds.len);

    if (suffix == NULL)
        return -ENOMEM;
    memcpy(suffix, prefix.ptr, prefix.len);
    memcpy(suffix + prefix.len, seconds.ptr, seconds.len);
    return srv_upstream_get(rq, slice_of(suffix, prefix.len + seconds.len), ret);
}

static int reply_greeting(struct srv_request *rq, struct slice text) {
    static const struct slice greeting = { "Hi there! ", 10 };
    char *body = srv_alloc(rq, greeting.len + text.len);

    if (body == NULL)
        return -ENOMEM;
    memcpy(body, greeting.ptr, greeting.len);
    memcpy(body + greeting.len, text.ptr, text.len);
    return reply_text(rq, 200, slice_of(body, greeting.len + text.len));
}

static int index_handle(struct srv_request *rq) {
    struct slice seconds = SLICE("");
    struct srv_answer answer;
    const char *why = NULL;
    nsec_t delay;
    int rc;

    if (!slice_eq(srv_path(rq), SLICE("/")))
        return reply_text(rq, 404, SLICE("not found\n"));
    if (srv_query(rq, SLICE("delay"), &seconds) && units_parse_seconds(seconds, &delay, &why) < 0)
        return reply_bad_delay(rq, seconds, why);

    rc = ask_upstream(rq, seconds.len == 0 ? SLICE("1") : seconds, &answer);
    if (rc < 0)
        return rc;
    if (answer.status != 200)
        return reply_bad_upstream(rq, answer.status);
    return reply_greeting(rq, answer.body);
}
