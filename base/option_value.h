/* SPDX-License-Identifier: MIT */
/* Inside base/option: one value, from its spelling into the member of the config struct. */
#ifndef BASE_OPTION_VALUE_H
#define BASE_OPTION_VALUE_H

#include "base/option.h"

/* Stores `value` (NULL: the bare flag) at the row's offset. 0, or -EINVAL with what is allowed in
 * `allowed` and the member unchanged. */
NODISCARD int option_store(const struct option_row *row, void *config, const char *value,
                           struct error *allowed);

/* What the row takes, as errors say it: "a whole number from 1 to 1000". */
void option_allowed(const struct option_row *row, struct error *ret_text);

/* Its range alone: "1 to 1000", "at least 1s", or "" when there is none. */
void option_range(const struct option_row *row, char *ret_text, size_t cap);

/* The words of OPTION_CHOICE with `comma` between them and `last` before the last one. */
void option_words(const struct option_row *row, const char *comma, const char *last, char *ret_text,
                  size_t cap);

#endif
