/* SPDX-License-Identifier: MIT */
/* Plays a connection against itself: every byte in, every event written down. */
#include "tests/unit/http/drive.h"
#include "base/assert.h"
#include <stdio.h>

/* As they are written down: " +fold" */
static const char *const leniences[HTTP_LENIENCE_COUNT] = {
    [HTTP_LENIENCE_FOLD] = " +fold",           [HTTP_LENIENCE_BARE_LF] = " +lf",
    [HTTP_LENIENCE_CHUNK_BLANKS] = " +blanks", [HTTP_LENIENCE_LENGTH_REPEATED] = " +lengths",
    [HTTP_LENIENCE_TRAILER] = " +trailer",     [HTTP_LENIENCE_LARGE] = " +large",
};

static void drive_add(struct drive *d, struct slice s) {
    s = slice_take(s, sizeof(d->text) - 1 - d->len);
    if (s.len > 0)
        memcpy(d->text + d->len, s.ptr, s.len);
    d->len += s.len;
    d->text[d->len] = '\0';
}

static void drive_inside(struct slice part, struct slice whole) {
    if (part.len > 0)
        ASSERT(part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len);
}

/* "<GET /x host=a length=3>" or "<200 OK chunked>" */
static void drive_head(struct drive *d, const struct http_head *h, struct slice input) {
    static const char *const framings[] = { "", " length=", " chunked", " close-framed" };
    char number[24] = "";
    struct slice parts[] = { h->method_text, h->target, h->reason, h->host, h->fields };
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        drive_inside(parts[i], input);
    if (h->framing == HTTP_FRAMING_LENGTH)
        snprintf(number, sizeof(number), "%llu", (unsigned long long)h->content_length);
    drive_add(d, SLICE("<"));
    if (d->role == HTTP_SERVER) {
        drive_add(d, h->method_text);
        drive_add(d, SLICE(" "));
        drive_add(d, h->target);
        drive_add(d, h->host.len > 0 ? SLICE(" host=") : SLICE(""));
        drive_add(d, h->host);
    } else {
        char status[8];
        snprintf(status, sizeof(status), "%d ", h->status);
        drive_add(d, slice_str(status));
        drive_add(d, h->reason);
    }
    drive_add(d, slice_str(framings[h->framing]));
    drive_add(d, slice_str(number));
    drive_add(d, SLICE(">"));
}

static bool drive_answer(struct drive *d, struct http_conn *c) {
    struct http_response_head head = { .status = 200, .has_content_length = true };
    bool sends_body;
    struct buf out;
    buf_init(&out, 4096);
    ASSERT(http_conn_answer(c, &out, &head, &sends_body) == 0);
    drive_add(d, head.close ? SLICE(" answer:close") : SLICE(" answer"));
    buf_free(&out);
    return http_conn_next(c);
}

/* The next request of a client, if there is one. */
static void drive_send(struct drive *d, struct http_conn *c) {
    if (d->sent == d->methods.len)
        return;
    http_conn_sent(c, (enum http_method)d->methods.ptr[d->sent++], false);
}

static bool drive_end(struct drive *d, struct http_conn *c) {
    drive_add(d, SLICE(" end"));
    if (d->role == HTTP_SERVER)
        return drive_answer(d, c);
    for (unsigned i = 0; i < HTTP_LENIENCE_COUNT; i++)
        if (http_conn_noted(c) >> i & 1)
            drive_add(d, slice_str(leniences[i]));
    bool is_reusable = http_conn_next(c);
    drive_add(d, is_reusable ? SLICE(" reuse") : SLICE(" close"));
    if (is_reusable)
        drive_send(d, c);
    return is_reusable;
}

/* Writes the event down; false when it was the last one. */
static bool drive_event(struct drive *d, struct http_conn *c, struct slice input,
                        const struct http_head *head, const struct http_event *ev) {
    switch (ev->kind) {
    case HTTP_EV_MORE:
        return true;
    case HTTP_EV_INTERIM:
        drive_add(d, SLICE("<interim>"));
        return true;
    case HTTP_EV_HEAD:
        drive_head(d, head, input);
        return true;
    case HTTP_EV_DATA:
        ASSERT(ev->data.len > 0);
        drive_inside(ev->data, input);
        drive_add(d, ev->data);
        return true;
    case HTTP_EV_END:
        return drive_end(d, c);
    case HTTP_EV_CLOSED:
        drive_add(d, SLICE(" closed"));
        return false;
    case HTTP_EV_BAD:
        break;
    }
    ASSERT(ev->why != NULL);
    d->why = ev->why;
    drive_add(d, SLICE(" bad: "));
    drive_add(d, slice_str(ev->why));
    return false;
}

static size_t drive_step(const struct drive *d, size_t turn, size_t left) {
    size_t step = d->steps.len > 0 ? (size_t)(uint8_t)d->steps.ptr[turn % d->steps.len] + 1 : left;
    return step < left ? step : left;
}

void drive_run(struct drive *d, struct slice input) {
    struct http_conn c;
    struct http_head head;
    struct http_event ev = { .kind = HTTP_EV_MORE };
    size_t consumed = 0, arrived = 0, turn = 0;
    bool eof = false;
    d->why = NULL;
    d->len = d->sent = 0;
    d->text[0] = '\0';
    http_conn_init(&c, d->role, d->limits);
    if (d->role == HTTP_CLIENT)
        drive_send(d, &c);
    do {
        struct slice unread = slice_of(input.ptr + consumed, arrived - consumed);
        if (d->place != NULL)
            unread = d->place(d->place_arg, unread);
        ASSERT(d->limits->usual == NULL || d->place != NULL);
        size_t used = http_conn_feed(&c, unread, eof, &head, &ev);
        ASSERT(used <= unread.len);
        consumed += used;
        if (!drive_event(d, &c, unread, &head, &ev))
            return;
        if (ev.kind == HTTP_EV_MORE) {
            ASSERT(!eof);
            eof = arrived == input.len;
            arrived += drive_step(d, turn++, input.len - arrived);
            eof = eof || (d->eof_at_once && arrived == input.len);
        }
    } while (true);
}
