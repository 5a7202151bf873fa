/* SPDX-License-Identifier: MIT */
/* Conditions in the order of RFC 9110 section 13.2.2, then the range. */
#include "http/select.h"
#include <string.h>
#include <time.h>

/* --- dates --------------------------------------------------------------- */

int64_t http_date_parse(struct slice text) {
    static const char *const formats[] = { "%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                           "%a %b %e %H:%M:%S %Y" };
    char copy[64] = "";

    if (text.len >= sizeof(copy))
        return -1;
    memcpy(copy, text.ptr, text.len);
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        struct tm parts = { 0 };
        const char *end = strptime(copy, formats[i], &parts);

        if (end != NULL && *end == '\0')
            return timegm(&parts);
    }
    return -1;
}

/* --- conditions ---------------------------------------------------------- */

static bool lists_etag(struct slice list, struct slice etag, bool weakly) {
    if (slice_eq(slice_trim(list), SLICE("*")))
        return true;
    while (list.len > 0) {
        struct slice item = slice_trim(slice_cut(&list, ','));
        if (weakly && slice_starts_with(item, SLICE("W/")))
            item = slice_drop(item, strlen("W/"));
        if (slice_eq(item, etag))
            return true;
    }
    return false;
}

/* Whether any line of that name has it; *ret_given: there is one. */
static bool has_etag(const struct http_head *head, struct slice field, struct slice etag,
                     bool weakly, bool *ret_given) {
    struct slice rest = head->fields, name, value;
    bool has = false;

    *ret_given = false;
    while (http_field_next(&rest, &name, &value)) {
        if (!slice_eq_nocase(name, field))
            continue;
        *ret_given = true;
        has = has || lists_etag(value, etag, weakly);
    }
    return has;
}

/* Whether the state has changed after the date of that field; without one, and without a date of
 * the state: `otherwise`. */
static bool is_newer(const struct http_head *head, struct slice field,
                     const struct http_state *state, bool otherwise) {
    struct slice value;
    int64_t date = -1;

    if (state->modified >= 0 && http_field_find(head, field, &value))
        date = http_date_parse(value);
    return date >= 0 ? state->modified > date : otherwise;
}

/* 0: the request is to be answered. */
static uint16_t check_conditions(const struct http_head *head, const struct http_state *state) {
    bool reads = head->method == HTTP_METHOD_GET || head->method == HTTP_METHOD_HEAD;
    bool has, is_given;

    has = has_etag(head, SLICE("If-Match"), state->etag, false, &is_given);
    if (is_given ? !has : is_newer(head, SLICE("If-Unmodified-Since"), state, false))
        return 412;
    has = has_etag(head, SLICE("If-None-Match"), state->etag, true, &is_given);
    if (has)
        return reads ? 304 : 412;
    if (!is_given && reads && !is_newer(head, SLICE("If-Modified-Since"), state, true))
        return 304;
    return 0;
}

/* --- the range ----------------------------------------------------------- */

/* `bytes=A-B`, `bytes=A-` or `bytes=-N` (RFC 9110 section 14.1.2). Any other is none: 200. */
static uint16_t cut_range(struct slice value, uint64_t size, uint64_t *ret_from, uint64_t *ret_to) {
    uint64_t from = 0, to = 0;
    struct slice rest = value, unit = slice_cut(&rest, '='), low = slice_cut(&rest, '-');
    bool has_from = slice_parse_u64(low, UINT64_MAX, &from) == 0;
    bool has_to = slice_parse_u64(rest, UINT64_MAX - 1, &to) == 0;

    if (!slice_eq_nocase(unit, SLICE("bytes")) || (!has_from && low.len > 0) ||
        (!has_to && rest.len > 0) || (!has_from && !has_to) || (has_from && has_to && to < from))
        return 200;
    if (has_from ? from >= size : to == 0 || size == 0)
        return 416;
    *ret_from = has_from ? from : to < size ? size - to : 0;
    *ret_to = has_from && has_to && to < size ? to + 1 : size;
    return 206;
}

/* Whether If-Range, if there is one, names this very state. */
static bool is_same(const struct http_head *head, const struct http_state *state) {
    struct slice named;

    if (!http_field_find(head, SLICE("If-Range"), &named))
        return true;
    return slice_eq(named, state->etag) ||
           (state->modified >= 0 && http_date_parse(named) == state->modified);
}

uint16_t http_select(const struct http_head *head, const struct http_state *state,
                     uint64_t *ret_from, uint64_t *ret_to) {
    uint16_t status = check_conditions(head, state);
    struct slice range;

    if (status != 0)
        return status;
    if (head->method != HTTP_METHOD_GET || !http_field_find(head, SLICE("Range"), &range) ||
        !is_same(head, state))
        return 200; /* section 14.2: a Range counts for GET only */
    return cut_range(range, state->size, ret_from, ret_to);
}
