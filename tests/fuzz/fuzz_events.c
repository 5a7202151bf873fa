/* SPDX-License-Identifier: MIT */
/* Events in bodies: the same ones at the same bytes however the body arrives, and those that the
 * standard's words make of the whole of it. */
#include "http/event_stream.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>

#define EVENTS_MAX 512

static const struct slice end = SLICE_INIT("[DONE]");

struct outcome {
    size_t count;
    struct {
        size_t at; /* behind the byte that completes it */
        enum event_found found;
    } events[EVENTS_MAX];
    enum event_found last;
    bool is_cut;
};

static void add(struct outcome *o, size_t at, enum event_found found) {
    if (found == EVENT_FOUND_NONE || o->count == EVENTS_MAX)
        return;
    o->events[o->count].at = at;
    o->events[o->count++].found = found;
}

static void find(struct outcome *o, enum event_format format, struct slice input,
                 struct slice steps, bool at_once) {
    struct event_stream s;
    size_t at = 0;

    o->count = 0;
    event_stream_init(&s, format);
    for (size_t turn = 0; at < input.len; turn++) {
        struct slice piece = slice_drop(input, at);
        if (!at_once)
            piece = slice_take(piece, fuzz_step(steps, turn));
        while (piece.len > 0) {
            enum event_found found;
            size_t used = event_stream_next(&s, end, piece, &found);
            ASSERT(used > 0 && used <= piece.len);
            ASSERT(found != EVENT_FOUND_NONE || used == piece.len);
            piece = slice_drop(piece, used);
            at += used;
            add(o, at, found);
        }
    }
    o->last = event_stream_finish(&s, end);
    o->is_cut = event_stream_is_cut(&s);
}

/* --- the standard's words, over the whole body ------------------------------------------------ */

struct lines {
    struct slice whole;
    size_t at, ends_at; /* ends_at: behind the first byte of the line's end */
};

/* False: the rest is no whole line. */
static bool next_line(struct lines *l, struct slice *ret) {
    size_t from = l->at, to = from;

    while (to < l->whole.len && l->whole.ptr[to] != '\r' && l->whole.ptr[to] != '\n')
        to++;
    *ret = slice_of(l->whole.ptr + from, to - from);
    l->ends_at = to + 1;
    l->at = to + 1;
    if (to + 1 < l->whole.len && l->whole.ptr[to] == '\r' && l->whole.ptr[to + 1] == '\n')
        l->at++;
    return to < l->whole.len;
}

struct block {
    char *data;
    size_t len;
    bool any;
};

static void take_field(struct block *b, struct slice line) {
    struct slice value = line, name = slice_cut(&value, ':');

    if (!slice_eq(name, SLICE("data")))
        return;
    if (value.len > 0 && value.ptr[0] == ' ')
        value = slice_drop(value, 1);
    if (b->any)
        b->data[b->len++] = '\n';
    if (value.len > 0)
        memcpy(b->data + b->len, value.ptr, value.len);
    b->len += value.len;
    b->any = true;
}

static enum event_found dispatch(struct block *b) {
    enum event_found found = !b->any ? EVENT_FOUND_NONE : EVENT_FOUND_DATA;

    if (b->any && slice_eq(slice_of(b->data, b->len), end))
        found = EVENT_FOUND_END;
    b->any = false;
    b->len = 0;
    return found;
}

static void read_sse(struct outcome *o, struct slice input) {
    struct block block = { .data = malloc(input.len + 1) };
    struct lines lines = { .whole = input };
    struct slice line;

    ASSERT(block.data != NULL);
    o->count = 0;
    lines.at = slice_starts_with(input, SLICE("\xef\xbb\xbf")) ? 3 : 0;
    while (next_line(&lines, &line))
        if (line.len == 0)
            add(o, lines.ends_at, dispatch(&block));
        else
            take_field(&block, line);
    if (line.len > 0)
        take_field(&block, line);
    o->last = dispatch(&block) == EVENT_FOUND_END ? EVENT_FOUND_END : EVENT_FOUND_NONE;
    free(block.data);
}

static struct slice trimmed(struct slice line) {
    while (line.len > 0 && memchr(" \t\r", line.ptr[0], 3) != NULL)
        line = slice_drop(line, 1);
    while (line.len > 0 && memchr(" \t\r", line.ptr[line.len - 1], 3) != NULL)
        line.len--;
    return line;
}

static enum event_found of_line(struct slice line) {
    line = trimmed(line);
    return line.len == 0 ? EVENT_FOUND_NONE
                         : (slice_eq(line, end) ? EVENT_FOUND_END : EVENT_FOUND_DATA);
}

static void read_json_lines(struct outcome *o, struct slice input) {
    struct slice rest = input;

    o->count = 0;
    while (slice_find(rest, '\n') < rest.len) {
        struct slice line = slice_cut(&rest, '\n');
        add(o, (size_t)(line.ptr - input.ptr) + line.len + 1, of_line(line));
    }
    o->last = of_line(rest);
}

static void compare(const struct outcome *a, const struct outcome *b) {
    ASSERT(a->count == b->count && a->last == b->last);
    for (size_t i = 0; i < a->count; i++)
        ASSERT(a->events[i].at == b->events[i].at && a->events[i].found == b->events[i].found);
}

static void check(enum event_format format, struct slice input, struct slice steps) {
    static struct outcome wanted, whole, part; /* large for a stack */

    if (format == EVENT_FORMAT_SSE)
        read_sse(&wanted, input);
    else
        read_json_lines(&wanted, input);
    find(&whole, format, input, steps, true);
    compare(&whole, &wanted);
    for (int i = 0; i < 2; i++) {
        find(&part, format, input, i == 0 ? steps : SLICE(""), false);
        compare(&part, &whole);
        ASSERT(part.is_cut == whole.is_cut);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice input = slice_of((const char *)data, size);
    struct slice steps = fuzz_cut_steps(&input);

    check(EVENT_FORMAT_SSE, input, steps);
    check(EVENT_FORMAT_JSON_LINES, input, steps);
    return 0;
}
