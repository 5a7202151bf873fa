/* SPDX-License-Identifier: MIT */
/* Selects what a request gets of a representation: all of it, a part, or nothing, by its conditions
 * and its range (RFC 9110 sections 13 and 14). */
#ifndef HTTP_SELECT_H
#define HTTP_SELECT_H

#include "http/head.h"

struct http_state {
    struct slice etag; /* strong, with its quotes */
    int64_t modified;  /* Last-Modified in seconds since 1970; -1: none is sent */
    uint64_t size;     /* bytes */
};

/* 200; 206 with the bytes from *ret_from to before *ret_to; 304, 412 or 416. Of several ranges, and
 * of what is no range, nothing is selected: 200. */
uint16_t http_select(const struct http_head *head, const struct http_state *state,
                     uint64_t *ret_from, uint64_t *ret_to);

/* Seconds since 1970 of any of the three formats of RFC 9110 section 5.6.7; -1: it is none. */
int64_t http_date_parse(struct slice text);

#endif
