/* SPDX-License-Identifier: MIT */
/* Converts the spelling of one option's value, checks its range and says what is allowed. */
#include "base/option_value.h"
#include "base/assert.h"
#include "base/units.h"
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>

static bool is_bounded(const struct option_row *row) {
    return row->min != 0 || row->max != 0;
}

static const char *format_bound(const struct option_row *row, int64_t bound, char *text) {
    if (row->type == OPTION_DURATION)
        return units_format_duration(bound, text);
    if (row->type == OPTION_SIZE)
        return units_format_size((uint64_t)bound, text);
    snprintf(text, UNITS_TEXT_BYTES, "%lld", (long long)bound);
    return text;
}

void option_range(const struct option_row *row, char *ret_text, size_t cap) {
    bool numeric = row->type == OPTION_INT || row->type == OPTION_COUNT ||
                   row->type == OPTION_DURATION || row->type == OPTION_SIZE;
    char min[UNITS_TEXT_BYTES], max[UNITS_TEXT_BYTES];
    ret_text[0] = '\0';
    if (!numeric || !is_bounded(row))
        return;
    if (row->max == INT64_MAX)
        snprintf(ret_text, cap, "at least %s", format_bound(row, row->min, min));
    else if (row->min == INT64_MIN)
        snprintf(ret_text, cap, "at most %s", format_bound(row, row->max, max));
    else
        snprintf(ret_text, cap, "%s to %s", format_bound(row, row->min, min),
                 format_bound(row, row->max, max));
}

PRINTF_LIKE(3, 4) static void append(char *text, size_t cap, const char *fmt, ...) {
    size_t len = strlen(text);
    va_list args;
    va_start(args, fmt);
    vsnprintf(text + len, cap - len, fmt, args);
    va_end(args);
}

void option_words(const struct option_row *row, const char *comma, const char *last, char *ret_text,
                  size_t cap) {
    ret_text[0] = '\0';
    for (size_t i = 0; row->choices[i] != NULL; i++) {
        const char *glue = i == 0 ? "" : row->choices[i + 1] == NULL ? last : comma;
        append(ret_text, cap, "%s%s", glue, row->choices[i]);
    }
}

static void set_allowed_number(const struct option_row *row, const char *what, const char *example,
                               struct error *ret_text) {
    char range[2 * UNITS_TEXT_BYTES + 16];
    option_range(row, range, sizeof(range));
    bool both = row->min != INT64_MIN && row->max != INT64_MAX;
    const char *glue = range[0] == '\0' ? "" : both ? " from " : " of ";
    error_set(ret_text, 0, "%s%s%s%s", what, glue, range, example);
}

void option_allowed(const struct option_row *row, struct error *ret_text) {
    char words[sizeof(ret_text->text)];
    ret_text->text[0] = '\0';
    switch (row->type) {
    case OPTION_FLAG:
        error_set(ret_text, 0, "yes or no (also true, false, on, off, 1, 0)");
        return;
    case OPTION_INT:
        set_allowed_number(row, "a whole number", "", ret_text);
        return;
    case OPTION_COUNT:
        set_allowed_number(row, "a whole number", ", such as 500, 10k or 2m", ret_text);
        return;
    case OPTION_DURATION:
        set_allowed_number(row, "a duration", ", such as 250ms, 1.5s or 2m", ret_text);
        return;
    case OPTION_SIZE:
        set_allowed_number(row, "a size in bytes", ", such as 512, 64k or 1m", ret_text);
        return;
    case OPTION_CHOICE:
        option_words(row, ", ", " or ", words, sizeof(words));
        error_set(ret_text, 0, "%s%s", row->choices[1] != NULL ? "one of " : "", words);
        return;
    case OPTION_STRING:
    case OPTION_STRINGS:
    case OPTION_CUSTOM:
        error_set(ret_text, 0, "%s", row->meta != NULL ? row->meta : "any text");
        return;
    }
}

/* Members are reached by offset, so bytes are copied: no cast, no alignment, no aliasing to trust.
 */
static void store_bytes(const struct option_row *row, void *config, const void *value,
                        size_t size_bytes) {
    memcpy((char *)config + row->offset, value, size_bytes);
}

static int store_flag(const struct option_row *row, void *config, const char *value) {
    static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0", "1" };
    if (value == NULL)
        value = "yes";
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!slice_eq_nocase(slice_str(value), slice_str(words[i])))
            continue;
        bool set = i % 2 == 1;
        store_bytes(row, config, &set, sizeof(set));
        return 0;
    }
    return -EINVAL;
}

static bool is_within(const struct option_row *row, int64_t value) {
    return !is_bounded(row) || (value >= row->min && value <= row->max);
}

static int store_int(const struct option_row *row, void *config, const char *value) {
    struct slice digits = slice_str(value);
    bool minus = slice_starts_with(digits, SLICE("-"));
    uint64_t magnitude = 0;
    uint64_t max = (uint64_t)INT64_MAX + minus;
    int rc = slice_parse_u64(slice_drop(digits, minus), max, &magnitude);
    if (rc < 0)
        return rc;
    int64_t number = (int64_t)(minus ? -magnitude : magnitude);
    if (!is_within(row, number))
        return -ERANGE;
    store_bytes(row, config, &number, sizeof(number));
    return 0;
}

static int store_count(const struct option_row *row, void *config, const char *value) {
    struct slice digits = slice_str(value);
    char unit = digits.len > 0 ? (char)(digits.ptr[digits.len - 1] | 0x20) : '\0';
    uint64_t factor = unit == 'k' ? 1000 : unit == 'm' ? 1000000 : 1, number = 0;
    digits.len -= factor > 1;
    int rc = slice_parse_u64(digits, INT64_MAX / factor, &number);
    if (rc < 0)
        return rc;
    int64_t count = (int64_t)(number * factor);
    if (!is_within(row, count))
        return -ERANGE;
    store_bytes(row, config, &count, sizeof(count));
    return 0;
}

static int store_duration(const struct option_row *row, void *config, const char *value) {
    nsec_t span = 0;
    int rc = units_parse_duration(slice_str(value), &span);
    if (rc < 0)
        return rc;
    if (!is_within(row, span))
        return -ERANGE;
    store_bytes(row, config, &span, sizeof(span));
    return 0;
}

static int store_size(const struct option_row *row, void *config, const char *value) {
    uint64_t bytes = 0;
    int rc = units_parse_size(slice_str(value), &bytes);
    if (rc < 0)
        return rc;
    if (is_bounded(row) && (bytes < (uint64_t)row->min || bytes > (uint64_t)row->max))
        return -ERANGE;
    store_bytes(row, config, &bytes, sizeof(bytes));
    return 0;
}

static int store_choice(const struct option_row *row, void *config, const char *value) {
    for (int i = 0; row->choices[i] != NULL; i++) {
        if (strcmp(row->choices[i], value) != 0)
            continue;
        store_bytes(row, config, &i, sizeof(i));
        return 0;
    }
    return -EINVAL;
}

static int append_string(const struct option_row *row, void *config, const char *value,
                         struct error *allowed) {
    struct option_strings *list = (void *)((char *)config + row->offset);
    if (list->count == OPTION_STRINGS_MAX)
        return error_set(allowed, -ERANGE, "it can be given %d times at most", OPTION_STRINGS_MAX);
    list->items[list->count++] = value;
    return 0;
}

static int store_any(const struct option_row *row, void *config, const char *value,
                     struct error *allowed) {
    ASSERT(value != NULL || row->type == OPTION_FLAG);
    switch (row->type) {
    case OPTION_FLAG:
        return store_flag(row, config, value);
    case OPTION_INT:
        return store_int(row, config, value);
    case OPTION_COUNT:
        return store_count(row, config, value);
    case OPTION_DURATION:
        return store_duration(row, config, value);
    case OPTION_SIZE:
        return store_size(row, config, value);
    case OPTION_CHOICE:
        return store_choice(row, config, value);
    case OPTION_STRINGS:
        return append_string(row, config, value, allowed);
    case OPTION_STRING:
        store_bytes(row, config, &value, sizeof(value));
        return 0;
    case OPTION_CUSTOM:
        return row->parse(config, value, allowed);
    }
    return -EINVAL;
}

int option_store(const struct option_row *row, void *config, const char *value,
                 struct error *allowed) {
    option_allowed(row, allowed);
    return store_any(row, config, value, allowed) < 0 ? -EINVAL : 0;
}
