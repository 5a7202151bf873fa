/* SPDX-License-Identifier: MIT */
/* Finds the events in a body that comes in pieces: server-sent events (the HTML standard, section
 * 9.2.6) and JSON lines (jsonlines.org). Nothing is kept but a few bytes, however long a line is.
 *
 *   event_stream_init(&s, EVENT_FORMAT_SSE)
 *   while (piece.len > 0)
 *       piece = slice_drop(piece, event_stream_next(&s, end, piece, &found))
 *   event_stream_finish(&s, end)          when the body is over
 *
 * An event is there when its end is: the empty line behind it, or the line feed. A CR ends a line
 * at once, and an LF right behind it belongs to it. */
#ifndef HTTP_EVENT_STREAM_H
#define HTTP_EVENT_STREAM_H

#include "base/slice.h"

#define EVENT_END_BYTES_MAX 255

enum event_format {
    EVENT_FORMAT_SSE,
    EVENT_FORMAT_JSON_LINES,
};

enum event_found {
    EVENT_FOUND_NONE, /* the piece ends before an event does */
    EVENT_FOUND_DATA,
    EVENT_FOUND_END, /* an event whose data is the end marker */
};

struct event_stream {
    uint8_t format;  /* enum event_format */
    uint8_t place;   /* within a line; event_stream.c has the list */
    uint8_t known;   /* bytes of the byte order mark, or of the field's name, that are there */
    uint8_t matched; /* bytes of the end marker that the data begins with */
    bool skips_lf;   /* a CR ended the line before */
    bool has_data;   /* SSE: the event has a field `data` */
    bool is_end;     /* SSE: its data is the end marker so far */
};

void event_stream_init(struct event_stream *s, enum event_format format);

/* Takes bytes of `piece` up to the end of the next event, or all of them. `end` is the marker that
 * says that a stream is complete, up to EVENT_END_BYTES_MAX bytes without line ends; empty: none.
 * Returns how many bytes were taken. */
size_t event_stream_next(struct event_stream *s, struct slice end, struct slice piece,
                         enum event_found *ret);

/* Takes the end of the body: a last JSON line needs no line feed, and an end marker no empty line.
 * Any other event that is not complete is none, as the standard has it. */
enum event_found event_stream_finish(const struct event_stream *s, struct slice end);

/* Whether the body ends here within a line or an event. */
bool event_stream_is_cut(const struct event_stream *s);

/* Finds the format that a media type names. False: it is that of no stream. */
bool event_stream_format(struct slice content_type, enum event_format *ret);

#endif
