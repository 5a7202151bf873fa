/* SPDX-License-Identifier: MIT */
/* Spells values of JSON, and puts objects and lists of objects into tables. */
#include "bench/page_member.h"
#include "base/html.h"
#include <string.h>

enum { DEPTH_MAX = 3 }; /* tables within tables */

const char *page_key_words(const char *key, char text[static PAGE_WORDS]) {
    snprintf(text, PAGE_WORDS, "%s", key);
    for (char *c = text; *c != '\0'; c++)
        *c = *c == '_' ? ' ' : *c;
    return text;
}

/* A distribution in a cell. */
static void show_times(json_t *times, char text[static PAGE_WORDS]) {
    char p50[CHART_TEXT_BYTES], p99[CHART_TEXT_BYTES];
    double known = page_known(times);
    snprintf(text, PAGE_WORDS, "p50 %s, p99 %s",
             page_usec(page_number(times, "p50"), 0.5 > known, p50),
             page_usec(page_number(times, "p99"), 0.99 > known, p99));
}

static const char *show_scalar(json_t *value, char text[static PAGE_WORDS]) {
    char count[CHART_TEXT_BYTES];
    if (json_is_string(value))
        snprintf(text, PAGE_WORDS, "%s", json_string_value(value));
    else if (json_is_integer(value))
        snprintf(text, PAGE_WORDS, "%s", page_count(json_number_value(value), count));
    else if (json_is_real(value))
        snprintf(text, PAGE_WORDS, "%.6g", json_real_value(value));
    else if (json_is_boolean(value))
        snprintf(text, PAGE_WORDS, "%s", json_is_true(value) ? "yes" : "no");
    else if (json_is_object(value) && json_is_number(page_at(value, "p50")))
        show_times(value, text);
    else if (json_is_array(value) || json_is_object(value))
        snprintf(text, PAGE_WORDS, "%zu entries",
                 json_is_array(value) ? json_array_size(value) : json_object_size(value));
    else
        strcpy(text, "-");
    return text;
}

bool page_has_words(json_t *value) {
    const char *key;
    json_t *member;
    if (json_is_object(value)) {
        json_object_foreach(value, key, member) {
            if (page_has_words(member))
                return true;
        }
        return false;
    }
    if (json_is_array(value))
        return json_array_size(value) > 0;
    if (json_is_string(value))
        return json_string_value(value)[0] != '\0';
    return json_is_true(value) || json_number_value(value) != 0;
}

static bool is_nested(json_t *value) {
    return json_is_object(value) ||
           (json_is_array(value) && json_is_object(json_array_get(value, 0)));
}

static void put_rows(const struct load_page *p, const char *caption, json_t *list) {
    const char *key;
    json_t *member, *row;
    char text[PAGE_WORDS];
    size_t i;
    page_table(p, caption, "");
    page_put(p, "<thead><tr>");
    json_object_foreach(json_array_get(list, 0), key, member) {
        if (json_is_array(member))
            continue;
        page_put(p, "<th scope=\"col\">");
        html_text(p->out, page_key_words(key, text));
        page_put(p, "</th>");
    }
    page_put(p, "</tr></thead>\n<tbody>\n");
    json_array_foreach(list, i, row) {
        page_put(p, "<tr>");
        json_object_foreach(json_array_get(list, 0), key, member) {
            if (!json_is_array(member))
                page_cell(p, show_scalar(json_object_get(row, key), text));
        }
        page_put(p, "</tr>\n");
    }
    page_table_end(p);
}

void page_members(const struct load_page *p, const char *caption, json_t *object) {
    const char *key;
    json_t *member;
    char text[PAGE_WORDS];
    page_table(p, caption, "plain");
    page_put(p, "<tbody>\n");
    json_object_foreach(object, key, member) {
        if (is_nested(member) || json_is_null(member))
            continue;
        page_row_head(p, page_key_words(key, text));
        page_put(p, "<td class=\"words\">");
        html_text(p->out, show_scalar(member, text));
        page_put(p, "</td></tr>\n");
    }
    page_table_end(p);
}

static void put_value(const struct load_page *p, const char *caption, json_t *value, int depth) {
    const char *key;
    json_t *member;
    char text[PAGE_WORDS];
    if (json_is_array(value) && is_nested(value)) {
        put_rows(p, caption, value);
        return;
    }
    if (!json_is_object(value)) {
        page_put(p, "<p>");
        html_text(p->out, show_scalar(value, text));
        page_put(p, "</p>\n");
        return;
    }
    page_members(p, caption, value);
    json_object_foreach(value, key, member) {
        char within[PAGE_WORDS];
        if (!is_nested(member) || depth == DEPTH_MAX || !page_has_words(member))
            continue;
        snprintf(within, sizeof(within), "%.120s, %.120s", caption, page_key_words(key, text));
        put_value(p, within, member, depth + 1);
    }
}

void page_member(const struct load_page *p, const char *caption, json_t *value) {
    put_value(p, caption, value, 0);
}
