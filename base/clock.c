/* SPDX-License-Identifier: MIT */
/* Reads the clocks of clock_gettime(2) and spells the date. */
#include "base/clock.h"
#include "base/assert.h"
#include <errno.h>
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

static bool is_leap(int64_t year) {
    return leap_days(year) > leap_days(year - 1);
}

static unsigned days_of(int64_t year, unsigned month) {
    static const uint8_t month_days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    return month_days[month - 1] + (month == 2 && is_leap(year));
}

/* Gregorian, from days since 1970-01-01. Not gmtime_r: it takes the C library's time zone lock. */
static struct date date_of(int64_t days) {
    int64_t year = 1970 + days / 366; /* never too late, and early by few */
    while (days >= days_before(year + 1))
        year++;
    int64_t left = days - days_before(year);
    unsigned month = 1;
    for (; month < 12 && left >= days_of(year, month); month++)
        left -= days_of(year, month);
    return (struct date){ (unsigned)year, month, (unsigned)left + 1 };
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

/* `count` digits and the character behind them, or any when that is 0. */
static bool take_digits(const char **text, unsigned count, char behind, unsigned *ret) {
    const char *at = *text;
    *ret = 0;
    for (unsigned i = 0; i < count; i++, at++) {
        if (*at < '0' || *at > '9')
            return false;
        *ret = *ret * 10 + (unsigned)(*at - '0');
    }
    if (behind != '\0' && *at++ != behind)
        return false;
    *text = at;
    return true;
}

static bool take_fraction(const char **text, nsec_t *ret) {
    const char *at = *text;
    nsec_t unit = NSEC_PER_SEC / 10;
    *ret = 0;
    if (*at != '.' && *at != ',')
        return true;
    for (at++; *at >= '0' && *at <= '9'; at++, unit /= 10)
        *ret += (*at - '0') * unit;
    bool any = at > *text + 1;
    *text = at;
    return any;
}

/* Seconds to the east of UTC. */
static bool take_zone(const char **text, int64_t *ret) {
    unsigned hours, minutes;
    char sign = *(*text)++;
    *ret = 0;
    if (sign == 'Z' || sign == 'z')
        return true;
    if ((sign != '+' && sign != '-') || !take_digits(text, 2, '\0', &hours))
        return false;
    *text += **text == ':';
    if (!take_digits(text, 2, '\0', &minutes) || hours > 23 || minutes > 59)
        return false;
    *ret = (sign == '-' ? -60 : 60) * (int64_t)(hours * 60 + minutes);
    return true;
}

static bool take_date(const char **text, int64_t *ret_days) {
    unsigned year, month, day;
    if (!take_digits(text, 4, '-', &year) || !take_digits(text, 2, '-', &month) ||
        !take_digits(text, 2, '\0', &day) || year < 1970 || month < 1 || month > 12 || day < 1 ||
        day > days_of(year, month))
        return false;
    *ret_days = days_before(year) + day - 1;
    for (unsigned m = 1; m < month; m++)
        *ret_days += days_of(year, m);
    return true;
}

/* A leap second is the second behind it. */
int clock_parse(const char *text, nsec_t *ret_wall) {
    int64_t days, zone;
    unsigned hour, minute, second;
    nsec_t fraction;
    if (!take_date(&text, &days))
        return -EINVAL;
    char between = *text++;
    if ((between != 'T' && between != 't' && between != ' ') ||
        !take_digits(&text, 2, ':', &hour) || !take_digits(&text, 2, ':', &minute) ||
        !take_digits(&text, 2, '\0', &second) || hour > 23 || minute > 59 || second > 60 ||
        !take_fraction(&text, &fraction) || !take_zone(&text, &zone) || *text != '\0')
        return -EINVAL;
    int64_t seconds = days * 86400 + (int64_t)(hour * 60 + minute) * 60 + second - zone;
    if (seconds < 0 || seconds > NSEC_NEVER / NSEC_PER_SEC - 1)
        return -EINVAL;
    *ret_wall = seconds * NSEC_PER_SEC + fraction;
    return 0;
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
