/* SPDX-License-Identifier: MIT */
/* Reads and writes the metrics of Server-Timing. */
#include "http/server_timing.h"
#include "http/chars.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- reading ---------------------------------------------------------------------------------- */

static struct slice skip_blanks(struct slice s) {
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
        s = slice_drop(s, 1);
    return s;
}

static bool begins_with(struct slice s, char c) {
    return s.len > 0 && s.ptr[0] == c;
}

static struct slice take_token(struct slice *rest) {
    size_t len = http_span(rest->ptr, rest->len, HTTP_CHAR_TOKEN);
    struct slice token = slice_take(*rest, len);
    *rest = slice_drop(*rest, len);
    return token;
}

/* The text between quotes, and *rest behind them. A quote that nothing closes takes all. */
static struct slice take_quoted(struct slice *rest) {
    size_t i = 1;
    while (i < rest->len && rest->ptr[i] != '"')
        i += rest->ptr[i] == '\\' ? 2 : 1;
    i = i < rest->len ? i : rest->len;
    struct slice text = slice_of(rest->ptr + 1, i - 1);
    *rest = slice_drop(*rest, i < rest->len ? i + 1 : i);
    return text;
}

/* Goes to the next `;` or `,` outside of quotes, over what should not stand there. */
static void skip_to_delimiter(struct slice *rest) {
    while (rest->len > 0 && rest->ptr[0] != ',' && rest->ptr[0] != ';') {
        if (rest->ptr[0] == '"')
            (void)take_quoted(rest);
        else
            *rest = slice_drop(*rest, 1);
    }
}

static void skip_to_comma(struct slice *rest) {
    skip_to_delimiter(rest);
    while (begins_with(*rest, ';')) {
        *rest = slice_drop(*rest, 1);
        skip_to_delimiter(rest);
    }
}

enum { NUMBER_BYTES = 64 };

/* Digits, with a point or not: what servers send. -1: something else. */
static int64_t read_plain(struct slice s) {
    int64_t nsec = 0;
    size_t i = 0;
    while (i < s.len && i < 10 && s.ptr[i] >= '0' && s.ptr[i] <= '9')
        nsec = nsec * 10 + (s.ptr[i++] - '0');
    if (i == 0)
        return -1;
    int64_t scale = 1000000;
    nsec *= scale;
    if (i < s.len && s.ptr[i] == '.')
        for (i++; i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9'; i++)
            nsec += (scale /= 10) * (s.ptr[i] - '0');
    return i == s.len ? (nsec + 500) / 1000 : -1;
}

/* Any decimal number, in milliseconds. -1: none, or none that is usable. */
static int64_t read_number(struct slice s) {
    char text[NUMBER_BYTES], *end;
    if (s.len == 0 || s.len >= sizeof(text))
        return -1;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    if (strspn(text, "0123456789.eE+-") != s.len) /* strtod(3) knows inf, nan and 0x10, too */
        return -1;
    double msec = strtod(text, &end);
    bool is_usable =
        end == text + s.len && msec >= 0 && msec <= (double)SERVER_TIMING_USEC_MAX / 1000;
    return is_usable ? llround(msec * 1000) : -1;
}

static int64_t read_usec(struct slice s) {
    int64_t usec = read_plain(s);
    if (UNLIKELY(usec < 0))
        usec = read_number(s);
    return usec <= SERVER_TIMING_USEC_MAX ? usec : -1;
}

/* The value of a parameter; empty when it has none. */
static struct slice take_value(struct slice *rest) {
    struct slice value = { "", 0 };
    *rest = skip_blanks(*rest);
    if (!begins_with(*rest, '='))
        return value;
    *rest = skip_blanks(slice_drop(*rest, 1));
    return begins_with(*rest, '"') ? take_quoted(rest) : take_token(rest);
}

enum server_timing_kind server_timing_next(struct slice *rest, struct server_timing *ret) {
    bool has_dur = false, has_desc = false;
    *ret = (struct server_timing){ .desc = { "", 0 } };
    *rest = skip_blanks(*rest);
    while (begins_with(*rest, ',')) /* a list may have empty elements (RFC 9110 section 5.6.1) */
        *rest = skip_blanks(slice_drop(*rest, 1));
    if (rest->len == 0)
        return SERVER_TIMING_END;
    ret->name = take_token(rest);
    if (ret->name.len == 0) {
        skip_to_comma(rest);
        return SERVER_TIMING_MALFORMED;
    }
    skip_to_delimiter(rest);
    while (begins_with(*rest, ';')) {
        *rest = skip_blanks(slice_drop(*rest, 1));
        struct slice name = take_token(rest), value = take_value(rest);
        if (!has_dur && slice_eq_nocase(name, SLICE("dur"))) {
            has_dur = true;
            ret->usec = read_usec(value);
        } else if (!has_desc && slice_eq_nocase(name, SLICE("desc"))) {
            has_desc = true;
            ret->desc = value;
        }
        skip_to_delimiter(rest);
    }
    if (!has_dur)
        return SERVER_TIMING_BARE;
    return ret->usec >= 0 ? SERVER_TIMING_SPAN : SERVER_TIMING_UNUSABLE;
}

/* --- writing ---------------------------------------------------------------------------------- */

static char *put(char *at, struct slice s) {
    memcpy(at, s.ptr, s.len);
    return at + s.len;
}

/* Microseconds as milliseconds, without zeros at the end: "0", "0.02", "1250". */
static char *put_msec(char *at, int64_t usec) {
    char digits[16];
    int64_t whole = usec / 1000, part = usec % 1000;
    size_t i = sizeof(digits);
    do
        digits[--i] = (char)('0' + whole % 10);
    while ((whole /= 10) > 0);
    at = put(at, slice_of(digits + i, sizeof(digits) - i));
    if (part > 0)
        *at++ = '.';
    for (int64_t scale = 100; part > 0; part %= scale, scale /= 10)
        *at++ = (char)('0' + part / scale);
    return at;
}

char *server_timing_put(char *at, bool first, struct slice name, int64_t usec) {
    if (usec < 0)
        usec = 0;
    else if (usec > SERVER_TIMING_USEC_MAX)
        usec = SERVER_TIMING_USEC_MAX;
    if (!first)
        at = put(at, SLICE(", "));
    at = put(at, name);
    at = put(at, SLICE(";dur="));
    return put_msec(at, usec);
}
