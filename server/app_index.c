/* SPDX-License-Identifier: MIT */
/* App `index`: asks the slow upstream and passes its answer on; the workload of the whole project.
 */
#include "server/app.h"
#include "server/app_delay.h"
#include <errno.h>

static int index_handle(struct srv_request *rq);

const struct srv_app app_index = {
    .name = "index",
    .summary = "GET /?delay=S: 'Hi there! ' and what the upstream said after S seconds",
    .handle = index_handle,
};

static int reply_greeting(struct srv_request *rq, struct slice text) {
    static const struct slice greeting = SLICE_INIT("Hi there! ");
    char *body = srv_alloc(rq, greeting.len + text.len);

    if (body == NULL)
        return -ENOMEM;
    memcpy(body, greeting.ptr, greeting.len);
    memcpy(body + greeting.len, text.ptr, text.len);
    return app_reply_text(rq, 200, slice_of(body, greeting.len + text.len));
}

/* The upstream parses the same grammar: the digits go on as they came. */
static int index_handle(struct srv_request *rq) {
    struct app_delay delay;
    struct slice text;
    int rc = app_delay_read(rq, &delay);

    if (rc == 0)
        rc = app_delay_ask(rq, delay.text, &text);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    return reply_greeting(rq, text);
}
