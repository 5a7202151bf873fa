/* SPDX-License-Identifier: MIT */
/* The two state machines over bytes, and the media types that they are for. */
#include "http/event_stream.h"

#define BYTE_ORDER_MARK "\xef\xbb\xbf"
#define DATA            "data"

/* The places within a line. Of JSON lines only the last four. */
enum place {
    PLACE_MARK,  /* the stream begins, maybe with a byte order mark */
    PLACE_NAME,  /* the line begins, maybe with a field's name */
    PLACE_SPACE, /* behind the colon of `data`; of JSON lines, before the first character */
    PLACE_VALUE, /* within data that is the end marker so far */
    PLACE_TAIL,  /* JSON lines: behind the end marker */
    PLACE_OTHER, /* within anything else: only the line's end matters */
};

void event_stream_init(struct event_stream *s, enum event_format format) {
    *s = (struct event_stream){ .format = (uint8_t)format };
    s->place = format == EVENT_FORMAT_SSE ? PLACE_MARK : PLACE_SPACE;
}

/* --- server-sent events ----------------------------------------------------------------------- */

static void begin_line(struct event_stream *s) {
    s->place = PLACE_NAME;
    s->known = 0;
}

/* Data of several lines is no end marker. */
static void begin_data(struct event_stream *s, enum place place) {
    s->is_end = !s->has_data;
    s->has_data = true;
    s->matched = 0;
    s->place = (uint8_t)place;
}

static void end_line(struct event_stream *s, struct slice end) {
    bool is_data = s->place == PLACE_SPACE || s->place == PLACE_VALUE;

    if (s->place == PLACE_NAME && s->known == strlen(DATA)) { /* a field without a colon is empty */
        begin_data(s, PLACE_VALUE);
        is_data = true;
    }
    if (is_data)
        s->is_end &= s->matched == end.len && end.len > 0;
    begin_line(s);
}

static bool is_empty(const struct event_stream *s) {
    return s->place == PLACE_NAME && s->known == 0;
}

/* The empty line. An event without data is none. */
static enum event_found dispatch(struct event_stream *s) {
    enum event_found found = !s->has_data ? EVENT_FOUND_NONE
                             : s->is_end  ? EVENT_FOUND_END
                                          : EVENT_FOUND_DATA;

    s->has_data = s->is_end = false;
    return found;
}

static void take_mark(struct event_stream *s, char c) {
    if (c == BYTE_ORDER_MARK[s->known])
        s->known++;
    else
        s->place = PLACE_OTHER; /* a name that begins like that is none that we know */
    if (s->known == strlen(BYTE_ORDER_MARK))
        begin_line(s);
}

static void take_name(struct event_stream *s, char c) {
    bool is_whole = s->known == strlen(DATA);

    if (c == ':' && is_whole)
        begin_data(s, PLACE_SPACE);
    else if (!is_whole && c == DATA[s->known])
        s->known++;
    else
        s->place = PLACE_OTHER;
}

static void take_value(struct event_stream *s, struct slice end, char c) {
    bool skips = s->place == PLACE_SPACE && c == ' ';

    s->place = PLACE_VALUE;
    if (skips)
        return;
    if (s->matched < end.len && c == end.ptr[s->matched]) {
        s->matched++;
        return;
    }
    s->is_end = false;
    s->place = PLACE_OTHER;
}

static void take_in_line(struct event_stream *s, struct slice end, char c) {
    if (s->place == PLACE_MARK && s->known == 0 && c != BYTE_ORDER_MARK[0])
        s->place = PLACE_NAME;
    switch ((enum place)s->place) {
    case PLACE_MARK:
        take_mark(s, c);
        break;
    case PLACE_NAME:
        take_name(s, c);
        break;
    case PLACE_SPACE:
    case PLACE_VALUE:
        take_value(s, end, c);
        break;
    case PLACE_TAIL:
    case PLACE_OTHER:
        break;
    }
}

/* Skips what does not matter: all but the end of the line. */
static size_t skip_line(struct slice piece, size_t at) {
    while (at < piece.len && piece.ptr[at] != '\n' && piece.ptr[at] != '\r')
        at++;
    return at;
}

static size_t next_event(struct event_stream *s, struct slice end, struct slice piece,
                         enum event_found *ret) {
    size_t at = 0;

    while (at < piece.len) {
        char c = piece.ptr[at++];
        bool skips = s->skips_lf && c == '\n';
        s->skips_lf = c == '\r';
        if (skips)
            continue;
        if (c != '\n' && c != '\r') {
            take_in_line(s, end, c);
            at = s->place == PLACE_OTHER ? skip_line(piece, at) : at;
            continue;
        }
        if (s->place == PLACE_MARK) /* an empty line, or a line that is no field */
            s->place = s->known == 0 ? PLACE_NAME : PLACE_OTHER;
        if (!is_empty(s))
            end_line(s, end);
        else if ((*ret = dispatch(s)) != EVENT_FOUND_NONE)
            return at;
    }
    return at;
}

/* --- JSON lines ------------------------------------------------------------------------------- */

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

/* The line is over; one of spaces alone is none. */
static enum event_found found_in_line(const struct event_stream *s, struct slice end) {
    bool is_whole = s->matched == end.len && end.len > 0;
    bool is_end = (s->place == PLACE_VALUE || s->place == PLACE_TAIL) && is_whole;

    if (s->place == PLACE_SPACE)
        return EVENT_FOUND_NONE;
    return is_end ? EVENT_FOUND_END : EVENT_FOUND_DATA;
}

static void take_json(struct event_stream *s, struct slice end, char c) {
    if (s->place == PLACE_SPACE && is_space(c))
        return;
    if (s->place != PLACE_TAIL && s->matched < end.len && c == end.ptr[s->matched]) {
        s->matched++;
        s->place = PLACE_VALUE;
    } else {
        bool is_behind = is_space(c) && s->matched == end.len && end.len > 0;
        s->place = is_behind ? PLACE_TAIL : PLACE_OTHER;
    }
}

static size_t next_line(struct event_stream *s, struct slice end, struct slice piece,
                        enum event_found *ret) {
    size_t at = 0;

    while (at < piece.len) {
        if (s->place == PLACE_OTHER)
            at += slice_find(slice_drop(piece, at), '\n');
        if (at == piece.len)
            return at;
        char c = piece.ptr[at++];
        if (c != '\n') {
            take_json(s, end, c);
            continue;
        }
        *ret = found_in_line(s, end);
        s->place = PLACE_SPACE;
        s->matched = 0;
        if (*ret != EVENT_FOUND_NONE)
            return at;
    }
    return at;
}

/* --- both ------------------------------------------------------------------------------------- */

size_t event_stream_next(struct event_stream *s, struct slice end, struct slice piece,
                         enum event_found *ret) {
    *ret = EVENT_FOUND_NONE;
    return s->format == EVENT_FORMAT_SSE ? next_event(s, end, piece, ret)
                                         : next_line(s, end, piece, ret);
}

enum event_found event_stream_finish(const struct event_stream *s, struct slice end) {
    struct event_stream rest = *s;

    if (s->format == EVENT_FORMAT_JSON_LINES)
        return found_in_line(s, end);
    if (!is_empty(&rest))
        end_line(&rest, end);
    return rest.has_data && rest.is_end ? EVENT_FOUND_END : EVENT_FOUND_NONE;
}

bool event_stream_is_cut(const struct event_stream *s) {
    if (s->format == EVENT_FORMAT_JSON_LINES)
        return s->place != PLACE_SPACE;
    return s->has_data || (s->place == PLACE_MARK ? s->known > 0 : !is_empty(s));
}

bool event_stream_format(struct slice content_type, enum event_format *ret) {
    static const struct {
        struct slice type;
        enum event_format format;
    } types[] = {
        { SLICE_INIT("text/event-stream"), EVENT_FORMAT_SSE },
        { SLICE_INIT("application/jsonl"), EVENT_FORMAT_JSON_LINES },
        { SLICE_INIT("application/x-jsonl"), EVENT_FORMAT_JSON_LINES },
        { SLICE_INIT("application/jsonlines"), EVENT_FORMAT_JSON_LINES },
        { SLICE_INIT("application/json-lines"), EVENT_FORMAT_JSON_LINES },
        { SLICE_INIT("application/x-jsonlines"), EVENT_FORMAT_JSON_LINES },
        { SLICE_INIT("application/ndjson"), EVENT_FORMAT_JSON_LINES },
        { SLICE_INIT("application/x-ndjson"), EVENT_FORMAT_JSON_LINES },
        { SLICE_INIT("application/x-json-stream"), EVENT_FORMAT_JSON_LINES },
        { SLICE_INIT("application/stream+json"), EVENT_FORMAT_JSON_LINES },
    };
    struct slice type = slice_trim(slice_cut(&content_type, ';'));

    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        *ret = types[i].format;
        if (slice_eq_nocase(type, types[i].type))
            return true;
    }
    return false;
}
