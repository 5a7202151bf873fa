/* SPDX-License-Identifier: MIT */
/* Parses and prints durations and sizes exactly, in whole nanoseconds and bytes. */
#include "base/units.h"
#include "base/assert.h"
#include <errno.h>
#include <stdio.h>

#define UNITS_SPAN_MAX      (INT64_C(3650) * 24 * 3600 * NSEC_PER_SEC) /* ten years */
#define FRACTION_DIGITS_MAX 18 /* 10^18 fits 64 bits; later digits are far below 1 ns */

__extension__ typedef unsigned __int128 wide_t; /* 18 digits times the nanoseconds of an hour */

struct unit {
    struct slice name;
    nsec_t span;
};

static const struct unit duration_units[] = {
    { SLICE_INIT("h"), 3600 * NSEC_PER_SEC }, { SLICE_INIT("m"), 60 * NSEC_PER_SEC },
    { SLICE_INIT("s"), NSEC_PER_SEC },        { SLICE_INIT("ms"), NSEC_PER_MSEC },
    { SLICE_INIT("us"), NSEC_PER_USEC },
};

struct decimal {
    uint64_t whole;                 /* saturated above UNITS_SPAN_MAX: out of range in every unit */
    uint64_t fraction, fraction_of; /* fraction / fraction_of is the part after the point */
    size_t digits;
};

/* Reads 1*DIGIT [ "." *DIGIT ] or "." 1*DIGIT from the front of `*rest`; `digits` is 0 if none. */
static struct decimal cut_decimal(struct slice *rest) {
    struct decimal d = { .fraction_of = 1 };
    bool point = false;
    for (; rest->len > 0; *rest = slice_drop(*rest, 1)) {
        char c = rest->ptr[0];
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (c < '0' || c > '9')
            break;
        uint64_t digit = (uint64_t)(c - '0');
        d.digits++;
        if (!point) {
            d.whole = d.whole > UNITS_SPAN_MAX ? d.whole : d.whole * 10 + digit;
        } else if (d.fraction_of < UINT64_C(1000000000000000000)) {
            d.fraction = d.fraction * 10 + digit;
            d.fraction_of *= 10;
        }
    }
    return d;
}

static int decimal_to_span(const struct decimal *d, nsec_t unit, nsec_t *ret) {
    if (d->whole > (uint64_t)(UNITS_SPAN_MAX / unit))
        return -ERANGE;
    nsec_t part = (nsec_t)((wide_t)d->fraction * (wide_t)unit / d->fraction_of);
    nsec_t span = (nsec_t)d->whole * unit + part;
    if (span > UNITS_SPAN_MAX)
        return -ERANGE;
    *ret = span;
    return 0;
}

int units_parse_duration(struct slice text, nsec_t *ret) {
    struct decimal d = cut_decimal(&text);
    if (d.digits == 0)
        return -EINVAL;
    if (text.len == 0)
        return decimal_to_span(&d, NSEC_PER_SEC, ret);
    for (size_t i = 0; i < ARRAY_LEN(duration_units); i++)
        if (slice_eq(text, duration_units[i].name))
            return decimal_to_span(&d, duration_units[i].span, ret);
    return -EINVAL;
}

static const char *why_not_seconds(struct slice text) {
    bool minus = slice_starts_with(text, SLICE("-"));
    struct slice rest = minus ? slice_drop(text, 1) : text;
    struct slice number = rest;
    struct decimal d = cut_decimal(&number);
    if (minus && d.digits > 0 && number.len == 0)
        return "is negative";
    if (slice_eq_nocase(rest, SLICE("nan")))
        return "is not a number";
    if (slice_eq_nocase(rest, SLICE("inf")) || slice_eq_nocase(rest, SLICE("infinity")))
        return "is not finite";
    return "is not a decimal number of seconds";
}

int units_parse_seconds(struct slice text, nsec_t *ret, const char **ret_why) {
    if (text.len == 0) {
        *ret = NSEC_PER_SEC;
        return 0;
    }
    struct slice rest = text;
    struct decimal d = cut_decimal(&rest);
    if (d.digits == 0 || rest.len > 0) {
        *ret_why = why_not_seconds(text);
        return -EINVAL;
    }
    int rc = decimal_to_span(&d, NSEC_PER_SEC, ret);
    if (rc < 0)
        *ret_why = "is more than ten years";
    return rc;
}

int units_parse_size(struct slice text, uint64_t *ret_bytes) {
    unsigned shift = 0;
    if (text.len > 0) {
        char last = (char)(text.ptr[text.len - 1] | 0x20);
        shift = last == 'k' ? 10 : last == 'm' ? 20 : last == 'g' ? 30 : 0;
    }
    uint64_t number = 0;
    struct slice digits = slice_take(text, text.len - (shift > 0));
    int rc = slice_parse_u64(digits, UINT64_MAX >> shift, &number);
    if (rc < 0)
        return rc;
    *ret_bytes = number << shift;
    return 0;
}

int units_parse_number(struct slice text, double *ret) {
    double value = 0, unit = 1;
    size_t digits = 0;
    bool point = false;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (c < '0' || c > '9' || digits++ == 18)
            return -EINVAL;
        value = value * 10 + (c - '0');
        unit *= point ? 10 : 1;
    }
    *ret = value / unit;
    return digits > 0 ? 0 : -EINVAL;
}

int units_parse_percent(struct slice text, double *ret_share) {
    double percent = 0;

    if (text.len > 0 && text.ptr[text.len - 1] == '%')
        text.len--;
    if (units_parse_number(text, &percent) < 0 || percent > 100)
        return -EINVAL;
    *ret_share = percent / 100;
    return 0;
}

/* Writes span as a decimal of `unit`, or "" if that is not exact within twelve digits. */
static void format_exactly(nsec_t span, const struct unit *unit, char *text) {
    char digits[13];
    size_t len = 0;
    nsec_t rest = span % unit->span;
    while (rest > 0 && len < sizeof(digits) - 1) {
        rest *= 10;
        digits[len++] = (char)('0' + rest / unit->span);
        rest %= unit->span;
    }
    digits[len] = '\0';
    text[0] = '\0';
    if (rest == 0)
        snprintf(text, UNITS_TEXT_BYTES, "%lld%s%s%.*s", (long long)(span / unit->span),
                 len > 0 ? "." : "", digits, (int)unit->name.len, unit->name.ptr);
}

const char *units_format_duration(nsec_t span, char *text) {
    ASSERT(span >= 0);
    if (span == 0 || span == NSEC_NEVER) {
        snprintf(text, UNITS_TEXT_BYTES, "%s", span == 0 ? "0s" : "never");
        return text;
    }
    text[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(duration_units); i++) {
        char spelled[UNITS_TEXT_BYTES];
        bool smallest = i + 1 == ARRAY_LEN(duration_units);
        if (span < duration_units[i].span && !smallest)
            continue;
        format_exactly(span, &duration_units[i], spelled);
        if (spelled[0] != '\0' && (text[0] == '\0' || strlen(spelled) < strlen(text)))
            memcpy(text, spelled, sizeof(spelled));
    }
    return text;
}

const char *units_format_size(uint64_t bytes, char *text) {
    static const char suffixes[] = { 'g', 'm', 'k' };
    for (unsigned i = 0; i < ARRAY_LEN(suffixes); i++) {
        unsigned shift = 30 - 10 * i;
        if (bytes == 0 || bytes % (UINT64_C(1) << shift) != 0)
            continue;
        snprintf(text, UNITS_TEXT_BYTES, "%llu%c", (unsigned long long)(bytes >> shift),
                 suffixes[i]);
        return text;
    }
    snprintf(text, UNITS_TEXT_BYTES, "%llu", (unsigned long long)bytes);
    return text;
}
