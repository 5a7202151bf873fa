/* SPDX-License-Identifier: MIT */
/* Makes contents: texts, files, letters, patterns, events; and cuts them into pieces. */
#include "slowapi/content.h"
#include "base/rng.h"
#include "slowapi/chat.h"
#include "slowapi/limits.h"
#include <errno.h>
#include <unistd.h>

#define WORD_BYTES sizeof(uint64_t)
#define ALPHABET   "abcdefghijklmnopqrstuvwxyz"

/* Any word can be had without those before it: the state of SplitMix64 is a counter. */
static uint64_t random_word(uint64_t seed, uint64_t index) {
    struct rng rng = { .state = seed + index * RNG_STEP };

    return rng_next(&rng);
}

/* Bytes of the words, the lowest first, from byte `from` on; letters when `is_text`. */
static void fill_random(char *out, uint64_t seed, uint64_t from, size_t count, bool is_text) {
    uint64_t word = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t at = from + i;
        if (i == 0 || at % WORD_BYTES == 0)
            word = random_word(seed, at / WORD_BYTES) >> at % WORD_BYTES * 8;
        out[i] = is_text ? (char)('a' + (word & 0xff) % 26) : (char)word;
        word >>= 8;
    }
}

/* Copies the bytes that are there: twice as much each time. */
static void fill_pattern(char *out, uint64_t from, size_t count) {
    size_t made = 0, phase = from % strlen(ALPHABET);

    for (; made < count && made < strlen(ALPHABET); made++)
        out[made] = ALPHABET[(phase + made) % strlen(ALPHABET)];
    while (made < count) {
        size_t more = made < count - made ? made : count - made;
        memcpy(out + made, out, more);
        made += more;
    }
}

static void fill(const struct body *body, uint64_t from, size_t count, char *out) {
    switch ((enum body_kind)body->kind) {
    case BODY_TEXT:
        if (count > 0)
            memcpy(out, body->text.ptr + from, count);
        return;
    case BODY_LETTERS:
    case BODY_BYTES:
        fill_random(out, body->seed, from, count, body->kind == BODY_LETTERS);
        return;
    case BODY_PATTERN:
        fill_pattern(out, body->offset + from, count);
        return;
    case BODY_FILE:
    case BODY_SOURCE:
    case BODY_STARS:
    case BODY_LINES:
    case BODY_JSONL:
    case BODY_SSE:
    case BODY_CHAT:
        break;
    }
    memset(out, '*', count);
}

static int append_event(const struct body *body, uint64_t index, struct buf *out) {
    unsigned long long id = index;
    long long now = clock_wall() / NSEC_PER_MSEC;

    if (body->kind == BODY_CHAT)
        return chat_append_token(body->chat, index, out);
    if (body->kind == BODY_LINES && body->text.len == 0)
        return buf_printf(out, "{\"id\": %llu}\n", id);
    if (body->kind == BODY_LINES) /* an object, whose members follow ours */
        return buf_printf(out, "{\"id\": %llu, %.*s\n", id, (int)body->text.len - 1,
                          body->text.ptr + 1);
    if (body->kind == BODY_JSONL)
        return buf_printf(out, "{\"id\":%llu,\"timestamp\":%lld}\n", id, now);
    return buf_printf(out, "event: ping\ndata: {\"id\":%llu,\"timestamp\":%lld}\n\n", id, now);
}

/* The rest of a file that was cut meanwhile was promised already. */
static int64_t append_file(const struct body *body, uint64_t from, uint64_t count,
                           struct buf *out) {
    ssize_t n;

    do
        n = pread(body->file, buf_tail(out), count, (off_t)(body->offset + from));
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return -EIO;
    buf_added(out, (size_t)n);
    return n;
}

int64_t content_append(const struct body *body, uint64_t from, uint64_t count, struct buf *out) {
    if (content_is_events(body)) {
        int rc = append_event(body, from, out);
        return rc < 0 ? rc : 1;
    }

    if (count > SLOWAPI_PIECE_BYTES)
        count = SLOWAPI_PIECE_BYTES;
    if (body->kind == BODY_SOURCE)
        return body->source->pull(body->source, out, count);
    int rc = buf_reserve(out, count);
    if (rc < 0)
        return rc;
    if (body->kind == BODY_FILE && count > 0)
        return append_file(body, from, count, out);
    fill(body, from, count, buf_tail(out));
    buf_added(out, count);
    return (int64_t)count;
}

static uint64_t joined(uint64_t units, nsec_t span) {
    uint64_t pauses = units > 1 ? units - 1 : 1;

    if (span == 0)
        return SLOWAPI_PIECE_BYTES;
    if (span / (nsec_t)pauses >= NSEC_PER_MSEC)
        return 1;
    return pauses * (uint64_t)NSEC_PER_MSEC / (uint64_t)span + 1;
}

void content_spread(struct body *body, uint64_t piece_max) {
    bool is_events = content_is_events(body);

    if (body->piece == 0)
        body->piece = is_events ? 1 : joined(body->units, body->span);
    if (body->piece > piece_max)
        body->piece = piece_max;
    uint64_t pieces = (body->units + body->piece - 1) / body->piece;
    if (pieces > 1)
        body->interval = nsec_max(body->interval, body->span / (nsec_t)(pieces - 1));
    if (!is_events)
        body->lead = pieces == 1 ? body->span : 0;
}
