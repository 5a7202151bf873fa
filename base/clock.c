/* SPDX-License-Identifier: MIT */
/* Reads the clocks of clock_gettime(2) and spells the date. */
#include "base/clock.h"
#include "base/assert.h"
#include <stdbool.h>
#include <string.h>
#include <time.h>

static nsec_t clock_read(clockid_t id) {
    struct timespec now;
    int rc = clock_gettime(id, &now);
    ASSERT(rc == 0);
    return (nsec_t)now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

nsec_t clock_now(void) {
    return clock_read(CLOCK_MONOTONIC);
}

nsec_t clock_thread_cpu(void) {
    return clock_read(CLOCK_THREAD_CPUTIME_ID);
}

nsec_t clock_wall(void) {
    return clock_read(CLOCK_REALTIME);
}

/* Leap days in the years 1 to `year`. */
static int64_t leap_days(int64_t year) {
    return year / 4 - year / 100 + year / 400;
}

static int64_t days_before(int64_t year) {
    return 365 * (year - 1970) + leap_days(year - 1) - leap_days(1969);
}

struct date {
    unsigned year, month, day;
};

/* Gregorian, from days since 1970-01-01. Not gmtime_r: it takes the C library's time zone lock. */
static struct date date_of(int64_t days) {
    static const uint8_t month_days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int64_t year = 1970 + days / 366; /* never too late, and early by few */
    while (days >= days_before(year + 1))
        year++;
    int64_t left = days - days_before(year);
    bool leap = leap_days(year) > leap_days(year - 1);
    unsigned month = 0;
    for (; month < 11; month++) {
        int64_t len = month_days[month] + (month == 1 && leap);
        if (left < len)
            break;
        left -= len;
    }
    return (struct date){ (unsigned)year, month + 1, (unsigned)left + 1 };
}

/* `value` right-aligned over the zeros that end before `end`. */
static void put_digits(char *end, unsigned value) {
    for (; value > 0; value /= 10)
        *--end = (char)('0' + value % 10);
}

const char *clock_format(nsec_t wall, char *text) {
    static const char blank[CLOCK_TEXT_BYTES] = "0000-00-00T00:00:00.000Z";
    ASSERT(wall >= 0);
    nsec_t seconds = wall / NSEC_PER_SEC;
    unsigned in_day = (unsigned)(seconds % 86400);
    struct date date = date_of(seconds / 86400);
    memcpy(text, blank, sizeof(blank));
    put_digits(text + 4, date.year);
    put_digits(text + 7, date.month);
    put_digits(text + 10, date.day);
    put_digits(text + 13, in_day / 3600);
    put_digits(text + 16, in_day / 60 % 60);
    put_digits(text + 19, in_day % 60);
    put_digits(text + 23, (unsigned)(wall % NSEC_PER_SEC / NSEC_PER_MSEC));
    return text;
}

void clock_format_http(int64_t seconds, char *text) {
    static const char blank[CLOCK_HTTP_BYTES] = "Day, 00 Mon 0000 00:00:00 GMT";
    static const char week[] = "ThuFriSatSunMonTueWed"; /* 1970 began on a Thursday */
    static const char year[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    ASSERT(seconds >= 0);
    unsigned in_day = (unsigned)(seconds % 86400);
    struct date date = date_of(seconds / 86400);
    memcpy(text, blank, sizeof(blank));
    memcpy(text, week + 3 * (seconds / 86400 % 7), 3);
    put_digits(text + 7, date.day);
    memcpy(text + 8, year + 3 * (date.month - 1), 3);
    put_digits(text + 16, date.year);
    put_digits(text + 19, in_day / 3600);
    put_digits(text + 22, in_day / 60 % 60);
    put_digits(text + 25, in_day % 60);
}
