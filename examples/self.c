/* SPDX-License-Identifier: MIT */
/* App `self`: asks the very server that it runs in; what a server with one thread cannot answer. */
#include <srv/app.h>

static int index_page(srv_request *rq) {
    const char *delay = srv_arg(rq, "delay", "1");
    const srv_response *part;

    srv_seconds(rq, "delay", delay);
    part = srv_get(rq, "part?delay=%s", delay);
    if (part->status != 200)
        return srv_fail(rq, 502, "upstream answered %d", part->status);
    return srv_reply(rq, 200, "Hi there! %s", part->text);
}

/* Answers after the delay, and asks nobody: one level deep and no further. */
static int part_page(srv_request *rq) {
    srv_sleep(rq, srv_seconds(rq, "delay", srv_arg(rq, "delay", "0")));
    return srv_reply(rq, 200, "my own answer");
}

SRV_APP(.routes = (const srv_route[]){
            { "/", index_page }, { "/part", part_page }, { NULL, NULL } })
