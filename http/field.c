/* SPDX-License-Identifier: MIT */
/* Walks the field lines that the head parser has validated. */
#include "http/head.h"

bool http_field_next(struct slice *rest, struct slice *ret_name, struct slice *ret_value) {
    if (rest->len == 0)
        return false;
    size_t colon = slice_find(*rest, ':');
    size_t lf = slice_find(*rest, '\n'), end = rest->ptr[lf - 1] == '\r' ? lf - 1 : lf;
    *ret_name = slice_take(*rest, colon);
    *ret_value = slice_trim(slice_of(rest->ptr + colon + 1, end - colon - 1));
    *rest = slice_drop(*rest, lf + 1);
    return true;
}

bool http_field_find(const struct http_head *head, struct slice name, struct slice *ret_value) {
    struct slice rest = head->fields, field_name, value;
    while (http_field_next(&rest, &field_name, &value)) {
        if (slice_eq_nocase(field_name, name)) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}
