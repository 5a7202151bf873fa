/* SPDX-License-Identifier: MIT */
/* IMF-fixdate, and the cached one of the current second. */
#include "http/encode.h"
#include <time.h>

#define SECONDS_MAX                                                              \
    INT64_C(253402300799) /* 9999-12-31: the format has four digits for the year \
                           */

static char *put_digits(char *at, int value, int width) {
    for (int i = width - 1; i >= 0; i--, value /= 10)
        at[i] = (char)('0' + value % 10);
    return at + width;
}

static char *put_name(char *at, const char *names, int index) {
    memcpy(at, names + 3 * index, 3);
    return at + 3;
}

void http_date(int64_t seconds, char *text) {
    time_t when = seconds < 0 ? 0 : seconds > SECONDS_MAX ? SECONDS_MAX : seconds;
    struct tm tm = { 0 };
    gmtime_r(&when, &tm);

    char *at = put_name(text, "SunMonTueWedThuFriSat", tm.tm_wday);
    *at++ = ',';
    *at++ = ' ';
    at = put_digits(at, tm.tm_mday, 2);
    *at++ = ' ';
    at = put_name(at, "JanFebMarAprMayJunJulAugSepOctNovDec", tm.tm_mon);
    *at++ = ' ';
    at = put_digits(at, tm.tm_year + 1900, 4);
    *at++ = ' ';
    at = put_digits(at, tm.tm_hour, 2);
    *at++ = ':';
    at = put_digits(at, tm.tm_min, 2);
    *at++ = ':';
    at = put_digits(at, tm.tm_sec, 2);
    memcpy(at, " GMT", sizeof(" GMT"));
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
