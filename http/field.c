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

static bool is_host(struct slice name) {
    return slice_eq_nocase(name, SLICE("host"));
}

/* `host` of a head that could not be parsed to its end may be empty. */
static bool overrides_host(const struct http_head *head) {
    return head->target.len > 0 && head->target.ptr[0] != '/' && head->host.len > 0;
}

static bool find_line(const struct http_head *head, struct slice name, struct slice *ret_value) {
    struct slice rest = head->fields, field_name;
    while (http_field_next(&rest, &field_name, ret_value))
        if (slice_eq_nocase(field_name, name))
            return true;
    return false;
}

bool http_field_walk(const struct http_head *head, struct http_cursor *at, struct slice *ret_name,
                     struct slice *ret_value) {
    bool first = !at->started;
    struct slice line;
    if (first)
        *at = (struct http_cursor){ .rest = head->fields, .started = true };
    if (first && overrides_host(head) && !find_line(head, SLICE("host"), &line)) {
        *ret_name = SLICE("Host");
        *ret_value = head->host;
        return true;
    }
    if (!http_field_next(&at->rest, ret_name, ret_value))
        return false;
    if (UNLIKELY(overrides_host(head)) && is_host(*ret_name))
        *ret_value = head->host;
    return true;
}

bool http_field_find(const struct http_head *head, struct slice name, struct slice *ret_value) {
    struct slice value;
    if (UNLIKELY(overrides_host(head)) && is_host(name)) {
        *ret_value = head->host;
        return true;
    }
    if (!find_line(head, name, &value))
        return false;
    *ret_value = value;
    return true;
}
