/* SPDX-License-Identifier: MIT */
/* App `cpu`: half of the delay in the slow upstream, half computing; what no green thread can
 * share.
 */
#include "server/app/app.h"
#include "server/app/delay.h"
#include <errno.h>
#include <time.h>

#define CPU_DELAY_MAX (10 * NSEC_PER_SEC) /* a handler that computes cannot be interrupted */
#define ROUND         4096                /* steps between two looks at the clock: microseconds */

static int cpu_handle(struct srv_request *rq);

const struct srv_app app_cpu = {
    .name = "cpu",
    .summary = "GET /?delay=S: half of S in the upstream, half computing; S is at most 10",
    .handle = cpu_handle,
};

/* Uses `span` of CPU time of this thread, however long that takes. The sum is for the answer, so
 * that no compiler leaves the work out. xorshift64: Marsaglia, "Xorshift RNGs", 2003. */
static uint64_t compute(nsec_t span) {
    nsec_t end = clock_thread_cpu() + span;
    uint64_t sum = 0, x = 88172645463325252;

    while (clock_thread_cpu() < end) {
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
static int cpu_handle(struct srv_request *rq) {
    struct app_delay delay;
    struct slice api;
    const char *text;
    int rc = app_delay_read(rq, &delay);

    if (rc != 0)
        return rc < 0 ? rc : 0;
    if (delay.span > CPU_DELAY_MAX)
        return app_reply_text(rq, 400, SLICE("the app cpu takes a delay of at most 10\n"));
    text = app_delay_half(rq, &delay);
    if (text == NULL)
        return -ENOMEM;
    rc = app_delay_ask(rq, slice_str(text), &api);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    text = srv_format(rq, "Hi there! %.*s (%016llx)", (int)api.len, api.ptr,
                      (unsigned long long)compute(delay.span / 2));
    return text == NULL ? -ENOMEM : app_reply_text(rq, 200, slice_str(text));
}
