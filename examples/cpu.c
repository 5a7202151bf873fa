/* SPDX-License-Identifier: MIT */
/* App `cpu`: half of the delay in the slow API, half computing; what no green thread can share. */
#include <srv/app.h>
#include <time.h>

#define DELAY_MAX 10   /* seconds: a handler that computes cannot be interrupted */
#define ROUND     4096 /* steps between two looks at the clock: microseconds */

static double thread_cpu(void) {
    struct timespec spent;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
    return (double)spent.tv_sec + (double)spent.tv_nsec / 1e9;
}

/* Uses that many seconds of CPU time of this thread, however long that takes. The sum is for the
 * answer, so that no compiler leaves the work out. xorshift64: Marsaglia, "Xorshift RNGs", 2003. */
static unsigned long long compute(double seconds) {
    double end = thread_cpu() + seconds;
    uint64_t sum = 0, x = 88172645463325252;

    while (thread_cpu() < end) {
        for (int i = 0; i < ROUND; i++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            sum += x & 1;
        }
    }
    return sum;
}

/* The sum differs from request to request, and the answer's length must not: ab would count it as
 * failed. */
static int index_page(srv_request *rq) {
    double delay = srv_seconds(rq, "delay", srv_arg(rq, "delay", "1"));
    const srv_response *api;

    if (delay > DELAY_MAX)
        return srv_fail(rq, 400, "the app cpu takes a delay of at most %d", DELAY_MAX);
    api = srv_get(rq, "?delay=%.9f", delay / 2);
    if (api->status != 200)
        return srv_fail(rq, 502, "upstream answered %d", api->status);
    return srv_reply(rq, 200, "Hi there! %s (%016llx)", api->text, compute(delay / 2));
}

SRV_APP(.routes = (const srv_route[]){ { "/", index_page }, { NULL, NULL } })
