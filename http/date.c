/* SPDX-License-Identifier: MIT */
/* IMF-fixdate, and the cached one of the current second. */
#include "base/clock.h"
#include "http/encode.h"
#include <assert.h>
#include <time.h>

#define SECONDS_MAX \
    INT64_C(253402300799) /* 9999-12-31: the format has four digits for the year \
                           */

void http_date(int64_t seconds, char *text) {
    static_assert(HTTP_DATE_BYTES == CLOCK_HTTP_BYTES, "it is written by the clock");
    clock_format_http(seconds < 0 ? 0 : seconds > SECONDS_MAX ? SECONDS_MAX : seconds, text);
}

struct slice http_date_now(void) {
    static _Thread_local int64_t cached_second = -1;
    static _Thread_local char cached_text[HTTP_DATE_BYTES];
    struct timespec now;
    /* The coarse clock is a read of shared memory, and a tick late is still the right second to
     * HTTP. */
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != cached_second) {
        http_date(now.tv_sec, cached_text);
        cached_second = now.tv_sec;
    }
    return slice_of(cached_text, HTTP_DATE_BYTES - 1);
}
