/* SPDX-License-Identifier: MIT */
/* Makes the pieces of bodies. */
#include "slowapi/body.h"
#include "slowapi/limits.h"
#include "slowapi/rng.h"

/* Any byte can be had without those before it: the state of SplitMix64 is a counter. */
static uint8_t random_byte(uint64_t seed, uint64_t index) {
    struct rng rng = { .state = seed + index / 8 * UINT64_C(0x9e3779b97f4a7c15) };

    return (uint8_t)(rng_next(&rng) >> index % 8 * 8);
}

static char byte_at(const struct body *body, uint64_t index) {
    switch ((enum body_kind)body->kind) {
    case BODY_TEXT:
        return body->text.ptr[index];
    case BODY_LETTERS:
        return (char)('a' + random_byte(body->seed, index) % 26);
    case BODY_BYTES:
        return (char)random_byte(body->seed, index);
    case BODY_PATTERN:
        return (char)('a' + (body->offset + index) % 26);
    case BODY_STARS:
    case BODY_LINES:
    case BODY_JSONL:
    case BODY_SSE:
        break;
    }
    return '*';
}

static int append_event(const struct body *body, uint64_t index, struct buf *out) {
    unsigned long long id = index;
    long long now = clock_wall() / NSEC_PER_MSEC;

    if (body->kind == BODY_LINES)
        return buf_printf(out, "{\"id\": %llu, \"text\": \"slow api response\"}\n", id);
    if (body->kind == BODY_JSONL)
        return buf_printf(out, "{\"id\":%llu,\"timestamp\":%lld}\n", id, now);
    return buf_printf(out, "event: ping\ndata: {\"id\":%llu,\"timestamp\":%lld}\n\n", id, now);
}

int64_t body_append(const struct body *body, uint64_t from, uint64_t count, struct buf *out) {
    if (body_is_events(body)) {
        int rc = append_event(body, from, out);
        return rc < 0 ? rc : 1;
    }

    if (count > SLOWAPI_PIECE_BYTES)
        count = SLOWAPI_PIECE_BYTES;
    int rc = buf_reserve(out, count);
    if (rc < 0)
        return rc;
    for (uint64_t i = 0; i < count; i++)
        buf_tail(out)[i] = byte_at(body, from + i);
    buf_added(out, count);
    return (int64_t)count;
}

void body_spread(struct body *body, nsec_t span) {
    uint64_t pauses = body->units > 1 ? body->units - 1 : 1;

    body->piece = 1;
    body->interval = span / (nsec_t)pauses;
    if (body->interval < NSEC_PER_MSEC && !body_is_events(body) && span > 0) {
        body->piece = pauses * (uint64_t)NSEC_PER_MSEC / (uint64_t)span + 1;
        body->interval = (nsec_t)((double)span * (double)body->piece / (double)pauses);
    }
}
