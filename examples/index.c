/* SPDX-License-Identifier: MIT */
/* App `index`: asks the slow API and passes its answer on; the workload of the whole project. */
#include <srv/app.h>

static int index_page(srv_request *rq) {
    const char *delay = srv_arg(rq, "delay", "1");
    const srv_response *api;

    srv_seconds(rq, "delay", delay); /* what is none is answered with 400 */
    api = srv_get(rq, "?delay=%s", delay);
    if (api->status != 200)
        return srv_fail(rq, 502, "upstream answered %d", api->status);
    return srv_reply(rq, 200, "Hi there! %s", api->text);
}

SRV_APP(.routes = (const srv_route[]){ { "/", index_page }, { NULL, NULL } })
