/* SPDX-License-Identifier: MIT */
/* Durations, sizes, numbers and shares as people write them; the first two both ways. */
#ifndef BASE_UNITS_H
#define BASE_UNITS_H

#include "base/clock.h"
#include "base/slice.h"

/* Decimal number with an optional unit us, ms, s, m or h; a bare number is seconds: `250ms`,
 * `1.5s`, `2`. Refuses signs, nan, inf, exponents and junk. 0; or -EINVAL (not a duration), -ERANGE
 * (over 10 years). */
NODISCARD int units_parse_duration(struct slice text, nsec_t *ret);

/* The `delay` parameter of DESIGN section 4: a decimal number of seconds, empty means 1 s, 0 is
 * allowed. On failure `*ret_why` is a static text that says what was wrong with it ("is negative",
 * "is not a number", ...). */
NODISCARD int units_parse_seconds(struct slice text, nsec_t *ret, const char **ret_why);

/* Whole number with an optional k, m or g (powers of 1024, case-blind): `64k`. 0, -EINVAL, -ERANGE.
 */
NODISCARD int units_parse_size(struct slice text, uint64_t *ret_bytes);

/* A decimal number without sign or exponent: 0 or -EINVAL. */
NODISCARD int units_parse_number(struct slice text, double *ret);

/* 0 to 100, with or without `%`, as a share (0..1). 0 or -EINVAL. */
NODISCARD int units_parse_percent(struct slice text, double *ret_share);

#define UNITS_TEXT_BYTES 32

/* The shortest exact spelling that the parser takes back and that does not start with "0." (below a
 * microsecond it has to): "250ms", "1.5s", "90s", "2h", "64k". NSEC_NEVER is "never". `span` is not
 * negative. `text` has UNITS_TEXT_BYTES and is returned. */
const char *units_format_duration(nsec_t span, char *text);
const char *units_format_size(uint64_t bytes, char *text);

#endif
