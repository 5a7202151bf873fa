/* SPDX-License-Identifier: MIT */
/* Any member of a report as tables, whatever is in it: what features add shows up by itself. */
#ifndef BENCH_PAGE_MEMBER_H
#define BENCH_PAGE_MEMBER_H

#include "bench/page_piece.h"

/* Whether there is anything to read: not null, empty, or nothing but zeros. */
bool page_has_words(json_t *value);

/* "started_s" becomes "started s". Returns `text`. */
const char *page_key_words(const char *key, char text[static PAGE_WORDS]);

/* A table of an object's plain members; all of a value, with tables for what is within it. */
void page_members(const struct load_page *p, const char *caption, json_t *object);
void page_member(const struct load_page *p, const char *caption, json_t *value);

#endif
