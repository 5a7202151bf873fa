/* SPDX-License-Identifier: MIT */
/* App `self`: asks the very server that it runs in; what a server with one thread cannot answer. */
#include "server/app/app.h"
#include "server/app/delay.h"
#include <errno.h>

static int self_handle(struct srv_request *rq);

const struct srv_app app_self = {
    .name = "self",
    .summary = "GET /?delay=S asks the upstream, which has to be this server, for /part?delay=S",
    .handle = self_handle,
};

/* The part is answered here, after the delay, and asks nobody: one level deep and no further. */
static int part_handle(struct srv_request *rq) {
    struct slice value = SLICE("0");
    struct app_delay delay;
    int rc;

    (void)srv_query(rq, SLICE("delay"), &value);
    rc = app_delay_parse(rq, value, &delay);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = srv_sleep(rq, delay.span);
    return rc < 0 ? rc : app_reply_text(rq, 200, SLICE("my own answer"));
}

static int self_handle(struct srv_request *rq) {
    struct srv_answer part;
    struct app_delay delay;
    struct slice text;
    const char *suffix;
    int rc;

    if (slice_eq(srv_path(rq), SLICE("/part")))
        return part_handle(rq);
    rc = app_delay_read(rq, &delay);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    suffix = srv_format(rq, "part?delay=%.*s", (int)delay.text.len, delay.text.ptr);
    if (suffix == NULL)
        return -ENOMEM;
    rc = srv_upstream_get(rq, slice_str(suffix), &part);
    if (rc == 0)
        rc = app_delay_take(rq, &part, &text);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    return app_delay_greet(rq, text);
}
