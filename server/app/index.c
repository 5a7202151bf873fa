/* SPDX-License-Identifier: MIT */
/* App `index`: asks the slow upstream and passes its answer on; the workload of the whole project.
 */
#include "server/app/app.h"
#include "server/app/delay.h"

static int index_handle(struct srv_request *rq);

const struct srv_app app_index = {
    .name = "index",
    .summary = "GET /?delay=S: 'Hi there! ' and what the upstream said after S seconds",
    .handle = index_handle,
};

/* The upstream parses the same grammar: the digits go on as they came. server/app/index_event.c is
 * the same work as callbacks. */
static int index_handle(struct srv_request *rq) {
    struct app_delay delay;
    struct slice text;
    int rc = app_delay_read(rq, &delay);

    if (rc == 0)
        rc = app_delay_ask(rq, delay.text, &text);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    return app_delay_greet(rq, text);
}
