/* SPDX-License-Identifier: MIT */
/* Counts events and the times between them. */
#include "loadgen/streams.h"
#include "base/alloc.h"
#include "http/coding.h"

static struct hist **hists_of(struct streams *all, size_t i) {
    struct hist **const list[] = { &all->first,    &all->first_ages, &all->gaps,
                                   &all->gap_ages, &all->counts,     &all->rates };
    return i < ARRAY_LEN(list) ? list[i] : NULL;
}

struct streams *streams_new(const struct stream_wishes *wishes) {
    struct streams *all = mem_calloc(1, sizeof(*all));
    struct hist **hist;
    if (all == NULL)
        return NULL;
    all->wishes = *wishes;
    for (size_t i = 0; (hist = hists_of(all, i)) != NULL; i++) {
        *hist = hist_new();
        if (*hist != NULL)
            continue;
        streams_free(all);
        return NULL;
    }
    return all;
}

void streams_free(struct streams *all) {
    struct hist **hist;
    for (size_t i = 0; all != NULL && (hist = hists_of(all, i)) != NULL; i++)
        hist_free(*hist);
    if (all != NULL)
        mem_free(all->words);
    mem_free(all);
}

void streams_reset(struct streams *all) {
    struct streams fresh = { .wishes = all->wishes, .words = all->words };
    struct hist **hist;
    for (size_t i = 0; (hist = hists_of(all, i)) != NULL; i++) {
        hist_reset(*hist);
        *hists_of(&fresh, i) = *hist;
    }
    *all = fresh;
}

void streams_merge(struct streams *to, const struct streams *from) {
    struct streams copy = *from;
    struct hist **hist;
    to->begun += from->begun;
    to->complete += from->complete;
    to->with_end += from->with_end;
    to->cut += from->cut;
    to->broken += from->broken;
    to->in_flight += from->in_flight;
    to->others += from->others;
    to->events += from->events;
    to->bytes += from->bytes;
    to->crowded += from->crowded;
    to->unseen += from->unseen;
    to->stalls += from->stalls;
    to->stalled += from->stalled;
    for (size_t i = 0; (hist = hists_of(to, i)) != NULL; i++)
        hist_merge(*hist, *hists_of(&copy, i));
}

/* --- one stream ------------------------------------------------------------------------------- */

static int64_t usec_between(nsec_t from, nsec_t to) {
    return (to - from + NSEC_PER_USEC / 2) / NSEC_PER_USEC;
}

/* A body that stays coded shows no events. */
static bool is_coded(const struct stream_wishes *wishes, const struct http_head *head) {
    enum http_coding coding = HTTP_CODING_IDENTITY;
    struct slice value;
    if (!http_field_find(head, SLICE("Content-Encoding"), &value))
        return false;
    bool is_known = http_coding_find(slice_trim(value), &coding);
    return !is_known || (coding != HTTP_CODING_IDENTITY && !wishes->decodes);
}

static bool is_stream(const struct stream_wishes *wishes, const struct http_head *head,
                      enum event_format *ret) {
    struct slice type;
    *ret = wishes->format;
    if (head->status < 200 || head->status > 299 || is_coded(wishes, head))
        return false;
    if (!wishes->is_auto)
        return true;
    return http_field_find(head, SLICE("Content-Type"), &type) && event_stream_format(type, ret);
}

void streams_begin(struct streams *all, struct stream *s, const struct http_head *head,
                   nsec_t planned, bool counts) {
    enum event_format format;
    bool opens = is_stream(&all->wishes, head, &format);
    *s = (struct stream){ .planned = planned, .turn_at = s->turn_at, .is_open = opens && counts };
    event_stream_init(&s->parser, format);
    if (counts && opens)
        all->begun++;
    else if (counts)
        all->others++;
}

static void count_stall(struct streams *all, struct stream *s, nsec_t gap) {
    if (gap <= all->wishes.stall)
        return;
    all->stalls++;
    all->stalled += !s->has_stalled;
    s->has_stalled = true;
}

static void take_event(struct streams *all, struct stream *s) {
    nsec_t at = s->turn_at;
    all->events++;
    s->has_end = false;
    if (s->events++ == 0) {
        s->first_at = at;
        hist_record(all->first, usec_between(s->planned, at));
    } else if (at == s->last_at) {
        all->unseen++;
        all->crowded += !s->is_crowded;
        s->is_crowded = true;
    } else {
        hist_record(all->gaps, usec_between(s->last_at, at));
        count_stall(all, s, at - s->last_at);
    }
    s->last_at = at;
}

static void take_found(struct streams *all, struct stream *s, enum event_found found) {
    if (found == EVENT_FOUND_END)
        s->has_end = true;
    else if (found == EVENT_FOUND_DATA)
        take_event(all, s);
}

void streams_take(struct streams *all, struct stream *s, struct slice piece, nsec_t now) {
    if (!s->is_open)
        return;
    if (s->turn_at == 0) {
        s->turn_at = now;
        s->is_crowded = false;
    }
    all->bytes += piece.len;
    while (piece.len > 0) {
        enum event_found found;
        piece = slice_drop(piece, event_stream_next(&s->parser, all->wishes.end, piece, &found));
        take_found(all, s, found);
    }
}

bool streams_end(struct streams *all, struct stream *s, nsec_t now) {
    if (!s->is_open)
        return true;
    enum event_found last = event_stream_finish(&s->parser, all->wishes.end);
    if (s->turn_at == 0) /* the end alone has come */
        s->turn_at = now;
    take_found(all, s, last);
    s->is_open = false;
    all->complete++;
    all->with_end += s->has_end;
    all->cut += last == EVENT_FOUND_NONE && event_stream_is_cut(&s->parser);
    hist_record(all->counts, (int64_t)s->events);
    if (s->events > 1 && s->last_at > s->first_at) {
        double seconds = (double)(s->last_at - s->first_at) / (double)NSEC_PER_SEC;
        hist_record(all->rates, (int64_t)((double)(s->events - 1) * 1000 / seconds + 0.5));
    }
    return s->has_end || !all->wishes.needs_end;
}

void streams_break(struct streams *all, struct stream *s, nsec_t planned, bool waits,
                   bool in_flight, nsec_t now) {
    bool has_any = s->is_open && s->events > 0;
    if (s->is_open && in_flight)
        all->in_flight++;
    else if (s->is_open)
        all->broken++;
    if (waits && has_any) {
        hist_record(all->gap_ages, usec_between(s->last_at, now));
        count_stall(all, s, now - s->last_at);
    } else if (waits) {
        hist_record(all->first_ages, usec_between(planned, now));
    }
    s->is_open = false;
}

void streams_miss(struct streams *all, nsec_t planned, nsec_t now) {
    hist_record(all->first_ages, usec_between(planned, now));
}
