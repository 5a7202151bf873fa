/* SPDX-License-Identifier: MIT */
/* Tells everybody the time, as server-sent events: one a second, or every ?every=SECONDS.
 *
 *   cc -I include -shared -fPIC -o clock.so examples/clock.c
 *   srv serve --model green --async-cores 20000 ./clock.so     then: curl -N localhost:8080 */
#include <srv/app.h>
#include <stdio.h>
#include <time.h>

static int tell_time(srv_request *rq) {
    double every = srv_seconds(rq, "every", srv_arg(rq, "every", "1"));
    char text[32]; /* not srv_format, whose memory is the request's until its end */

    do
        snprintf(text, sizeof(text), "%lld", (long long)time(NULL));
    while (srv_event(rq, "time", text) == 0 && srv_sleep(rq, every) == 0);
    return srv_error(rq);
}

SRV_APP(.handle = tell_time)
